package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/config"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/telemetry"
)

type demoCmd struct {
	For      time.Duration `help:"End this long after the server has started; 0 runs until interrupted." default:"0"`
	Keep     bool          `help:"Use and keep the data folder of the settings instead of a temporary one."`
	Clips    string        `help:"Folder that keeps the encoded clips." default:"./build/clips" type:"path"`
	UntilBan bool          `help:"End with exit code 0 once the ban is confirmed and the return refused, or 1 after a minute."`
	JSON     bool          `help:"Print one JSON object a line."`
}

func (demoCmd) Help() string {
	return "The clips show abstract colour pictures that depict nothing; the models take one of them for the class Porn.\n\nExample: stillwatch demo --until-ban --json"
}

// demoCall is the call that the synthetic participants are in.
const demoCall = "default:demo"

// cast are the synthetic participants of the demo.
var cast = []struct {
	user, picture string
	codec         event.Codec
}{
	{"ada", "neutral", event.VP8},
	{"ben", "drawing", event.H264},
	{"cleo", "porn", event.VP8},
}

// Run serves and plays the call.
func (c demoCmd) Run(e *env) error {
	if !c.Keep {
		dir, err := os.MkdirTemp("", "stillwatch-demo-")
		if err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
		defer os.RemoveAll(dir)
		e.cfg.Data.Dir = dir
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	d := &demo{env: e, cmd: c, begun: time.Now(), gone: map[string]bool{}, done: make(chan struct{})}
	d.say("start", "encoding the clips (the first time only, up to a minute), then starting the server", nil)
	clips, err := d.clips(ctx)
	if err != nil {
		return err
	}
	if e.cfg.Log.Level == config.Default().Log.Level {
		// The demo tells what happens itself; the log is for what goes wrong.
		quiet, err := telemetry.NewLogger(e.stderr, "error", e.cfg.Log.Format)
		if err != nil {
			return err
		}
		slog.SetDefault(quiet)
		e.log = quiet
	}
	p := NewProgram(e.cfg, e.log)
	if err := p.Start(ctx); err != nil {
		return err
	}
	limit := c.For
	if c.UntilBan {
		limit = time.Minute
	}
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	err = d.play(ctx, cancel, p, clips)
	e.release()
	return errors.Join(err, p.Close())
}

// demo prints what happens; its methods are called from several goroutines.
type demo struct {
	*env
	cmd   demoCmd
	begun time.Time
	done  chan struct{} // closed when the banned participant was refused

	mu   sync.Mutex
	gone map[string]bool
}

func (d *demo) say(what, text string, fields map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := time.Since(d.begun).Seconds()
	if !d.cmd.JSON {
		fmt.Fprintf(d.stdout, "%7.2fs  %-9s %s\n", at, what, text)
		return
	}
	line := map[string]any{"at_s": at, "what": what, "text": text}
	for k, v := range fields {
		line[k] = v
	}
	b, _ := json.Marshal(line) // strings and numbers only
	fmt.Fprintf(d.stdout, "%s\n", b)
}

func (d *demo) clips(ctx context.Context) (map[string]*synthetic.Clip, error) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return nil, errors.New("the demo needs the ffmpeg command: run make setup")
	}
	clips := map[string]*synthetic.Clip{}
	for _, who := range cast {
		clip, err := synthetic.MakeClip(ctx, d.cmd.Clips, synthetic.ClipConfig{Picture: who.picture, Codec: who.codec})
		if err != nil {
			return nil, err
		}
		clips[who.user] = clip
	}
	return clips, nil
}

func (d *demo) play(ctx context.Context, cancel context.CancelFunc, p *Program, clips map[string]*synthetic.Clip) error {
	until := time.Now().Add(12 * time.Hour)
	moderator := p.Auth().UserToken(auth.UserClaims{UserID: "moderator", Role: auth.RoleModerator, ExpiresAt: until})
	guest := p.Auth().UserToken(auth.UserClaims{UserID: "guest", CallCIDs: []string{demoCall}, ExpiresAt: until})
	watch := p.URL() + "/console/#token=" + moderator
	d.say("open", watch, map[string]any{"url": p.URL()})
	d.say("join", p.URL()+"/call/default/demo#token="+guest, nil)

	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for topic, tell := range map[event.Topic]func(event.Envelope){
		event.TopicVerdicts: d.verdict, event.TopicConfirmed: d.confirmed, event.TopicFrames: d.gap,
	} {
		wg.Add(1)
		go func() { defer wg.Done(); _ = p.bus.Tail(ctx, topic, tell) }()
	}
	for i, who := range cast {
		wg.Add(1)
		go func() {
			defer wg.Done()
			d.participate(ctx, p, who.user, clips[who.user], time.Duration(i)*300*time.Millisecond)
		}()
	}
	select {
	case <-d.done:
		if d.cmd.UntilBan {
			return nil
		}
		d.say("open", "it goes on until interrupted: "+watch, nil)
		<-ctx.Done()
	case <-ctx.Done():
		if d.cmd.UntilBan {
			return errors.New("no ban was confirmed within a minute")
		}
	}
	return nil
}

// participate publishes until the call or the connection ends, and then tries
// to come back, as a person would.
func (d *demo) participate(ctx context.Context, p *Program, user string, clip *synthetic.Clip, phase time.Duration) {
	token := p.Auth().UserToken(auth.UserClaims{UserID: user, CallCIDs: []string{demoCall}})
	for ctx.Err() == nil {
		pub := synthetic.NewPublisher(synthetic.PublisherConfig{URL: p.URL() + "/whip/default/demo", Token: token, Clip: clip, Phase: phase})
		err := pub.Start(ctx)
		var refused *synthetic.Refusal
		if errors.As(err, &refused) && refused.Status == 403 {
			d.say("refused", fmt.Sprintf("%s tried to come back: %s", user, whyRefused(refused)), map[string]any{"user": user})
			d.refusedOnce(user)
			return
		}
		if err != nil {
			d.say("trouble", fmt.Sprintf("%s could not join: %v", user, err), map[string]any{"user": user})
		} else {
			d.say("joined", fmt.Sprintf("%s over WebRTC, %s %dx%d", user, clip.Codec, clip.Width, clip.Height), map[string]any{"user": user})
			select {
			case <-pub.Gone():
				d.say("left", user+": the server closed the connection", map[string]any{"user": user})
			case <-ctx.Done():
			}
			_ = pub.Close()
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// whyRefused is the detail of a problem report (RFC 9457), or its whole text.
func whyRefused(r *synthetic.Refusal) string {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal([]byte(r.Text), &problem) != nil || problem.Detail == "" {
		return r.Text
	}
	return fmt.Sprintf("%d %s", r.Status, problem.Detail)
}

func (d *demo) refusedOnce(user string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone[user] {
		return
	}
	d.gone[user] = true
	if len(d.gone) == 1 { // when the call is ended all are refused
		close(d.done)
	}
}

func (d *demo) verdict(ev event.Envelope) {
	var v event.Verdict
	if ev.Decode(&v) != nil {
		return
	}
	best := event.Score{Label: "unknown: " + v.Reason}
	for _, s := range v.Scores {
		if s.Score > best.Score {
			best = s
		}
	}
	d.say("still", fmt.Sprintf("%-5s %-8s %.2f  %dx%d %s, looked at after %d ms", v.Frame.UserID, best.Label, best.Score,
		v.Frame.Width, v.Frame.Height, v.Frame.Codec, v.At.Sub(v.Frame.CapturedAt).Milliseconds()),
		map[string]any{"user": v.Frame.UserID, "label": best.Label, "score": best.Score})
}

func (d *demo) gap(ev event.Envelope) {
	var g event.FrameGap
	if ev.Type == event.TypeFrameGap && ev.Decode(&g) == nil {
		d.say("gap", fmt.Sprintf("%s: %s %s", g.UserID, g.Reason, g.Detail), map[string]any{"user": g.UserID, "reason": g.Reason})
	}
}

func (d *demo) confirmed(ev event.Envelope) {
	var a event.ActionConfirmed
	if ev.Type != event.TypeActionConfirmed || ev.Decode(&a) != nil {
		return
	}
	word := map[event.ActionKind]string{event.ActionFlag: "flagged", event.ActionBan: "banned"}[a.Kind]
	if word == "" {
		word = string(a.Kind)
	}
	if a.CapturedAt.IsZero() { // asked for by a person, not decided on frames
		d.say(word, fmt.Sprintf("%s: %s", a.UserID, a.Reason), map[string]any{"user": a.UserID})
		return
	}
	took := a.ConfirmedAt.Sub(a.CapturedAt)
	d.say(word, fmt.Sprintf("%s for %s (captured to confirmed: %d ms)", a.UserID, a.Reason, took.Milliseconds()),
		map[string]any{"user": a.UserID, "captured_to_confirmed_ms": took.Milliseconds()})
}
