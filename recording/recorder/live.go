package recorder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/raw"
)

// Session is a live session, as the calls of this node know it.
type Session = raw.SessionInfo

// Track is a live track. Its methods return without waiting.
type Track interface {
	// Streams describes the track's streams as they are now, one a simulcast
	// layer; ID is left empty, and At where it is not known.
	Streams() []raw.StreamInfo
	// TapRaw lets the packets of a layer through as they arrive, decrypted and
	// otherwise unchanged; a packet is valid during the call.
	TapRaw(rid string, fn func(b []byte, at time.Time)) (stop func())
	// TapReports does so with the sender reports (RFC 3550, section 6.4.1).
	TapReports(rid string, fn func(b []byte, at time.Time)) (stop func())
	RequestKeyframe(rid string)
}

// live is a session that runs. One goroutine does what happens to it, in order.
type live struct {
	r    *Recorder
	info Session

	wakeup chan struct{}
	mu     sync.Mutex
	todo   []func()
	over   bool // nothing more comes

	// Below, of the goroutine alone.

	plan    recording.Plan
	against *recording.Override // the permission that evidence goes against, if any
	ready   bool                // the plan is known
	gone    bool                // and will not be: there is no such call
	writer  *raw.Writer
	tapped  bool
	tracks  map[string]*liveTrack
	// here are those who are in the call, by connection, as the journal is told
	// of them.
	here map[string]raw.Entry
	// seen are the users who have come, second is when there were two of them.
	seen   map[string]bool
	second time.Time
	began  map[string]bool // runs that have begun by themselves, by id
	due    map[string]bool // those that were to begin and could not be written yet
	behind bool            // settings or orders could not be read
	// ticks counts since the session's beginning.
	ticks int
	runs  map[string]*db.RecordingRow // by id, those that are on
	lost  bool
	// gap: packets of the session were given up or not written, for want of room.
	// from is since when there are some again.
	gap  bool
	from time.Time

	// bytes of packets are written, since opened, in nanoseconds since 1970, 0:
	// none are.
	bytes, opened atomic.Int64

	// sending are the runs that go out while they run, by id.
	sending map[string]*sending
}

type liveTrack struct {
	Track
	taken map[string]bool // by rid
	stops map[string][]func()
}

// SessionStarted begins to follow a session.
func (r *Recorder) SessionStarted(s Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.sessions[s.SessionID] != nil {
		return
	}
	l := &live{
		r: r, info: s, wakeup: make(chan struct{}, 1), tracks: map[string]*liveTrack{}, here: map[string]raw.Entry{},
		runs: map[string]*db.RecordingRow{}, sending: map[string]*sending{},
		seen: map[string]bool{}, began: map[string]bool{}, due: map[string]bool{},
	}
	r.sessions[s.SessionID] = l
	r.ending.Go(l.run)
	l.do(l.begin)
}

func (r *Recorder) session(id string) *live {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[id]
}

// byCall finds the live session of a call.
func (r *Recorder) byCall(cid string) *live {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.sessions {
		if l.info.CID == cid && !l.isOver() {
			return l
		}
	}
	return nil
}

// SessionEnded tells that the last participant has left.
func (r *Recorder) SessionEnded(sessionID string, at time.Time) {
	if l := r.session(sessionID); l != nil {
		l.last(func() { l.finish(at) })
	}
}

// Joined and Left tell of a participant's connection.
func (r *Recorder) Joined(sessionID, userSessionID, userID, role string, at time.Time) {
	if l := r.session(sessionID); l != nil {
		l.do(func() { l.joined(userSessionID, userID, role, at) })
	}
}

// Left tells that a connection ended.
func (r *Recorder) Left(sessionID, userSessionID, userID string, at time.Time) {
	if l := r.session(sessionID); l != nil {
		l.do(func() {
			delete(l.here, userSessionID)
			l.note(raw.Entry{Kind: raw.Left, At: l.offset(at), UserID: userID, UserSessionID: userSessionID})
		})
	}
}

// TrackAdded tells of a track. LayersChanged tells that it has more layers now.
func (r *Recorder) TrackAdded(sessionID, trackID string, t Track) {
	if l := r.session(sessionID); l != nil {
		l.do(func() {
			l.tracks[trackID] = &liveTrack{Track: t, taken: map[string]bool{}, stops: map[string][]func(){}}
			l.tap(l.tracks[trackID])
		})
	}
}

// LayersChanged tells that a track has got another layer.
func (r *Recorder) LayersChanged(sessionID, trackID string) {
	if l := r.session(sessionID); l != nil {
		l.do(func() {
			if t := l.tracks[trackID]; t != nil {
				l.tap(t)
			}
		})
	}
}

// TrackRemoved tells that a track has ended.
func (r *Recorder) TrackRemoved(sessionID, trackID string, at time.Time) {
	if l := r.session(sessionID); l != nil {
		l.do(func() {
			if t := l.tracks[trackID]; t != nil {
				t.stop()
				delete(l.tracks, trackID)
			}
			l.note(raw.Entry{Kind: raw.Removed, At: l.offset(at), TrackID: trackID})
		})
	}
}

// TrackMuted tells that the packets of a track have stopped, or come again.
func (r *Recorder) TrackMuted(sessionID, trackID string, muted bool, at time.Time) {
	if l := r.session(sessionID); l != nil {
		kind := raw.Unmuted
		if muted {
			kind = raw.Muted
		}
		l.do(func() { l.note(raw.Entry{Kind: kind, At: l.offset(at), TrackID: trackID}) })
	}
}

func (t *liveTrack) stop() {
	for rid := range t.stops {
		t.leave(rid)
	}
}

// leave stops tapping a layer.
func (t *liveTrack) leave(rid string) {
	for _, stop := range t.stops[rid] {
		stop()
	}
	delete(t.stops, rid)
	delete(t.taken, rid)
}

// do has the session's goroutine do something after all that came before.
// It answers false if nothing is done any more.
func (l *live) do(f func()) bool { return l.put(f, false) }

// last is do for what nothing follows.
func (l *live) last(f func()) { l.put(f, true) }

func (l *live) put(f func(), over bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.todo, l.over = append(l.todo, f), over
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
	return true
}

func (l *live) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// rollEvery is how often the packets before a start are cut down to the
// pre-roll, and pictures asked for that can be decoded alone: a file begins
// with one.
const rollEvery = 5 * time.Second

// run does what is put, until the last of it is done.
func (l *live) run() {
	tick := time.NewTicker(rollEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.wakeup:
		case <-tick.C:
			l.roll()
			continue
		}
		l.mu.Lock()
		todo, over := l.todo, l.over
		l.todo = nil
		l.mu.Unlock()
		for _, f := range todo {
			f()
		}
		if over {
			l.r.mu.Lock()
			delete(l.r.sessions, l.info.SessionID)
			l.r.mu.Unlock()
			return
		}
	}
}

// roll forgets what came before the pre-roll while nothing is recorded. What a
// run that ended still needs stays.
func (l *live) roll() {
	l.ticks++
	if !l.ready {
		if !l.gone && (l.ticks <= 6 || l.ticks%6 == 0) {
			l.begin() // what kept the plan from being read may be over
		}
		return
	}
	if l.gap {
		l.spool() // if there is room by now
	}
	if len(l.due) > 0 {
		l.startAuto(true)
	}
	if l.behind {
		l.sync()
	}
	if l.writer != nil {
		l.bytes.Store(l.writer.Stats().Bytes)
	}
	if l.tapped && l.ticks%2 == 0 {
		l.keyframes()
	}
	if l.writer == nil || !l.tapped || len(l.runs) > 0 || l.plan.Spools() {
		return
	}
	l.keyframes()
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	needed, err := l.r.needed(ctx, l.info.SessionID)
	if err != nil {
		l.r.log.Warn("packets before the pre-roll are forgotten later", "call", l.info.CID, "err", err)
		return
	}
	if !needed {
		// The picture to begin with may be as old as the last time it was asked for.
		l.writer.Trim(l.offset(l.r.cfg.Now()) - l.plan.PreRoll - 2*rollEvery)
	}
}

// keyframes asks for pictures that can be decoded alone, of all that is tapped.
func (l *live) keyframes() {
	for _, t := range l.tracks {
		for _, info := range t.Streams() {
			if info.Video() && t.taken[info.RID] {
				t.RequestKeyframe(info.RID)
			}
		}
	}
}

// offset is a moment since the session's start.
func (l *live) offset(at time.Time) time.Duration { return max(0, at.Sub(l.info.StartedAt)) }

// begin reads the call's plan and starts what starts by itself.
func (l *live) begin() {
	err := l.r.retry(func(ctx context.Context) error { return l.readPlan(ctx) })
	if err != nil {
		l.gone = db.IsNotFound(err)
		l.r.log.Error("a call is not recorded: its plan cannot be read", "call", l.info.CID, "err", err)
		return
	}
	l.ready = true
	l.spool()
	l.startAuto(false)
	l.startArmed()
}

func (l *live) readPlan(ctx context.Context) error {
	var call db.CallRow
	if err := l.r.cfg.DB.NewSelect().Model(&call).Where("cid = ?", l.info.CID).Scan(ctx); err != nil {
		return fmt.Errorf("read call %s: %w", l.info.CID, err)
	}
	plan, err := l.r.cfg.Plan(call.Settings.V, call.RecordingDecision.V)
	if err != nil {
		return err
	}
	l.plan, l.against = plan, nil
	if o, against := recording.Against(call.RecordingDecision.V); against {
		l.against = &o
	}
	return nil
}

// open makes the folder of the session and taps what is there.
func (l *live) open() {
	if l.writer == nil {
		if err := l.create(); err != nil {
			l.r.log.Error("a call is not recorded", "call", l.info.CID, "err", err)
			l.r.count.failed.Add(1)
			return
		}
	}
	l.tapped = true
	for _, t := range l.tracks {
		l.tap(t)
	}
}

func (l *live) create() error {
	dir := l.r.rawDir(l.info.SessionID)
	key := raw.NewKey()
	// The key goes first: what is written without it could be read by nobody.
	if err := raw.SaveKey(dir, key, l.r.cfg.Seal); err != nil {
		return errors.Join(err, raw.Destroy(dir))
	}
	w, err := raw.Create(dir, key, l.info, raw.Options{
		MaxBytes: l.r.cfg.SpoolBytes, OnLost: l.onLost, Log: l.r.log, Now: l.r.cfg.Now,
	})
	if err != nil {
		return errors.Join(err, raw.Destroy(dir))
	}
	l.writer = w
	l.opened.Store(l.r.cfg.Now().UnixNano())
	if l.gap {
		l.from = l.r.cfg.Now()
		l.note(raw.Entry{Kind: raw.Dropped, At: l.offset(l.from)})
	}
	for _, e := range slices.SortedFunc(maps.Values(l.here), func(a, b raw.Entry) int { return cmp.Compare(a.At, b.At) }) {
		l.note(e)
	}
	return nil
}

// untap stops tapping while nobody needs packets. What was written stays.
func (l *live) untap() {
	l.tapped = false
	for _, t := range l.tracks {
		t.stop()
	}
}

// tap lets the packets of those layers that are not yet tapped into the folder.
func (l *live) tap(t *liveTrack) {
	l.tapSending(t)
	if !l.tapped || l.writer == nil {
		return
	}
	for _, info := range t.Streams() {
		if t.taken[info.RID] || !l.wants(info) {
			continue
		}
		if info.ID = event.NewID(); info.At == 0 {
			info.At = l.offset(l.r.cfg.Now())
		}
		s, err := l.writer.Stream(info)
		if err != nil {
			l.onLost(err)
			continue
		}
		t.taken[info.RID] = true
		t.stops[info.RID] = []func(){
			t.TapRaw(info.RID, func(b []byte, at time.Time) { s.Write(b, false, at) }),
			t.TapReports(info.RID, func(b []byte, at time.Time) { s.Write(b, true, at) }), s.End,
		}
		if info.Video() {
			t.RequestKeyframe(info.RID)
		}
	}
}

func (l *live) note(e raw.Entry) {
	for _, s := range l.sending {
		s.note(e)
	}
	if l.writer == nil {
		return
	}
	if err := l.writer.Note(e); err != nil {
		l.onLost(err)
	}
}

func (l *live) joined(userSessionID, userID, role string, at time.Time) {
	off := l.offset(at)
	e := raw.Entry{Kind: raw.Joined, At: off, UserID: userID, UserSessionID: userSessionID, Role: role, Name: l.name(userID)}
	l.here[userSessionID] = e
	l.note(e)
	l.seen[userID] = true
	if len(l.seen) == 2 && l.second.IsZero() {
		l.second = at
		if l.ready {
			l.startAuto(false)
		}
	}
}

// name is what a user is called, "" if that is not known.
func (l *live) name(userID string) string {
	var name string
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	_ = l.r.cfg.DB.NewSelect().Model((*db.UserRow)(nil)).Column("name").Where("id = ?", userID).Scan(ctx, &name)
	return name
}

// onLost is told once of each burst of packets that could not be written. It
// may come from any goroutine.
func (l *live) onLost(err error) {
	l.r.count.lost.Add(1)
	l.r.log.Error("packets of a call are lost", "call", l.info.CID, "session", l.info.SessionID, "err", err)
	l.do(func() { l.tellLost(err) })
}

// abandon closes the folder as it is: the process ends, and the next one takes
// it up.
func (l *live) abandon() {
	l.last(func() {
		l.abandonSending()
		l.untap()
		if l.writer != nil {
			if err := l.writer.Close(); err != nil {
				l.r.log.Error("packets were not all written", "call", l.info.CID, "err", err)
			}
		}
	})
}
