package mjr

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// flushEvery is shorter than live: packets come as fast as they are read.
	flushEvery = 20 * time.Millisecond
	// batchBytes are given at a time. The folder's writer never waits for the
	// disk and holds 4 MiB of a stream at most, so two batches may be under way.
	batchBytes = 1 << 20
	// patience is how long the disk may take for a batch.
	patience = 30 * time.Second
)

// errSlow is for a disk that takes no more.
var errSlow = errors.New("the disk does not take it")

// pace waits after each batch until the one before is written.
func (im *importer) pace(ctx context.Context, n int) error {
	im.sent++
	if im.batch += n + 8; im.batch < batchBytes {
		return nil
	}
	im.batch = 0
	mark := im.mark
	im.mark = im.sent
	if im.w.Stats().Packets >= mark {
		return ctx.Err()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return fmt.Errorf("write packets: %w", errSlow)
		case <-tick.C:
			if st := im.w.Stats(); st.Packets >= mark || st.Lost > 0 {
				return nil // what was lost is found at the end
			}
		}
	}
}
