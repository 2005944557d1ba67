// Package node is what a capture node does about its live calls: it keeps
// sessions and participants in the database, switches frame recording on and
// off, and carries out orders from the control stream.
package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/capture"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Calls is the live calls of this node. Each method returns once the media
// concerned has stopped, with the number of connections or tracks it touched.
type Calls interface {
	Disconnect(cid, userID, reason string) int
	EndCall(cid, reason string) int
	Mute(cid, userID string, types []event.TrackType, until time.Time) int
}

// Sampler captures frames of the calls it is told to.
type Sampler interface {
	SetRecording(cid string, on bool, egressID string, s capture.Settings)
}

// Bus carries orders in and confirmations out.
type Bus interface {
	Publish(ctx context.Context, topic event.Topic, evs ...event.Envelope) error
	Consume(ctx context.Context, sub bus.Subscription) error
}

// Settings are those of a call that count while it runs. Mode is that of frame
// recording: "auto-on", "available" or "disabled".
type Settings struct {
	Mode string
	capture.Settings
	// AloneAfter is how long somebody whom all others have left stays in the
	// call before it ends; 0 is for as long as they like.
	AloneAfter time.Duration
}

// Config is what a Node is made of. All but Log and Now are needed;
// Calls and Sampler may come later by SetParts.
type Config struct {
	// ID names the node; it stays the same over restarts, so that orders sent
	// while the node was down are still answered.
	ID      string
	DB      *db.DB
	Bus     Bus
	Calls   Calls
	Sampler Sampler
	// Settings reads a call's settings as they stand in its row.
	Settings func(json.RawMessage) (Settings, error)
	Log      *slog.Logger
	// Now may be nil: then time.Now.
	Now func() time.Time
}

// Node is a service. It observes the live calls (call.SessionObserver); those methods
// return at once, and what they tell is written in order by one goroutine.
type Node struct {
	cfg     Config
	log     *slog.Logger
	timeout time.Duration // of one try to write
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu     sync.Mutex
	queue  []func(context.Context) error
	wake   chan struct{}
	closed bool
	alone  map[string]*time.Timer // by session id
}

// New makes a node.
func New(cfg Config) *Node {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Node{cfg: cfg, log: cfg.Log.With("component", "node"), timeout: writeTimeout, wake: make(chan struct{}, 1), alone: map[string]*time.Timer{}}
}

// SetParts gives the live calls and the sampler, which themselves need the
// node first. Call it before Start.
func (n *Node) SetParts(c Calls, s Sampler) { n.cfg.Calls, n.cfg.Sampler = c, s }

// Start ends in the database what an earlier run of this node left open, and
// begins to write and to take orders.
func (n *Node) Start(ctx context.Context) error {
	if err := n.endLeftovers(ctx); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	n.wg.Add(2)
	go func() { defer n.wg.Done(); n.write(run) }()
	go func() { defer n.wg.Done(); n.obey(run) }()
	return nil
}

// Close writes what is still queued and stops.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	for _, t := range n.alone {
		t.Stop() // what it would have put is not taken any more
	}
	n.mu.Unlock()
	if n.stop != nil {
		n.stop()
	}
	n.wg.Wait()
	return nil
}

// enqueue keeps f for the writing goroutine. The queue is bounded by the
// number of connections that the node admits, each of which adds a handful.
func (n *Node) enqueue(f func(context.Context) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.queue = append(n.queue, f)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *Node) take() []func(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.queue
	n.queue = nil
	return q
}

func (n *Node) write(ctx context.Context) {
	for {
		select {
		case <-n.wake:
			n.drain(ctx)
		case <-ctx.Done():
			n.drain(ctx)
			return
		}
	}
}

func (n *Node) drain(ctx context.Context) {
	for _, f := range n.take() {
		n.withRetry(ctx, f)
	}
}

// writeTimeout bounds one try, so that closing is bounded as well.
const writeTimeout = 2 * time.Second

// withRetry tries five times. Tries while the database takes no writes do not
// count: a call whose beginning is not written would never be looked at, and
// nothing later could be written either. The end of ctx stops the trying
// again, not a try that is under way.
func (n *Node) withRetry(ctx context.Context, f func(context.Context) error) {
	for try := 1; ; {
		err := n.once(ctx, f)
		if err == nil {
			return
		}
		if n.once(ctx, n.writable) == nil {
			try++
		}
		if try > 5 || ctx.Err() != nil {
			n.log.Error("record of a live call is lost", "error", err)
			return
		}
		select {
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// once gives f the time of one try.
func (n *Node) once(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	return f(ctx)
}

// writable fails while the database takes no writes.
func (n *Node) writable(ctx context.Context) error {
	return n.cfg.DB.InTx(ctx, func(context.Context, bun.Tx) error { return nil })
}
