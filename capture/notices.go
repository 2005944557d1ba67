package capture

import (
	"context"
	"sync"
	"time"

	"stillwatch/internal/event"
)

// maxNotices bounds what waits to be told; gaps are also rows.
const maxNotices = 4096

// notices tells of gaps and recordings, in order, from one goroutine.
type notices struct {
	cfg  Config
	wake chan struct{}

	mu    sync.Mutex
	queue []notice
}

// notice is one of an event and a recording event.
type notice struct {
	gap       *event.Envelope
	recording *RecordingEvent
}

func newNotices(cfg Config) *notices {
	return &notices{cfg: cfg, wake: make(chan struct{}, 1)}
}

func (n *notices) gap(g *openGap, at time.Time) {
	env := event.New(event.TypeFrameGap, g.gap.CID+"/"+g.gap.UserID, at, g.gap)
	n.put(notice{gap: &env})
}

func (n *notices) recording(e RecordingEvent) { n.put(notice{recording: &e}) }

// put never blocks. A gap's event is dropped when too much waits.
func (n *notices) put(x notice) {
	n.mu.Lock()
	if x.gap == nil || len(n.queue) < maxNotices {
		n.queue = append(n.queue, x)
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run tells until ctx ends, and then what is left.
func (n *notices) run(ctx context.Context) {
	for {
		select {
		case <-n.wake:
			n.tell(ctx)
		case <-ctx.Done():
			n.tell(context.WithoutCancel(ctx))
			return
		}
	}
}

// tell empties the queue; gaps that wait go in one publication.
func (n *notices) tell(ctx context.Context) {
	n.mu.Lock()
	waiting := n.queue
	n.queue = nil
	n.mu.Unlock()
	var gaps []event.Envelope
	for _, x := range waiting {
		switch {
		case x.gap != nil:
			gaps = append(gaps, *x.gap)
		case n.cfg.OnRecording != nil:
			n.cfg.OnRecording(*x.recording)
		}
	}
	if len(gaps) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.StoreTimeout)
	defer cancel()
	if err := n.cfg.Publisher.Publish(ctx, event.TopicFrames, gaps...); err != nil {
		n.cfg.Log.Warn("gaps are not published", "gaps", len(gaps), "error", err)
	}
}
