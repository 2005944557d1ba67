package retention

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/uptrace/bun"
)

const (
	// Prefix is where frames are stored: below it stands the day of capture
	// in UTC, as in "frames/2026-01-05/".
	Prefix = "frames/"
	// strayGrace is how long after the end of its day's retention an object
	// without a row is left alone.
	strayGrace = 24 * time.Hour
)

// SweepStrays deletes the objects of days whose retention is long over and of
// which no live row knows: a process that was killed between storing a frame
// and writing its row leaves one, and half a file perhaps. Held frames have
// rows, so they stay. It looks at such days only, which are empty normally.
func (s *Sweeper) SweepStrays(ctx context.Context) (deleted int, err error) {
	days, err := s.objects.Folders(ctx, Prefix)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, folder := range days {
		day, err := time.Parse(time.DateOnly, path.Base(folder))
		if err != nil || s.cfg.Now().Before(day.Add(24*time.Hour+DefaultKeep+strayGrace)) {
			continue
		}
		n, err := s.sweepDay(ctx, folder)
		deleted += n
		errs = append(errs, err)
	}
	if deleted > 0 {
		s.log.Warn("stored frames without a row deleted", "objects", deleted)
	}
	return deleted, errors.Join(errs...)
}

func (s *Sweeper) sweepDay(ctx context.Context, folder string) (deleted int, err error) {
	var page []string
	flush := func() error {
		n, err := s.deleteStrays(ctx, page)
		deleted += n
		page = page[:0]
		return err
	}
	err = s.objects.List(ctx, folder, func(key string) error {
		if page = append(page, key); len(page) < s.cfg.Page {
			return nil
		}
		return flush()
	})
	if err = errors.Join(err, flush()); err != nil {
		return deleted, fmt.Errorf("sweep strays of %s: %w", folder, err)
	}
	return deleted, s.objects.Tidy(folder)
}

// deleteStrays deletes those of the objects that no live row knows.
func (s *Sweeper) deleteStrays(ctx context.Context, keys []string) (deleted int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	var known []string
	err = s.db.NewSelect().Model((*frame)(nil)).Column("object_key").
		Where("deleted_at = 0").Where("object_key IN (?)", bun.List(keys)).Scan(ctx, &known)
	if err != nil {
		return 0, fmt.Errorf("look for the rows of objects: %w", err)
	}
	live := make(map[string]bool, len(known))
	for _, key := range known {
		live[key] = true
	}
	for _, key := range keys {
		if live[key] {
			continue
		}
		if err := s.objects.Delete(ctx, key); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}
