package recorder

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/archive"
	"stillwatch/recording/composite"
	"stillwatch/recording/job"
	"stillwatch/recording/media"
	fileslices "stillwatch/recording/slices"
)

// maxMix is the most participants of a composite that no option enlarges.
const maxMix = 9

// planStep reads what was sent and orders the steps that make files of it.
func (r *Recorder) planStep(ctx context.Context, t *task) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	if problems := s.Problems(); len(problems) > 0 {
		t.log.Warn("some packets cannot be read", "streams", len(problems), "first", problems[0])
	}
	from, to := t.window(s)
	if t.unanswered(s) || t.waitsForSecond() && to <= from { // or answered when it was over
		return t.discard(ctx)
	}
	if !t.heardOrSeen(s, from, to) {
		return fmt.Errorf("%w: %w", job.ErrHopeless, errEmpty)
	}
	t.log.Info("making files", "call", t.run.CID, "type", t.run.Type, "lane", t.run.Lane, "length", (to - from).Round(time.Millisecond), "people", len(t.users(s, from, to)))
	t.sayHow()
	merged := t.merges(s, from, to)
	all := movies{Windows: t.windows(from, to, merged), Sent: t.sent(s, from, to)}
	if merged {
		for _, w := range all.Windows {
			o, err := t.movieOptions(ctx, w.From, w.To)
			if err != nil {
				return err
			}
			movie, err := composite.Plan(ctx, t.source(s), o)
			if err != nil {
				return err
			}
			all.Movies = append(all.Movies, movie)
		}
	}
	defer nudge(r.kept)
	return r.queue.Done(ctx, t.job, all, func(ctx context.Context, tx bun.Tx) error { return t.order(ctx, tx, s, all, from, to) })
}

// shortest is how long a slice is at least, one picture of 25 a second: what
// is left at the end and shorter belongs to the slice before it.
const shortest = 40 * time.Millisecond

// sayHow logs what is settled for all files of the run.
func (t *task) sayHow() {
	names := t.plan.Filename
	if names == "" {
		names = archive.DefaultName(map[string]string{
			recording.TypeComposite: archive.KindMerged, recording.TypeIndividual: archive.KindSplit, recording.TypeRaw: archive.KindRaw,
		}[t.run.Type])
	}
	t.log.Info("files are named by template", "call", t.run.CID, "template", names)
	if t.plan.EncryptTo == "" {
		t.log.Debug("file encryption is disabled", "call", t.run.CID)
		return
	}
	t.log.Debug("file encryption is enabled", "call", t.run.CID)
}

// sent lists what was sent in the window of what the plan does not leave out.
func (t *task) sent(s *media.Session, from, to time.Duration) []sent {
	var out []sent
	for _, track := range s.Tracks() {
		if track.Person < 0 || t.omits(s, track) || len(track.Layers) == 0 {
			continue
		}
		one := sent{UserID: s.People()[track.Person].UserID, Type: track.Type}
		for _, span := range track.Layers[0].Spans {
			if span = (media.Span{From: max(span.From, from), To: min(span.To, to)}); span.From < span.To && len(one.Spans) < maxPushes {
				one.Spans = append(one.Spans, span)
			}
		}
		if len(one.Spans) > 0 {
			out = append(out, one)
		}
	}
	return out
}

// windows cuts the recording where the slices of its movies end, or of the
// mixed sound where there are none.
func (t *task) windows(from, to time.Duration, merged bool) []media.Span {
	formats := []string{t.soundFormat()}
	if merged {
		formats = t.plan.CompositeFormats
	}
	slice := t.slice(formats...)
	if slice <= 0 {
		return []media.Span{{From: from, To: to}}
	}
	return cutWindows(from, to, slice)
}

func cutWindows(from, to, slice time.Duration) []media.Span {
	var out []media.Span
	for at := from; len(out) == 0 || to-at >= shortest; at += slice {
		out = append(out, media.Span{From: at, To: min(to, at+slice)})
	}
	out[len(out)-1].To = to
	return out
}

// slice is the longest that files of these formats get: what the plan says, as
// far as they can be, or else what is usual. 0 is evidence, which is whole.
func (t *task) slice(formats ...string) time.Duration {
	if t.evidence() {
		return 0
	}
	var least time.Duration
	for _, f := range formats {
		d := fileslices.Standard.Default(f)
		if t.plan.Slice > 0 {
			d = min(t.plan.Slice, fileslices.Standard.Longest(f))
		}
		if least == 0 || d < least {
			least = d
		}
	}
	return least
}

// order adds the steps that make the files.
func (t *task) order(ctx context.Context, tx bun.Tx, s *media.Session, all movies, from, to time.Duration) error {
	n := 0
	add := func(kind string, p piece) error {
		n++
		return t.r.queue.Add(ctx, tx, t.run.ID, kind, n-1, p)
	}
	if t.run.Type == recording.TypeRaw {
		return add(stepDump, piece{})
	}
	first := t.earlyChunks(all) // before all else
	for c := range first {
		if err := add(stepChunk, piece{0, c}); err != nil {
			return err
		}
	}
	for w := range all.Windows {
		if err := add(stepSound, piece{Movie: w}); err != nil {
			return err
		}
	}
	for i, m := range all.Movies {
		for c := range m.Chunks {
			if i == 0 && c < first {
				continue
			}
			if err := add(stepChunk, piece{i, c}); err != nil {
				return err
			}
		}
	}
	if len(all.Movies) > 0 && !t.evidence() {
		return nil
	}
	for i := range t.shares(s, from, to) {
		if err := add(stepSplit, piece{Chunk: i}); err != nil {
			return err
		}
	}
	return nil
}

// open reads the packets of the run's session, as far as its lane shows them.
func (t *task) open(ctx context.Context) (*media.Session, error) {
	s, err := t.r.load(ctx, t.run.SessionID)
	if err != nil || t.evidence() {
		return s, err
	}
	return s.Recorded(), nil
}

// unanswered tells whether a run that began by itself had one participant
// only: a call that nobody answered is no call to record.
func (t *task) unanswered(s *media.Session) bool {
	return t.waitsForSecond() && secondJoin(s) < 0
}

// waitsForSecond tells whether the run counts from the second participant on.
func (t *task) waitsForSecond() bool {
	return t.run.Lane == db.LaneBusiness && !bool(t.run.Flagged) && !t.plan.RecordAlone &&
		t.run.ID == event.DeriveID("recording", t.run.SessionID, t.run.Type)
}

// secondJoin is when the second user came, negative if none did.
func secondJoin(s *media.Session) time.Duration {
	first := ""
	for _, p := range byJoin(s.People()) {
		if p.Mixer() {
			continue
		}
		if first == "" {
			first = p.UserID
		}
		if p.UserID != first {
			return p.Join
		}
	}
	return -1
}

func byJoin(people []media.Person) []media.Person {
	out := slices.Clone(people)
	slices.SortStableFunc(out, func(a, b media.Person) int { return cmp.Compare(a.Join, b.Join) })
	return out
}

// unansweredText is why a run of which nothing is kept was discarded.
const unansweredText = "nobody answered: nothing is kept"

// discard ends a run of which nothing is kept, which is no failure.
func (t *task) discard(ctx context.Context) error {
	err := t.r.queue.Done(ctx, t.job, struct{}{}, func(ctx context.Context, tx bun.Tx) error {
		now := db.At(t.r.cfg.Now())
		_, err := tx.NewUpdate().Model((*db.RecordingRow)(nil)).Set("state = ?", db.RecordingDiscarded).Set("finished_at = ?", now).Set("error = ?", unansweredText).
			Set("updated_at = ?", now).Where("id = ?", t.run.ID).Exec(ctx)
		return err
	})
	if err != nil {
		return err
	}
	t.log.Info(unansweredText, "call", t.run.CID)
	t.leave(ctx)
	return nil
}

// merges tells whether one movie is made of all: not for individual files, not
// with the option to split, and not for more people than a movie may show.
func (t *task) merges(s *media.Session, from, to time.Duration) bool {
	if t.run.Type != recording.TypeComposite || t.plan.AudioOnly {
		return false
	}
	if t.evidence() {
		return true
	}
	limit := t.plan.MixLimit
	if limit <= 0 {
		limit = maxMix
	}
	n := len(t.users(s, from, to))
	switch {
	case t.plan.Split:
		return false
	case limit > maxMix && !t.plan.LargeGrid:
		t.log.Warn("mix_limit is above 9 without large_grid: the call is split", "mix_limit", limit)
		return false
	case n > limit:
		t.log.Warn("more participants than mix_limit: the call is split", "people", n, "mix_limit", limit)
		return false
	}
	return true
}

// users are the ids of those who were there in the window and whom the plan
// does not leave out, without mixers.
func (t *task) users(s *media.Session, from, to time.Duration) []string {
	var out []string
	for _, p := range s.People() {
		here := p.Join < to && p.Leave > from
		if here && !p.Mixer() && !slices.Contains(t.plan.Omit, p.UserID) && !slices.Contains(out, p.UserID) {
			out = append(out, p.UserID)
		}
	}
	return out
}

// heardOrSeen tells whether anything in the window can be decoded.
func (t *task) heardOrSeen(s *media.Session, from, to time.Duration) bool {
	if t.run.Type == recording.TypeRaw {
		return len(s.Tracks()) > 0
	}
	for _, track := range s.Tracks() {
		if t.omits(s, track) {
			continue
		}
		for _, l := range track.Layers {
			for _, span := range l.Spans {
				if span.From < to && span.To > from || span.From == span.To && span.From >= from && span.From <= to {
					return true
				}
			}
		}
	}
	return false
}

// omits leaves out what the plan does not show.
func (t *task) omits(s *media.Session, track media.Track) bool {
	user := ""
	if track.Person >= 0 && track.Person < len(s.People()) {
		user = s.People()[track.Person].UserID
	}
	return leavesOut(t.plan, user, track.Video())
}

// leavesOut tells whether nothing of a user's pictures, or of their sound, is
// recorded by a plan.
func leavesOut(p recording.Plan, user string, video bool) bool {
	return slices.Contains(p.Omit, user) || p.AudioOnly && video || p.VideoOnly && !video
}

// share is what one user showed and said, over all their connections: the
// camera's track and the microphone's, or the shared screen's and its sound's.
type share struct {
	UserID string
	Screen bool
	// Video and Audio are track ids, in the order of time.
	Video, Audio []string
}

// shares are the pieces that individual files are made of, in a fixed order.
func (t *task) shares(s *media.Session, from, to time.Duration) []share {
	var out []share
	at := func(user string, screen bool) *share {
		for i := range out {
			if out[i].UserID == user && out[i].Screen == screen {
				return &out[i]
			}
		}
		out = append(out, share{UserID: user, Screen: screen})
		return &out[len(out)-1]
	}
	for _, track := range s.Tracks() {
		if t.omits(s, track) || !within(track, from, to) || track.Person < 0 || s.People()[track.Person].Mixer() {
			continue
		}
		sh := at(s.People()[track.Person].UserID, screen(track))
		if track.Video() {
			sh.Video = append(sh.Video, track.ID)
		} else {
			sh.Audio = append(sh.Audio, track.ID)
		}
	}
	slices.SortStableFunc(out, func(a, b share) int {
		switch {
		case a.UserID != b.UserID:
			return cmp.Compare(a.UserID, b.UserID)
		case a.Screen == b.Screen:
			return 0
		case b.Screen:
			return -1
		}
		return 1
	})
	return out
}

// within tells whether something of a track lies in the window.
func within(track media.Track, from, to time.Duration) bool {
	for _, l := range track.Layers {
		for _, span := range l.Spans {
			if span.From < to && span.To >= from {
				return true
			}
		}
	}
	return false
}
