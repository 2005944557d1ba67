package capture

import (
	"container/heap"
	"fmt"
	"time"

	"stillwatch/capture/keyframe"
	"stillwatch/internal/event"
)

const (
	// relearn is after how many frames the sizes of layers are learnt anew.
	relearn = 64
	// askAgain is the least time between two requests for a keyframe: closer
	// ones give nothing more.
	askAgain    = 300 * time.Millisecond
	maxAskAgain = 2 * time.Second
	// giveUpShare of the interval is how long a due frame waits for its
	// keyframe; earlyShare is how long before its moment one may come.
	giveUpShare = 0.8
	// probeShare of the frames of a track with layers are taken from one above
	// the lowest that would do: nobody but the publisher makes sure that all
	// show the same.
	probeShare = 0.25
	earlyShare = 0.25
)

// Details of gaps that stand for a reason.
const (
	gapMutedExplicit = "muted"
	gapSilent        = "no packets"
	gapLate          = "sampler was late"
)

// sampled is a track that is sampled. Sampler.mu guards it.
type sampled struct {
	track Track
	info  TrackInfo
	rec   *recording // nil while the call is not recorded
	pace  *pacer
	// due is the next due moment, next the next moment to look at the track,
	// at its place in the schedule.
	due, next time.Time
	at        int
	// later is the due moment after due, while due was put in between.
	later time.Time

	muted, removed bool
	// unseen says that the last due moment went by while nothing was sent.
	unseen bool
	// waiting says that a due frame waits for its keyframe.
	waiting bool
	slot    slot

	lane       *lane
	assemblers map[string]*keyframe.Assembler
	heights    map[string]int

	counts TrackCounts
	// lack is the share of the latest frames that were shed, 0 to 1.
	lack    float64
	gap     *openGap
	picture lastPicture
}

// slot is a due frame that waits for its keyframe.
type slot struct {
	due, asked, deadline, askAt time.Time
	every                       time.Duration
	packets, incomplete         uint64
	// probe, if above 0 and up to 1, says which layer above the right one is
	// looked at instead.
	probe float64
}

// slotJob is what a job takes from its slot.
type slotJob struct {
	kf    *keyframe.Keyframe
	due   time.Time
	asked time.Time
	// what the stages add
	begun time.Time
	made  time.Time
	pic   *madePicture
}

func (t *sampled) interval() time.Duration { return t.rec.settings.interval() }

func (s *Sampler) soonLocked(t *sampled) bool {
	early := time.Duration(earlyShare * float64(t.interval()))
	return !t.waiting && !s.cfg.Now().Before(t.due.Add(-early))
}

// stepLocked does what a track's moment asks for and sets the next one.
func (s *Sampler) stepLocked(t *sampled, now time.Time, todo *effects) {
	switch {
	case t.waiting && !now.Before(t.slot.deadline):
		s.giveUpLocked(t)
	case t.waiting && !now.Before(t.slot.askAt):
		s.askLocked(t, now, todo)
	case !t.waiting && !now.Before(t.due):
		s.beginLocked(t, now, todo)
	}
	t.plan()
}

// plan sets the next moment.
func (t *sampled) plan() {
	t.next = t.due
	if t.waiting {
		t.next = t.slot.deadline
		if t.slot.askAt.Before(t.next) {
			t.next = t.slot.askAt
		}
	}
}

// beginLocked opens the slot of a due frame.
func (s *Sampler) beginLocked(t *sampled, now time.Time, todo *effects) {
	for s.dueLocked(t); !t.due.After(now); s.dueLocked(t) {
		s.missLocked(t, gapLate) // the machine slept: these moments are gone
	}
	if t.muted {
		s.missLocked(t, gapMutedExplicit)
		return
	}
	t.slot.every = askAgain
	t.slot.deadline = now.Add(time.Duration(giveUpShare * float64(t.interval())))
	if t.lane != nil {
		t.slot.packets, t.slot.incomplete = t.lane.seen()
	}
	if len(t.track.Layers()) > 1 {
		t.slot.probe = 1 - t.pace.random()/probeShare
	}
	s.askLocked(t, now, todo)
	t.slot.asked = now
}

// dueLocked counts the due frame and moves on to the next moment.
func (s *Sampler) dueLocked(t *sampled) {
	t.counts.Due++
	s.counts.due++
	t.waiting = true
	t.slot = slot{due: t.due}
	if t.later.IsZero() {
		t.due = t.pace.next()
		return
	}
	t.due, t.later = t.later, time.Time{}
}

// catchUpLocked puts a due moment in between for a track that sends again
// after its last one went by: who falls silent around the due moments must not
// stay unseen. It lies at random within the first seconds, or before the next
// moment, so that the first picture need not be the one.
func (s *Sampler) catchUpLocked(t *sampled) {
	if t.rec == nil || !t.unseen || t.waiting || !t.later.IsZero() {
		return
	}
	now := s.cfg.Now()
	left := min(t.due.Sub(now), maxFirst)
	if left <= 0 {
		return // due at once anyway
	}
	t.later = t.due
	t.due = now.Add(time.Duration(t.pace.random() * float64(left)))
	t.reschedule(s)
}

// askLocked asks for a keyframe of the layer that is right now.
func (s *Sampler) askLocked(t *sampled, now time.Time, todo *effects) {
	rid := s.layerLocked(t)
	if t.lane == nil || t.lane.rid != rid {
		t.closeLane(todo)
		t.slot.packets, t.slot.incomplete = 0, 0
		if !s.openLaneLocked(t, rid, todo) {
			s.missLocked(t, fmt.Sprintf("codec %s", t.info.Codec))
			return
		}
		_, t.slot.incomplete = t.lane.seen()
	}
	s.counts.requests++
	track := t.track
	*todo = append(*todo, func() { track.RequestKeyframe(rid) })
	t.slot.askAt = now.Add(t.slot.every)
	t.slot.every = min(t.slot.every*3/2, maxAskAgain)
}

func (s *Sampler) layerLocked(t *sampled) string {
	layers := t.track.Layers()
	rid := chooseLayer(layers, t.heights, t.rec.settings.height())
	if !t.waiting || t.slot.probe <= 0 {
		return rid
	}
	return layerAbove(layers, rid, t.slot.probe)
}

// openLaneLocked opens a tap; false for a codec that cannot be read.
func (s *Sampler) openLaneLocked(t *sampled, rid string, todo *effects) bool {
	asm := t.assemblers[rid]
	if asm == nil {
		var err error
		asm, err = keyframe.New(t.info.Codec, keyframe.Config{
			RotationExtID: t.info.RotationExtID, ParameterSets: t.info.ParameterSets,
		})
		if err != nil {
			return false
		}
		t.assemblers[rid] = asm
	}
	asm.SetMaxHeight(t.rec.settings.height())
	t.lane = &lane{t: t, rid: rid, asm: asm, take: s.take}
	*todo = append(*todo, t.lane.open)
	return true
}

// closeLane shuts the lane at once and leaves the tap to be closed.
func (t *sampled) closeLane(todo *effects) {
	if t.lane == nil {
		return
	}
	if stop := t.lane.shut(); stop != nil {
		*todo = append(*todo, stop)
	}
	t.lane = nil
}

// giveUpLocked ends a slot without a keyframe. The lane stays open: for a
// publisher that does not answer, the next keyframe may come by itself, and
// for one that sends nothing an open tap costs nothing.
func (s *Sampler) giveUpLocked(t *sampled) {
	packets, incomplete := t.lane.seen()
	switch {
	case packets == t.slot.packets:
		s.missLocked(t, gapSilent)
	case incomplete > t.slot.incomplete:
		s.missLocked(t, "packets were lost")
	default:
		s.missLocked(t, "publisher sent none")
	}
}

// missLocked ends the waiting slot as a gap. The reason follows from detail.
func (s *Sampler) missLocked(t *sampled, detail string) {
	reason := event.GapNoKeyframe
	switch detail {
	case gapMutedExplicit, gapSilent:
		reason = event.GapMuted
	case gapLate:
		reason = event.GapOverload
	}
	t.waiting = false
	t.unseen = reason == event.GapMuted
	s.gapLocked(t, t.rec, reason, detail, t.slot.due)
	t.reschedule(s)
}

func (t *sampled) reschedule(s *Sampler) {
	t.plan()
	if t.at >= 0 {
		heap.Fix(&s.order, t.at)
	}
}

// take gets a whole keyframe from a lane's sink.
func (s *Sampler) take(l *lane, k *keyframe.Keyframe) {
	t := l.t
	var todo effects
	s.mu.Lock()
	if s.closed || t.lane != l || t.rec == nil || !t.waiting && !s.soonLocked(t) {
		s.mu.Unlock()
		return
	}
	j := &job{t: t, rec: t.rec, lack: int(t.lack * 20), rid: l.rid}
	j.kf = k
	if t.waiting {
		j.due, j.asked = t.slot.due, t.slot.asked
	} else { // it came by itself: the frame is taken now, not later
		s.dueLocked(t)
		j.due = k.LastAt
		s.counts.natural++
	}
	t.waiting, t.unseen = false, false
	if t.counts.Captured%relearn == relearn-1 {
		clear(t.heights) // a layer that was too small for a while may have grown
	}
	t.heights[l.rid] = uprightHeight(k)
	t.closeLane(&todo)
	t.reschedule(s)
	t.counts.InFlight++
	s.counts.inFlight++
	s.counts.keyframes++
	s.mu.Unlock()
	todo.run()
	s.shed(s.pictures.push(j), "too many frames at once")
}

func uprightHeight(k *keyframe.Keyframe) int {
	if k.Rotation%180 != 0 {
		return k.Width
	}
	return k.Height
}
