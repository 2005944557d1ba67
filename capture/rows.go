package capture

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

const (
	gapsEvery   = 500 * time.Millisecond
	gapsTimeout = 10 * time.Second
	maxGapRows  = 8192
)

// DBRows writes frames and gaps into the database, in batches.
type DBRows struct {
	db     *db.DB
	frames *db.Batcher[db.FrameRow]
	wake   chan struct{}
	stop   context.CancelFunc
	wg     sync.WaitGroup
	lost   atomic.Int64

	mu     sync.Mutex
	gaps   map[string]db.GapRow
	closed bool
}

// NewDBRows makes a DBRows.
func NewDBRows(d *db.DB) *DBRows {
	return &DBRows{
		db: d, frames: db.NewBatcher[db.FrameRow](d),
		wake: make(chan struct{}, 1), gaps: map[string]db.GapRow{},
	}
}

// Start implements service.Service.
func (r *DBRows) Start(ctx context.Context) error {
	if err := r.frames.Start(ctx); err != nil {
		return fmt.Errorf("start frame rows: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.wg.Go(func() { r.run(run) })
	return nil
}

// Close writes what is queued and stops.
func (r *DBRows) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	if r.stop != nil {
		r.stop()
	}
	r.wg.Wait()
	return r.frames.Close()
}

// PutFrame queues a frame's row.
func (r *DBRows) PutFrame(row db.FrameRow) bool { return r.frames.Put(row) }

// PutGap queues a gap's row; one of the same id that is still queued is
// replaced, one in the database is updated.
func (r *DBRows) PutGap(row db.GapRow) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, queued := r.gaps[row.ID]; r.closed || !queued && len(r.gaps) >= maxGapRows {
		r.lost.Add(1)
		return false
	}
	r.gaps[row.ID] = row
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return true
}

// Lost is how many rows were not written since the start.
func (r *DBRows) Lost() int64 { return r.lost.Load() + r.frames.Dropped() }

func (r *DBRows) run(ctx context.Context) {
	for {
		select {
		case <-r.wake:
			select { // gather a while
			case <-time.After(gapsEvery):
			case <-ctx.Done():
			}
			r.flush(ctx)
		case <-ctx.Done():
			r.flush(ctx)
			return
		}
	}
}

// flush writes the gaps that are queued, twice if need be.
func (r *DBRows) flush(ctx context.Context) {
	r.mu.Lock()
	rows := make([]db.GapRow, 0, len(r.gaps))
	for _, g := range r.gaps {
		rows = append(rows, g)
	}
	clear(r.gaps)
	r.mu.Unlock()
	slices.SortFunc(rows, func(a, b db.GapRow) int { return a.FromAt.Compare(b.FromAt.Time) })
	for batch := range slices.Chunk(rows, db.DefaultBatch) {
		err := r.write(ctx, batch)
		if err != nil {
			err = r.write(ctx, batch)
		}
		if err != nil {
			r.lost.Add(int64(len(batch)))
			slog.Error("gaps are not written", "component", "sampler", "gaps", len(batch), "error", err)
		}
	}
}

func (r *DBRows) write(ctx context.Context, rows []db.GapRow) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gapsTimeout)
	defer cancel()
	return r.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&rows).On("CONFLICT (id) DO UPDATE").
			Set("detail = EXCLUDED.detail").Set("from_at = EXCLUDED.from_at").
			Set("to_at = EXCLUDED.to_at").Set("due = EXCLUDED.due").
			Returning("NULL").Exec(ctx)
		return err
	})
}
