package recorder

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/raw"
	"stillwatch/recording/stream"
)

// closeStreams bounds the ends of streams when the process ends.
const closeStreams = 3 * time.Second

// sending is a run that goes to its endpoint while it runs. It has taps of its
// own: neither the folder nor another run waits for it, nor it for them.
type sending struct {
	to    *stream.Sender
	plan  recording.Plan
	taken map[string]bool      // by track and layer
	stops map[string][]func()  // by track
	muted map[string]raw.Entry // by track, of those that are not sent, or not yet
}

// send begins to send a run, if its plan says so.
func (l *live) send(run db.RecordingRow) {
	var plan recording.Plan
	if err := json.Unmarshal(run.Plan.V, &plan); err != nil {
		l.r.log.Error("a run is not streamed", "call", l.info.CID, "recording", run.ID, "err", err)
		return
	}
	if run.Lane != db.LaneBusiness || !plan.Streams(run.Type) || l.sending[run.ID] != nil {
		return
	}
	if l.r.cfg.Client == nil {
		l.r.tellStream(run, &stream.Error{Reason: "there is no way out to the destination", Refused: true})
		return
	}
	plan.AudioOnly = plan.AudioOnly || plan.RawAudioOnly && run.Type == recording.TypeRaw
	s := &sending{plan: plan, taken: map[string]bool{}, stops: map[string][]func(){}, muted: map[string]raw.Entry{}}
	s.to = stream.New(stream.Config{
		URL: plan.Destination, Client: l.r.cfg.Client, Key: l.r.cfg.Signer.Key, Secret: l.r.cfg.Signer.Secret,
		Header: stream.Header{
			RecordingID: run.ID, RecordingType: run.Type, CallCID: l.info.CID, CallType: l.info.CallType, CallID: l.info.CallID,
			SessionID: l.info.SessionID, StartedAt: l.info.StartedAt.UTC(), RunStartedAt: run.StartedAt.UTC(), Custom: custom(run),
		},
		Keyframes: func() { l.do(func() { s.keyframes(l) }) }, Failed: func(err error) { l.r.tellStream(run, err) },
		Counts: &l.r.streams, Log: l.r.cfg.Log, Now: l.r.cfg.Now,
	})
	for _, e := range slices.SortedFunc(maps.Values(l.here), func(a, b raw.Entry) int { return cmp.Compare(a.At, b.At) }) {
		s.note(e)
	}
	l.sending[run.ID] = s
	for id, t := range l.tracks {
		l.tapInto(s, id, t)
	}
	l.r.mu.Lock()
	l.r.senders[s.to] = true
	l.r.mu.Unlock()
	s.to.Start(context.Background()) // which its end ends
	l.r.ending.Go(func() {
		s.to.Wait()
		_ = s.to.Close()
		l.r.mu.Lock()
		delete(l.r.senders, s.to)
		l.r.mu.Unlock()
	})
}

// tapSending lets those layers of a track that are not yet tapped into the
// streams.
func (l *live) tapSending(t *liveTrack) {
	if len(l.sending) == 0 {
		return
	}
	for id, other := range l.tracks {
		if other != t {
			continue
		}
		for _, s := range l.sending {
			l.tapInto(s, id, t)
		}
	}
}

func (l *live) tapInto(s *sending, trackID string, t *liveTrack) {
	for _, info := range t.Streams() {
		key := trackID + "\n" + info.RID
		if s.taken[key] || info.LeftOut() || leavesOut(s.plan, info.UserID, info.Video()) {
			continue
		}
		if info.ID = event.NewID(); info.At == 0 {
			info.At = l.offset(l.r.cfg.Now())
		}
		s.taken[key] = true
		if e, ok := s.muted[trackID]; ok {
			delete(s.muted, trackID)
			s.to.Note(e)
		}
		into := s.to.Track(info)
		s.stops[trackID] = append(s.stops[trackID],
			t.TapRaw(info.RID, func(b []byte, at time.Time) { into.Write(b, false, at) }),
			t.TapReports(info.RID, func(b []byte, at time.Time) { into.Write(b, true, at) }))
		if info.Video() {
			t.RequestKeyframe(info.RID)
		}
	}
}

// note tells of an entry of the journal, unless it is of somebody whom the plan
// leaves out. Entries of tracks do not say whose they are: those are told of
// that are sent. A mute may come before its track and waits for it.
func (s *sending) note(e raw.Entry) {
	sent := len(s.stops[e.TrackID]) > 0
	switch e.Kind {
	case raw.Joined, raw.Left:
		sent = !slices.Contains(s.plan.Omit, e.UserID)
	case raw.Muted:
		if !sent {
			s.muted[e.TrackID] = e
		}
	case raw.Unmuted:
		delete(s.muted, e.TrackID)
	case raw.Removed:
		delete(s.muted, e.TrackID)
		s.untap(e.TrackID)
	case raw.Added, raw.Started, raw.Stopped, raw.Flagged, raw.Lost, raw.Ended, raw.Dropped:
	}
	if sent {
		s.to.Note(e)
	}
}

func (s *sending) untap(trackID string) {
	for _, stop := range s.stops[trackID] {
		stop()
	}
	delete(s.stops, trackID)
	for key := range s.taken {
		if len(key) > len(trackID) && key[:len(trackID)+1] == trackID+"\n" {
			delete(s.taken, key)
		}
	}
}

// keyframes asks for pictures that can be decoded alone, of all that is sent.
func (s *sending) keyframes(l *live) {
	for id, t := range l.tracks {
		for _, info := range t.Streams() {
			if info.Video() && s.taken[id+"\n"+info.RID] {
				t.RequestKeyframe(info.RID)
			}
		}
	}
}

// endSending ends the stream of a run.
func (l *live) endSending(id, reason string, at time.Time) {
	s := l.sending[id]
	if s == nil {
		return
	}
	delete(l.sending, id)
	for trackID := range s.stops {
		s.untap(trackID)
	}
	s.to.End(reason, at)
}

func (l *live) endAllSending(reason string, at time.Time) {
	for id := range l.sending {
		l.endSending(id, reason, at)
	}
}

// abandonSending ends all streams since the process ends.
func (l *live) abandonSending() {
	for id, s := range l.sending {
		l.endSending(id, stream.Interrupted, l.r.cfg.Now())
		s.to.Hurry(closeStreams)
	}
}

// tellStream tells once that a run's stream was not delivered. The files of the
// run are made all the same.
func (r *Recorder) tellStream(run db.RecordingRow, cause error) {
	r.log.Error("a recording is not streamed", "call", run.CID, "recording", run.ID, "err", cause)
	now := r.cfg.Now()
	err := r.retry(func(ctx context.Context) error {
		return r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			return r.tellFailedOf(ctx, tx, run, []string{streamFormat}, cause, now)
		})
	})
	if err != nil {
		r.log.Error("a stream that was not delivered is not told of", "call", run.CID, "err", err)
	}
}

// streamFormat is the format that a failure of a stream is told with.
const streamFormat = "stream"
