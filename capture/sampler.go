package capture

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stillwatch/capture/keyframe"
)

// Sampler takes a frame of every video track of the calls that are being
// recorded, once per interval, and keeps the ledger of those it did not get.
//
// When a frame is due it opens the track's tap, asks for a keyframe, closes
// the tap as soon as one is whole, and hands the keyframe to the workers. A
// keyframe that comes by itself in the last quarter of the interval, while a
// tap is open, is taken instead. Its methods may be called at any time, from
// any goroutine, and do not wait.
type Sampler struct {
	cfg      Config
	pictures *queue
	stores   *queue
	notices  *notices
	wake     chan struct{}
	stop     context.CancelFunc
	loops    sync.WaitGroup
	making   sync.WaitGroup
	storing  sync.WaitGroup

	mu      sync.Mutex
	started bool
	closed  bool
	tracks  map[string]*sampled
	calls   map[string]*recording
	order   schedule
	counts  counts
}

// recording is one run of frame recording of a call.
type recording struct {
	cid, egressID string
	settings      Settings
	// failing is since when every frame fails; told says that it was told.
	failing  time.Time
	failures int
	told     bool
}

// NewSampler makes a Sampler.
func NewSampler(cfg Config) *Sampler {
	cfg = cfg.withDefaults()
	s := &Sampler{
		cfg:      cfg,
		pictures: newQueue(cfg.Queue, cfg.MaxWait),
		stores:   newQueue(4*cfg.Queue, cfg.StoreTimeout),
		wake:     make(chan struct{}, 1),
		tracks:   map[string]*sampled{},
		calls:    map[string]*recording{},
	}
	s.notices = newNotices(cfg)
	return s
}

// Start begins to sample.
func (s *Sampler) Start(ctx context.Context) error {
	if s.cfg.Imager == nil || s.cfg.Store == nil || s.cfg.Publisher == nil || s.cfg.Rows == nil {
		return errors.New("start sampler: imager, store, publisher and rows are needed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.started {
		return fmt.Errorf("start sampler: started %t, closed %t", s.started, s.closed)
	}
	s.started = true
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.loops.Go(func() { s.run(run) })
	s.loops.Go(func() { s.notices.run(run) })
	for range s.cfg.Workers {
		s.making.Go(func() { s.makePictures(run) })
	}
	for range s.cfg.StoreWorkers {
		s.storing.Go(func() { s.storePictures(run) })
	}
	return nil
}

// Close stops sampling. Pictures that are made are still stored; keyframes
// that wait for a worker go into the ledger.
func (s *Sampler) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var todo effects
	for _, t := range s.tracks {
		s.pauseLocked(t, &todo)
	}
	started := s.started
	s.mu.Unlock()
	todo.run()

	s.pictures.close()
	s.shed(s.pictures.empty(), "shutting down")
	s.making.Wait()
	s.stores.close()
	s.storing.Wait()
	s.mu.Lock()
	for _, t := range s.tracks {
		s.closeGapLocked(t)
	}
	s.mu.Unlock()
	if started {
		s.stop()
	}
	s.loops.Wait()
	return nil
}

// TrackAdded takes a track in. A track with the same id is replaced.
func (s *Sampler) TrackAdded(track Track) {
	info := track.Info()
	var todo effects
	s.mu.Lock()
	s.removeLocked(info.ID, &todo)
	if !s.closed {
		t := &sampled{
			track: track, info: info, at: -1,
			assemblers: map[string]*keyframe.Assembler{}, heights: map[string]int{},
		}
		s.tracks[info.ID] = t
		s.resumeLocked(t)
	}
	s.mu.Unlock()
	todo.run()
	s.nudge()
}

// TrackRemoved forgets a track. A frame that was due and not yet there is not
// due any more.
func (s *Sampler) TrackRemoved(id string) {
	var todo effects
	s.mu.Lock()
	s.removeLocked(id, &todo)
	s.mu.Unlock()
	todo.run()
}

// TrackMuted says that a track was muted, by its publisher or by a moderator,
// or came back. Muted tracks are not asked for keyframes.
func (s *Sampler) TrackMuted(id string, muted bool) {
	var todo effects
	s.mu.Lock()
	if t := s.tracks[id]; t != nil && t.muted != muted {
		t.muted = muted
		if muted {
			if t.waiting {
				s.missLocked(t, gapMutedExplicit)
			}
			t.closeLane(&todo)
		} else {
			s.catchUpLocked(t)
		}
	}
	s.mu.Unlock()
	todo.run()
	s.nudge()
}

// KeyframeExpected says that somebody else asked for a keyframe of a track,
// for instance a new viewer. If a frame is due soon, that keyframe is taken.
func (s *Sampler) KeyframeExpected(id string) {
	var todo effects
	s.mu.Lock()
	if t := s.tracks[id]; t != nil && t.rec != nil && !t.muted && t.lane == nil && s.soonLocked(t) {
		s.openLaneLocked(t, s.layerLocked(t), &todo)
	}
	s.mu.Unlock()
	todo.run()
}

// SetRecording turns frame recording of a call on or off. It may be called
// again while it is on, to change settings or to begin a new run (egress).
// Settings that are not allowed are replaced by the defaults.
func (s *Sampler) SetRecording(cid string, on bool, egressID string, settings Settings) {
	var todo effects
	s.mu.Lock()
	old := s.calls[cid]
	settings = settings.usable()
	switch {
	case s.closed:
	case !on:
		if old != nil {
			delete(s.calls, cid)
			s.switchTracksLocked(cid, &todo)
			s.tellLocked(old, RecordingStopped, "")
		}
	case old != nil && old.egressID == egressID && old.settings == settings:
	default:
		rec := &recording{cid: cid, egressID: egressID, settings: settings}
		s.calls[cid] = rec
		s.switchTracksLocked(cid, &todo)
		if old == nil || old.egressID != egressID {
			if old != nil {
				s.tellLocked(old, RecordingStopped, "")
			}
			s.tellLocked(rec, RecordingStarted, "")
		}
	}
	s.mu.Unlock()
	todo.run()
	s.nudge()
}

// StopCall forgets a call that has ended, with all its tracks.
func (s *Sampler) StopCall(cid string) {
	s.SetRecording(cid, false, "", Settings{})
	var todo effects
	s.mu.Lock()
	for id, t := range s.tracks {
		if t.info.CID == cid {
			s.removeLocked(id, &todo)
		}
	}
	s.mu.Unlock()
	todo.run()
}

func (s *Sampler) switchTracksLocked(cid string, todo *effects) {
	for _, t := range s.tracks {
		if t.info.CID == cid {
			s.pauseLocked(t, todo)
			s.resumeLocked(t)
		}
	}
}

func (s *Sampler) removeLocked(id string, todo *effects) {
	t := s.tracks[id]
	if t == nil {
		return
	}
	s.pauseLocked(t, todo)
	s.closeGapLocked(t)
	t.removed = true
	delete(s.tracks, id)
}

// pauseLocked ends the sampling of a track. A frame that waits for its
// keyframe is not due any more.
func (s *Sampler) pauseLocked(t *sampled, todo *effects) {
	if t.waiting {
		t.waiting = false
		t.counts.Due--
		s.counts.due--
	}
	t.closeLane(todo)
	t.rec, t.pace, t.later = nil, nil, time.Time{}
	if t.at >= 0 {
		heap.Remove(&s.order, t.at)
	}
}

// resumeLocked begins to sample a track if its call is recorded.
func (s *Sampler) resumeLocked(t *sampled) {
	rec := s.calls[t.info.CID]
	if rec == nil {
		s.closeGapLocked(t)
		return
	}
	t.rec = rec
	t.pace = newPacer(s.cfg.Now(), rec.settings.interval(), s.cfg.Jitter, s.cfg.random)
	t.due = t.pace.next()
	t.next = t.due
	heap.Push(&s.order, t)
}

// run steps the tracks whose moment has come.
func (s *Sampler) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		if next, ok := s.tick(s.cfg.Now()); ok {
			wait = max(next.Sub(s.cfg.Now()), 0)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
	}
}

// tick does what is due at now and returns when to call it again, if ever.
func (s *Sampler) tick(now time.Time) (next time.Time, ok bool) {
	var todo effects
	s.mu.Lock()
	for len(s.order) > 0 && !s.order[0].next.After(now) {
		t := s.order[0]
		s.stepLocked(t, now, &todo)
		heap.Fix(&s.order, t.at)
	}
	if len(s.order) > 0 {
		next, ok = s.order[0].next, true
	}
	s.mu.Unlock()
	todo.run()
	return next, ok
}

func (s *Sampler) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// effects are calls into tracks, which are made without locks.
type effects []func()

func (e effects) run() {
	for _, f := range e {
		f()
	}
}

// schedule is a heap of tracks by their next moment.
type schedule []*sampled

func (o schedule) Len() int           { return len(o) }
func (o schedule) Less(i, j int) bool { return o[i].next.Before(o[j].next) }
func (o schedule) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].at, o[j].at = i, j
}

func (o *schedule) Push(x any) {
	t := x.(*sampled)
	t.at = len(*o)
	*o = append(*o, t)
}

func (o *schedule) Pop() any {
	old := *o
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*o = old[:len(old)-1]
	t.at = -1
	return t
}
