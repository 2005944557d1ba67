package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stillwatch/capture/picture"
	"stillwatch/capture/still"
	"stillwatch/cmd/stillwatch/internal/meter"
	"stillwatch/internal/auth"
	"stillwatch/internal/config"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/moderation/policy"

	"golang.org/x/sys/unix"
	"gopkg.in/yaml.v3"
)

type benchCaptureCmd struct {
	Participants int           `help:"How many publish a harmless picture." default:"40"`
	Codec        string        `help:"vp8, h264, vp9 or av1." enum:"vp8,h264,vp9,av1" default:"vp8"`
	Interval     time.Duration `help:"Capture interval, whole seconds, 2s to 60s." default:"2s"`
	Quality      string        `help:"360p, 420p, 480p, 720p, 1080p or 1440p." default:"720p"`
	Duration     time.Duration `help:"How long to measure." default:"30s"`
	Offenders    int           `help:"How many join one after another, while the others go on, and are banned; 0 leaves that out." default:"40"`
	Kbps         int           `help:"Bit rate of each stream." default:"1500"`
	Clips        string        `help:"Folder that keeps the encoded clips." default:"./build/clips" type:"path"`
	JSON         bool          `help:"Print JSON only."`
}

func (benchCaptureCmd) Help() string {
	return `Publishers run in this process, the server with its children in another; only the latter's CPU counts.
"event" is counted to the arrival at a webhook receiver, "verdict" to the arrival on the live stream, both in this process; "action_confirmed" to the moment the media of the banned participant had stopped.

Example: stillwatch bench capture --participants 40 --codec vp8 --duration 60s --json`
}

// captureReport is what the benchmark prints.
type captureReport struct {
	Frames struct {
		Due        int `json:"due"`
		Captured   int `json:"captured"`
		Classified int `json:"classified"`
		Dropped    int `json:"dropped"`
	} `json:"frames"`
	// CPUMSPerFrame is the workers' CPU per picture in the running server and
	// the Go side of handing it over; FloorMSPerFrame the bare C calls.
	CPUMSPerFrame   float64 `json:"cpu_ms_per_frame"`
	FloorMSPerFrame float64 `json:"floor_ms_per_frame"`
	// PoolMSPerFrame is the same pictures made one after another through the
	// pool, without a server around it.
	PoolMSPerFrame            float64 `json:"pool_ms_per_frame"`
	Ratio                     float64 `json:"ratio_to_floor"`
	CorePercentPerParticipant float64 `json:"core_percent_per_participant"`
	PeakRSSMB                 float64 `json:"peak_rss_mb"`
	LatencyMS                 struct {
		Event   meter.Percentiles `json:"event"`
		Verdict meter.Percentiles `json:"verdict"`
		Action  meter.Percentiles `json:"action_confirmed"`
	} `json:"latency_ms"`
	Banned       int                `json:"banned"`
	CPUSeconds   map[string]float64 `json:"cpu_seconds"`
	MeasuredS    float64            `json:"measured_s"`
	Participants int                `json:"participants"`
	Codec        string             `json:"codec"`
	Kbps         int                `json:"kbps"`
}

// Run measures and prints.
func (c benchCaptureCmd) Run(e *env) error {
	if c.Participants < 1 || c.Offenders < 0 || c.Duration < c.Interval || c.Interval%time.Second != 0 {
		return fmt.Errorf("%w: want --participants of 1 or more, --offenders of 0 or more, --interval in whole seconds and --duration of at least one interval", errUsage)
	}
	dir, err := os.MkdirTemp("", "stillwatch-bench-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &captureBench{env: e, cmd: c, dir: dir, codec: event.Codec(strings.ToUpper(c.Codec))}
	b.report.Participants, b.report.Codec, b.report.Kbps = c.Participants, c.Codec, c.Kbps
	if err := b.run(e.ctx); err != nil {
		return err
	}
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(b.report)
}

type captureBench struct {
	*env
	cmd    benchCaptureCmd
	dir    string
	codec  event.Codec
	server *childServer
	seen   *witness
	report captureReport
	goMS   float64 // Go's share of a picture

	good, bad *synthetic.Clip
}

func (b *captureBench) progress(format string, args ...any) {
	if !b.cmd.JSON {
		fmt.Fprintf(b.stderr, "bench: "+format+"\n", args...)
	}
}

func (b *captureBench) run(ctx context.Context) (err error) {
	if err := b.makeClips(ctx); err != nil {
		return err
	}
	if err := b.floor(ctx); err != nil {
		return err
	}
	if b.seen, err = newWitness(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() { cancel(); b.seen.close() }()
	b.progress("starting the server")
	if b.server, err = newServer(b.cfg, b.dir, b.seen.url); err != nil {
		return err
	}
	if err := b.releaseBrake(); err != nil {
		return err
	}
	if err := b.server.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	if err := b.configure(); err != nil {
		return err
	}
	if err := b.seen.follow(ctx, b.server); err != nil {
		return err
	}
	return b.publish(ctx)
}

func (b *captureBench) makeClips(ctx context.Context) (err error) {
	b.progress("encoding clips")
	cfg := synthetic.ClipConfig{Picture: "neutral", Codec: b.codec, Kbps: b.cmd.Kbps}
	if b.good, err = synthetic.MakeClip(ctx, b.cmd.Clips, cfg); err != nil {
		return err
	}
	cfg.Picture = "porn"
	b.bad, err = synthetic.MakeClip(ctx, b.cmd.Clips, cfg)
	return err
}

// floor measures the bare C calls and the Go side of a picture on the very
// keyframes that the publishers send.
func (b *captureBench) floor(ctx context.Context) error {
	b.progress("measuring the floor")
	var keys [][]byte
	for at := 0; at < len(b.good.Frames); at += b.good.Take {
		keys = append(keys, b.good.Frames[at])
	}
	height := 0
	if _, err := fmt.Sscanf(b.cmd.Quality, "%dp", &height); err != nil {
		return fmt.Errorf("%w: quality %q", errUsage, b.cmd.Quality)
	}
	pool := picture.NewPool(picture.Config{Workers: 1, Log: b.log})
	if err := pool.Start(ctx); err != nil {
		return fmt.Errorf("start picture pool: %w", err)
	}
	defer pool.Close()
	// The two are measured in turn, so that a busy moment of the machine
	// touches both.
	const turns, rounds = 5, 80
	var own, bare time.Duration
	for range turns {
		before := selfCPU()
		for i := range rounds {
			key := keys[i%len(keys)]
			if _, err := pool.Picture(ctx, still.Request{Codec: b.codec, Keyframe: key, MaxHeight: height}); err != nil {
				return fmt.Errorf("make picture: %w", err)
			}
		}
		own += selfCPU() - before
		floor, err := picture.Floor(ctx, b.codec, keys, height, nil, rounds/len(keys))
		if err != nil {
			return fmt.Errorf("measure floor: %w", err)
		}
		bare += floor
	}
	b.goMS = float64(own.Microseconds()) / 1000 / (turns * rounds)
	b.report.FloorMSPerFrame = float64(bare.Microseconds()) / 1000 / turns
	b.report.PoolMSPerFrame = float64(pool.Stats().CPU.Microseconds())/1000/float64(pool.Stats().Pictures) + b.goMS
	return nil
}

// selfCPU is this process's own CPU time, children left out.
func selfCPU() time.Duration {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// releaseBrake gives the server the built-in policy without its brake, which
// would turn most of the bans of a benchmark into flags, rightly.
func (b *captureBench) releaseBrake() error {
	rules := policy.Default()
	rules.Brake.MaxBansPerMinute = 100000
	text, err := yaml.Marshal(rules)
	if err != nil {
		return fmt.Errorf("write policy: %w", err)
	}
	path := filepath.Join(b.dir, "policy.yaml")
	b.server.env = append(b.server.env, config.EnvPrefix+"POLICY_FILE="+path)
	return os.WriteFile(path, text, 0o600)
}

// configure sets the interval and quality of the call type by the API.
func (b *captureBench) configure() error {
	body := fmt.Sprintf(`{"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":%d,"quality":%q}}}`, int(b.cmd.Interval.Seconds()), b.cmd.Quality)
	return b.server.call("PUT", "/api/v2/video/calltypes/default", body)
}

func (b *captureBench) publish(ctx context.Context) error {
	var pubs []*synthetic.Publisher
	defer func() {
		var wg sync.WaitGroup
		for _, p := range pubs {
			wg.Add(1)
			go func() { defer wg.Done(); _ = p.Close() }()
		}
		wg.Wait()
	}()
	b.progress("joining %d participants", b.cmd.Participants)
	for i := range b.cmd.Participants {
		p := b.publisher(fmt.Sprintf("good-%d", i), b.good, i)
		if err := p.Start(ctx); err != nil {
			return fmt.Errorf("join participant %d: %w", i, err)
		}
		pubs = append(pubs, p)
	}
	b.progress("warming up")
	if err := sleep(ctx, max(5*time.Second, 2*b.cmd.Interval)); err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	return b.offend(ctx)
}

func (b *captureBench) publisher(user string, clip *synthetic.Clip, i int) *synthetic.Publisher {
	return synthetic.NewPublisher(synthetic.PublisherConfig{
		URL:   b.server.url + "/whip/default/bench-" + fmt.Sprint(i/4), // four to a call
		Token: b.server.auth.UserToken(auth.UserClaims{UserID: user}),
		Clip:  clip, Phase: time.Duration(i*7%40) * time.Millisecond, Light: true,
	})
}

// measure reads the server's counters before and after the measured time.
func (b *captureBench) measure(ctx context.Context) error {
	b.progress("measuring for %v", b.cmd.Duration)
	pid := b.server.cmd.Process.Pid
	b.seen.series(event.CallFrameRecordingReady)
	b.seen.series("verdict")
	m0, err := b.server.scrape()
	if err != nil {
		return err
	}
	u0, err := meter.Tree(pid)
	if err != nil {
		return err
	}
	start := time.Now()
	for peak := int64(0); time.Since(start) < b.cmd.Duration; {
		if err := sleep(ctx, min(2*time.Second, b.cmd.Duration-time.Since(start))); err != nil {
			return err
		}
		u, err := meter.Tree(pid)
		if err != nil {
			return err
		}
		peak = max(peak, u.PSS)
		b.report.PeakRSSMB = float64(peak) / (1 << 20)
	}
	u1, err := meter.Tree(pid)
	if err != nil {
		return err
	}
	took := time.Since(start)
	m1, err := b.server.scrape()
	if err != nil {
		return err
	}
	b.fill(took, u0, u1, m0, m1)
	return nil
}

func (b *captureBench) fill(took time.Duration, u0, u1 meter.Usage, m0, m1 map[string]float64) {
	r := &b.report
	delta := func(name string) float64 { return m1["stillwatch_"+name] - m0["stillwatch_"+name] }
	r.Frames.Due, r.Frames.Captured = int(delta("frames_due_total")), int(delta("frames_captured_total"))
	r.Frames.Classified = int(delta("verdicts_total"))
	r.Frames.Dropped = int(delta("frames_missed_total"))
	cpu := u1.CPU - u0.CPU
	r.MeasuredS = took.Seconds()
	r.CorePercentPerParticipant = 100 * cpu.Seconds() / took.Seconds() / float64(b.cmd.Participants)
	if n := delta("pictures_total"); n > 0 {
		r.CPUMSPerFrame = 1000*delta("picture_cpu_seconds_total")/n + b.goMS
		r.Ratio = r.CPUMSPerFrame / r.FloorMSPerFrame
	}
	r.CPUSeconds = map[string]float64{"pictures": delta("picture_cpu_seconds_total")}
	for name, d := range u1.ByName {
		r.CPUSeconds["process "+name] = (d - u0.ByName[name]).Seconds()
	}
	r.LatencyMS.Event = meter.Summarise(b.seen.series(event.CallFrameRecordingReady))
	r.LatencyMS.Verdict = meter.Summarise(b.seen.series("verdict"))
}

// offend lets offenders join one a second, while the others go on, and waits
// until each is banned.
func (b *captureBench) offend(ctx context.Context) error {
	if b.cmd.Offenders == 0 {
		return nil
	}
	b.progress("%d offenders join, one a second", b.cmd.Offenders)
	var wg sync.WaitGroup
	banned := make(chan bool, b.cmd.Offenders)
	for i := range b.cmd.Offenders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if sleep(ctx, time.Duration(i)*time.Second) == nil {
				banned <- b.getBanned(ctx, i)
			}
		}()
	}
	wg.Wait()
	close(banned)
	for yes := range banned {
		if yes {
			b.report.Banned++
		}
	}
	if err := sleep(ctx, 500*time.Millisecond); err != nil { // the last confirmation is on its way
		return err
	}
	b.report.LatencyMS.Action = meter.Summarise(b.seen.series("ban"))
	return nil
}

func (b *captureBench) getBanned(ctx context.Context, i int) bool {
	p := b.publisher(fmt.Sprintf("bad-%d", i), b.bad, i)
	defer p.Close()
	if err := p.Start(ctx); err != nil {
		b.progress("offender %d: %v", i, err)
		return false
	}
	select {
	case <-p.Gone():
		return true
	case <-time.After(10*b.cmd.Interval + 10*time.Second):
		return false
	case <-ctx.Done():
		return false
	}
}

// sleep waits, or returns early with ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
