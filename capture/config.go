package capture

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Store keeps the JPEGs.
type Store interface {
	Put(ctx context.Context, key string, body []byte, contentType string) error
}

// ExternalStore puts JPEGs into storages that others own. It returns the
// reference by which the object is found: key itself means that it lies in
// our own store, since the storage did not take it.
type ExternalStore interface {
	Place(ctx context.Context, storage, key string, body []byte, contentType string) (ref string, err error)
}

// Publisher sends events.
type Publisher interface {
	Publish(ctx context.Context, topic event.Topic, evs ...event.Envelope) error
}

// TensorSink keeps the tensors of a frame for a classifier in this process.
// It does not block.
type TensorSink interface {
	Put(frameID string, size int, rgb []byte)
}

// Rows takes rows for the database. It does not block and answers false for a
// row that it had to drop. A gap is put again under the same id as it grows.
type Rows interface {
	PutFrame(row db.FrameRow) bool
	PutGap(row db.GapRow) bool
}

// Defaults of Config.
const (
	DefaultRetention    = 14 * 24 * time.Hour
	DefaultJitter       = 0.05
	DefaultQueuePerCPU  = 16
	DefaultStoreWorkers = 16
	DefaultMaxWait      = time.Second
	DefaultStoreTimeout = 5 * time.Second
	DefaultFrozenAfter  = 30
	DefaultBlackMean    = 4
	DefaultBlackStd     = 2
)

// Config is what a Sampler is made of. Imager, Store, Publisher and Rows are
// needed.
type Config struct {
	// Node names this machine in frame events.
	Node      string
	Imager    still.Imager
	Store     Store
	Publisher Publisher
	Rows      Rows
	// External may be nil: then all frames go to Store.
	External ExternalStore
	// Tensors may be nil.
	Tensors TensorSink

	// Retention is how long a frame is kept. Default 14 days.
	Retention time.Duration
	// JPEGQuality is 1 to 100; 0 is the imager's default.
	JPEGQuality int
	// Jitter moves each due moment by up to this share of the interval, either
	// way, 0 to 0.4; the mean distance stays the interval. A distance is within
	// twice this share of the interval. Default 0.05; negative is none.
	Jitter float64
	// Workers make pictures at the same time. Default one per CPU.
	Workers int
	// Queue is how many keyframes may wait for a worker. Default 16 per worker.
	Queue int
	// StoreWorkers store and publish at the same time. Default 16.
	StoreWorkers int
	// MaxWait is how long a keyframe may wait for a worker before it is too
	// old to be worth the work. Default 1 s.
	MaxWait time.Duration
	// StoreTimeout bounds storing and publishing one frame. Default 5 s.
	StoreTimeout time.Duration
	// FrozenAfter is how many frames in a row must be the same JPEG to the last
	// bit, sensor noise included, until a camera counts as frozen; the next
	// equal ones are gaps. Screen shares are never frozen. Default 30, so a
	// minute at 2 s; negative is never.
	FrozenAfter int
	// BlackMean and BlackStd bound the mean and standard deviation of luma, 0
	// to 255, below which both must be for a picture to count as black.
	// Defaults 4 and 2: less than a dark room with sensor noise gives.
	BlackMean, BlackStd float64

	// OnRecording hears of a call's recording, in order, from one goroutine.
	OnRecording func(RecordingEvent)
	// OnFrame hears of each captured frame from a worker; it does not block.
	OnFrame func(FrameTiming)
	Log     *slog.Logger
	// Now may be nil: then time.Now.
	Now func() time.Time
	// random gives 0 to 1; tests replace it.
	random func() float64
}

// RecordingKind says what happened to a call's frame recording.
type RecordingKind string

// The kinds.
const (
	RecordingStarted RecordingKind = "started"
	RecordingStopped RecordingKind = "stopped"
	// RecordingFailed: every due frame of the call failed for more than three
	// intervals. Muted, black and frozen cameras are no failure. It is told
	// once until a frame is captured again.
	RecordingFailed RecordingKind = "failed"
)

// RecordingEvent tells about the frame recording of a call.
type RecordingEvent struct {
	Kind          RecordingKind
	CID, EgressID string
	// Reason is that of the last gap, with RecordingFailed.
	Reason event.GapReason
	At     time.Time
}

// FrameTiming tells where a captured frame's time went.
type FrameTiming struct {
	Frame event.FrameReady
	// Answer is from asking for the keyframe to its last packet, 0 when it
	// came unasked.
	Answer time.Duration
	// Queued is from the last packet to a worker, Picture within the imager,
	// Store from then until the event was published.
	Queued, Picture, Store time.Duration
	// Total is from the last packet to the published event.
	Total time.Duration
	Still still.Timing
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c Config) withDefaults() Config {
	orDefault(&c.Retention, DefaultRetention)
	orDefault(&c.Jitter, DefaultJitter)
	c.Jitter = min(max(c.Jitter, 0), 0.4)
	orDefault(&c.Workers, runtime.GOMAXPROCS(0))
	orDefault(&c.Queue, DefaultQueuePerCPU*c.Workers)
	orDefault(&c.StoreWorkers, DefaultStoreWorkers)
	orDefault(&c.MaxWait, DefaultMaxWait)
	orDefault(&c.StoreTimeout, DefaultStoreTimeout)
	orDefault(&c.FrozenAfter, DefaultFrozenAfter)
	orDefault(&c.BlackMean, DefaultBlackMean)
	orDefault(&c.BlackStd, DefaultBlackStd)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "sampler")
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
