package db

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
)

// Defaults of a Batcher.
const (
	DefaultBatch      = 256
	DefaultBatchEvery = 200 * time.Millisecond
	DefaultBatchQueue = 8192
	batchTries        = 3
)

// Batcher inserts rows of one table in batches, one transaction each. It is
// for lossy rows (frames, verdicts, gaps), where a commit per row would cost
// more than the row: Put never blocks, and what finds the queue full, or
// cannot be inserted, is counted as dropped.
type Batcher[T any] struct {
	db    *DB
	rows  chan T
	every time.Duration
	max   int

	dropped atomic.Int64
	written atomic.Int64

	mu     sync.Mutex
	closed bool
	stop   chan struct{}
	done   chan struct{}
}

// NewBatcher makes a Batcher for rows of type T, a bun model such as
// FrameRow, with the default sizes.
func NewBatcher[T any](d *DB) *Batcher[T] {
	return &Batcher[T]{
		db: d, rows: make(chan T, DefaultBatchQueue), every: DefaultBatchEvery, max: DefaultBatch,
		stop: make(chan struct{}),
	}
}

// Put queues a row and tells whether it found room. It is safe for
// concurrent use and at any time; after Close it answers false.
func (b *Batcher[T]) Put(row T) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		select {
		case b.rows <- row:
			return true
		default:
		}
	}
	b.dropped.Add(1)
	return false
}

// Dropped is how many rows were lost since the start.
func (b *Batcher[T]) Dropped() int64 { return b.dropped.Load() }

// Written is how many rows were inserted since the start.
func (b *Batcher[T]) Written() int64 { return b.written.Load() }

// Start implements service.Service.
func (b *Batcher[T]) Start(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.done != nil {
		return nil
	}
	b.done = make(chan struct{})
	go b.run()
	return nil
}

// Close inserts what is queued and stops.
func (b *Batcher[T]) Close() error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.stop)
	}
	done := b.done
	b.mu.Unlock()
	if done != nil {
		<-done
	}
	return nil
}

// run waits for a first row, gathers for a while, and inserts; it wakes for
// nothing when nothing comes.
func (b *Batcher[T]) run() {
	defer close(b.done)
	batch := make([]T, 0, b.max)
	for {
		select {
		case row := <-b.rows:
			batch = b.gather(append(batch[:0], row))
			b.insert(batch)
		case <-b.stop:
			for len(b.rows) > 0 {
				batch = append(batch[:0], <-b.rows)
				for len(b.rows) > 0 && len(batch) < b.max {
					batch = append(batch, <-b.rows)
				}
				b.insert(batch)
			}
			return
		}
	}
}

func (b *Batcher[T]) gather(batch []T) []T {
	timer := time.NewTimer(b.every)
	defer timer.Stop()
	for len(batch) < b.max {
		select {
		case row := <-b.rows:
			batch = append(batch, row)
		case <-timer.C:
			return batch
		case <-b.stop:
			return batch
		}
	}
	return batch
}

// insert writes the batch. When it fails as a whole three times, each row is
// tried alone, so that one bad row does not take the others with it.
func (b *Batcher[T]) insert(batch []T) {
	err := b.try(batch, batchTries)
	if err == nil {
		b.written.Add(int64(len(batch)))
		return
	}
	if len(batch) == 1 {
		b.dropped.Add(1)
		slog.Error("row not inserted", "component", "db", "err", err)
		return
	}
	lost := 0
	for i := range batch {
		if err := b.try(batch[i:i+1], 1); err != nil {
			lost++
			continue
		}
		b.written.Add(1)
	}
	if lost > 0 {
		b.dropped.Add(int64(lost))
		slog.Error("rows not inserted", "component", "db", "lost", lost, "of", len(batch), "err", err)
	}
}

func (b *Batcher[T]) try(rows []T, tries int) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range tries {
		if err = b.write(ctx, rows); err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return err
}

// write inserts the rows; one that is there already is left as it is, so
// that a batch can be tried again.
func (b *Batcher[T]) write(ctx context.Context, rows []T) error {
	return b.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
		return err
	})
}
