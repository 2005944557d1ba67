package recorder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	stdslices "slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/media"
	"stillwatch/recording/slices"
)

// screen tells the tracks of a shared screen from those of a person.
func screen(t media.Track) bool {
	return t.Type == event.TrackScreenShare || t.Type == event.TrackScreenShareAudio
}

// splitStep makes the files of one participant, or of the screen they shared.
func (r *Recorder) splitStep(ctx context.Context, t *task) error {
	p, err := t.piece()
	if err != nil {
		return err
	}
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	from, to := t.window(s)
	all := t.shares(s, from, to)
	var out outputs
	if p.Chunk < len(all) {
		if hide, err := t.hides(ctx, all[p.Chunk].UserID); err != nil {
			return err
		} else if hide {
			all[p.Chunk].Video = nil
		}
		if out, err = t.split(ctx, s, all[p.Chunk], p.Chunk, media.Span{From: from, To: to}); err != nil {
			return err
		}
	}
	return t.done(ctx, out, out.names(), func(ctx context.Context, tx bun.Tx) error { return t.storeNext(ctx, tx) })
}

// hides tells whether a user would be blurred in the movie that a call became
// too large for, or was not to become: then there is no file of their pictures
// either.
func (t *task) hides(ctx context.Context, user string) (bool, error) {
	if !t.plan.BlurBystanders || t.run.Type != recording.TypeComposite || t.evidence() {
		return false, nil
	}
	flagged, err := t.flagged(ctx)
	return !stdslices.Contains(flagged, user), err
}

// split makes the files of a share in every format and output type.
func (t *task) split(ctx context.Context, s *media.Session, sh share, n int, w media.Span) (out outputs, err error) {
	formats := t.plan.IndividualFormats
	if len(formats) == 0 || t.evidence() {
		formats = []string{"auto"}
	}
	for _, kind := range t.kinds(sh) {
		for _, format := range formats {
			video, audio := sh.Video, sh.Audio
			if !kind.video || soundOnly(format) {
				video = nil
			}
			if !kind.audio {
				audio = nil
			}
			if len(video)+len(audio) == 0 || kind.video && len(video) == 0 && len(sh.Video) > 0 && !soundOnly(format) {
				continue
			}
			most := media.MaxFiles // of all the share's slices together
			for i, file := range t.files(s, video, audio, format, w) {
				t.log.Debug("processing", "call", t.run.CID, "user", sh.UserID, "track", kind.track(sh.Screen), "format", format, "file", i)
				dir := filepath.Join(t.dir, fmt.Sprintf("split%d-%s-%s-%d", n, kind.name, format, i))
				made, left, err := t.remux(ctx, s, media.RemuxOptions{
					Dir: dir, Video: video, Audio: audio, Format: format, From: file.From, To: file.To, Most: max(most, 1),
				})
				if err != nil {
					return out, err
				}
				out.Left += left
				most -= max(len(made)-1, 0)
				for _, m := range made {
					m.UserID, m.Track, m.N = sh.UserID, kind.of(m).track(sh.Screen), len(out.Files)
					out.Files = append(out.Files, m)
				}
			}
		}
	}
	return out, nil
}

// outputKind is an output type as far as it is about one share.
type outputKind struct {
	name         string
	video, audio bool
}

// of is the kind of what came of it: sound alone where there were no pictures.
func (k outputKind) of(made output) outputKind {
	k.video = made.Kind == kindVideo
	return k
}

func (k outputKind) track(screen bool) string {
	switch {
	case screen && k.video:
		return string(event.TrackScreenShare)
	case screen:
		return string(event.TrackScreenShareAudio)
	case k.video:
		return string(event.TrackVideo)
	}
	return string(event.TrackAudio)
}

// kinds are the output types of the plan that concern a share. A screen is
// shared by those who want it to be seen: its files are made like a camera's
// where the plan names no output type of screens.
func (t *task) kinds(sh share) []outputKind {
	types := t.plan.OutputTypes
	if len(types) == 0 || t.evidence() {
		types = []string{"audio_video"}
	}
	named := stdslices.ContainsFunc(types, func(s string) bool { return strings.HasPrefix(s, "screenshare_") })
	var out []outputKind
	for _, typ := range types {
		base, ofScreen := strings.CutPrefix(typ, "screenshare_")
		if ofScreen != sh.Screen && (named || ofScreen) {
			continue
		}
		out = append(out, outputKind{name: base, video: base != "audio_only", audio: base != "video_only"})
	}
	return out
}

// opus is another name of the format ogg, for who expects it behind the dot
// (RFC 7845, section 9).
const opus = "opus"

func soundOnly(format string) bool {
	switch format {
	case "ogg", opus, "wav", "wav-8bit", "aac":
		return true
	}
	return false
}

// maxPushes is how many interruptions of a share may begin new files; what
// comes after is taken to go on, and its gaps stay gaps.
const maxPushes = 256

// files decides where a share's files begin and end: slices, periods and
// interruptions. It runs while there is a picture or a sound, and is cut at
// keyframes where there are pictures.
func (t *task) files(s *media.Session, video, audio []string, format string, w media.Span) []media.Span {
	var pushes, pictures []slices.Span
	var keys []time.Duration
	for _, track := range s.Tracks() {
		shown := stdslices.Contains(video, track.ID)
		if !shown && !stdslices.Contains(audio, track.ID) {
			continue
		}
		l := track.Layers[0]
		for _, span := range l.Spans {
			if from, to := max(span.From, w.From), min(span.To, w.To); from < to {
				pushes = append(pushes, slices.Span{From: from, To: to})
			}
		}
		if shown {
			pictures, keys = append(pictures, chains(l)...), append(keys, l.Keys...)
		}
	}
	stdslices.Sort(keys)
	if pushes = merged(pushes); len(pushes) > maxPushes { // who comes and goes without end fills no disk with files
		pushes[maxPushes-1].To = pushes[len(pushes)-1].To
		pushes = pushes[:maxPushes]
	}
	set := slices.Settings{Slice: t.slice(format), Period: t.plan.Period, Resume: t.plan.Resume}
	if t.evidence() {
		set = slices.Settings{Resume: w.To} // one file, whatever happened
	}
	var out []media.Span
	for _, f := range slices.Files(pushes, merged(pictures), keys, set) {
		out = append(out, media.Span{From: f.From(), To: f.To()})
	}
	return out
}

// chains are when a layer's pictures build on one another: over a gap as well
// that no keyframe follows.
func chains(l media.Layer) []slices.Span {
	var out []slices.Span
	for i, span := range l.Spans {
		if _, key := stdslices.BinarySearch(l.Keys, span.From); i > 0 && !key {
			out[len(out)-1].To = span.To
			continue
		}
		out = append(out, slices.Span{From: span.From, To: span.To})
	}
	return out
}

// merged joins spans that overlap, as when somebody is in a call twice.
func merged(spans []slices.Span) []slices.Span {
	var out []slices.Span
	stdslices.SortFunc(spans, func(a, b slices.Span) int { return cmp.Compare(a.From, b.From) })
	for _, p := range spans {
		if n := len(out); n > 0 && p.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, p.To)
			continue
		}
		out = append(out, p)
	}
	return out
}

// remux makes one file, or several where the stream's parameters change.
func (t *task) remux(ctx context.Context, s *media.Session, o media.RemuxOptions) (made []output, left int, err error) {
	// What an earlier attempt left is not known to be whole.
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, 0, fmt.Errorf("make room: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, 0, fmt.Errorf("make work folder: %w", err)
	}
	asked := o.Format
	if asked == opus {
		o.Format = "ogg"
	}
	files, err := s.Remux(ctx, o)
	if errors.Is(err, media.ErrNoMedia) {
		return nil, 0, nil
	}
	if errors.Is(err, media.ErrFormat) {
		t.log.Warn("a file is made in another container: the format does not take what was sent", "format", o.Format, "err", err)
		o.Format = "auto"
		files, err = s.Remux(ctx, o)
	}
	if err != nil {
		return nil, 0, err
	}
	for _, f := range files {
		o := output{Kind: kindVideo, Format: f.Format, From: f.From, To: f.To}
		if f.Video == "" {
			o.Kind = kindAudio
		}
		if asked == opus && f.Format == "ogg" {
			o.Format = asked
		}
		for _, part := range f.Parts {
			name, err := filepath.Rel(t.dir, part)
			if err != nil {
				return nil, 0, fmt.Errorf("name %s: %w", part, err)
			}
			o.Parts = append(o.Parts, name)
		}
		o.Encoded, o.Changes, o.LeftOut = f.VideoCoded, f.Changes, f.Broken+f.Left
		if f.Changes > 0 || f.Left > 0 {
			t.log.Warn("pictures change too often for files of their own: the last file is encoded again",
				"changes", f.Changes, "encoded", f.VideoCoded, "pictures", f.Pictures, "left_out", f.Left)
		}
		left += o.LeftOut
		made = append(made, o)
	}
	return made, left, nil
}
