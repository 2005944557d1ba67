// Package retention deletes stored frames when their time is over: the object
// first, then the mark on its row, so that what is marked is really gone; and
// stored frames that no row knows, as a crash may leave them.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

// Objects is what the sweeper needs of the object store, which belongs to
// one database. Deleting an object that is gone already must not be an error.
type Objects interface {
	Delete(ctx context.Context, key string) error
	Folders(ctx context.Context, prefix string) ([]string, error)
	List(ctx context.Context, prefix string, fn func(key string) error) error
	Tidy(prefix string) error
}

// Defaults of Config.
const (
	DefaultEvery = 10 * time.Minute
	DefaultPage  = 200
	// DefaultKeep is how long frames are kept: two weeks. The capture side
	// adds it to the moment of capture.
	DefaultKeep = 14 * 24 * time.Hour
)

// Config sets a Sweeper; zero values mean the defaults.
type Config struct {
	// Every is the pause between sweeps.
	Every time.Duration
	// Page is how many frames are deleted between two marks.
	Page int
	// External has frames in external storages deleted as well. Without it
	// their rows alone are marked: what is in a bucket of somebody else's is
	// theirs to delete.
	External bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes progress and what goes wrong; nil means slog's default.
	Log *slog.Logger
}

// Sweeper deletes expired frames every now and then. A row with hold set is
// left alone, however old.
type Sweeper struct {
	db      *db.DB
	objects Objects
	cfg     Config
	log     *slog.Logger

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

// New makes a Sweeper.
func New(d *db.DB, objects Objects, cfg Config) *Sweeper {
	if cfg.Every <= 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Page <= 0 {
		cfg.Page = DefaultPage
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Sweeper{db: d, objects: objects, cfg: cfg, log: cfg.Log.With("component", "retention")}
}

// Start implements service.Service. The first sweep begins at once.
func (s *Sweeper) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { s.run(ctx) })
	wg.Go(func() { s.runTaskLoop(ctx) })
	go func() { wg.Wait(); close(s.done) }()
	return nil
}

// Close ends the sweep at work and waits for it.
func (s *Sweeper) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		s.cancel()
		<-s.done
	}
	return nil
}

func (s *Sweeper) run(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	for {
		_, err := s.Sweep(ctx)
		_, strayErr := s.SweepStrays(ctx)
		if err := errors.Join(err, strayErr); err != nil && ctx.Err() == nil {
			s.log.Error("sweep incomplete; the next one tries again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Result counts what a sweep did.
type Result struct {
	// Deleted frames are gone; Failed ones could not be deleted and wait
	// for the next sweep.
	Deleted, Failed int
}

// Sweep deletes every frame that has expired by now. A frame whose object
// cannot be deleted does not hold up the others; its error is among those
// that are joined and returned.
func (s *Sweeper) Sweep(ctx context.Context) (Result, error) {
	var res Result
	var errs []error
	now := s.cfg.Now()
	cursor := frame{}
	for ctx.Err() == nil {
		page, err := s.expired(ctx, now, cursor)
		if err != nil {
			return res, errors.Join(append(errs, err)...)
		}
		if len(page) == 0 {
			break
		}
		cursor = page[len(page)-1]
		gone, failed, first := s.deleteObjects(ctx, page)
		if err := s.mark(ctx, gone, now); err != nil {
			return res, errors.Join(append(errs, first, err)...)
		}
		res.Deleted += len(gone)
		res.Failed += failed
		if first != nil && len(errs) < maxErrors {
			errs = append(errs, first)
		}
		s.log.Info("expired frames deleted", "page", len(gone), "failed", failed, "so_far", res.Deleted)
	}
	return res, errors.Join(append(errs, ctx.Err())...)
}

// maxErrors bounds how many errors one sweep reports.
const maxErrors = 5

// frame is what a sweep needs of a row of frames.
type frame struct {
	bun.BaseModel `bun:"table:frames,alias:f"`
	ID            string
	ObjectKey     string
	Storage       string
	ExpiresAt     db.Time
}

// expired reads the next page behind the cursor, so that frames that failed
// are not met again in the same sweep.
func (s *Sweeper) expired(ctx context.Context, now time.Time, behind frame) (page []frame, err error) {
	err = s.db.NewSelect().Model(&page).
		Where("deleted_at = 0").Where("hold = 0").
		Where("expires_at > 0").Where("expires_at <= ?", db.At(now)).
		Where("(expires_at, id) > (?, ?)", behind.ExpiresAt, behind.ID).
		Order("expires_at", "id").Limit(int64(s.cfg.Page)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read expired frames: %w", err)
	}
	return page, nil
}

// deleteObjects returns the ids whose object is gone, how many failed, and
// the first error.
func (s *Sweeper) deleteObjects(ctx context.Context, page []frame) (gone []string, failed int, first error) {
	for _, f := range page {
		held, err := s.held(ctx, f.ID)
		if held {
			continue
		}
		if err == nil && (f.Storage == "" || s.cfg.External) {
			err = s.objects.Delete(ctx, f.ObjectKey)
		}
		if err != nil {
			if failed++; first == nil {
				first = fmt.Errorf("delete frame %s: %w", f.ID, err)
			}
			continue
		}
		gone = append(gone, f.ID)
	}
	return gone, failed, first
}

// held looks again right before deleting: a hold may have been placed since
// the page was read, and a deleted object does not come back.
func (s *Sweeper) held(ctx context.Context, id string) (bool, error) {
	n, err := s.db.NewSelect().Model((*frame)(nil)).Where("id = ?", id).Where("hold = 1").Count(ctx)
	return n > 0, err
}

func (s *Sweeper) mark(ctx context.Context, ids []string, now time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*db.FrameRow)(nil)).Set("deleted_at = ?", db.At(now)).
			Where("id IN (?)", bun.List(ids)).Exec(ctx)
		if err != nil {
			return fmt.Errorf("mark frames as deleted: %w", err)
		}
		return nil
	})
}
