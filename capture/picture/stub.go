//go:build !cgo || !linux

package picture

import (
	"context"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// Pool answers still.ErrUnavailable: this program was built without cgo, or
// not for Linux.
type Pool struct{}

// NewPool makes a pool that cannot be started.
func NewPool(Config) *Pool { return &Pool{} }

// Start answers still.ErrUnavailable.
func (*Pool) Start(context.Context) error { return still.ErrUnavailable }

// Close does nothing.
func (*Pool) Close() error { return nil }

// Picture answers still.ErrUnavailable.
func (*Pool) Picture(context.Context, still.Request) (still.Picture, error) {
	return still.Picture{}, still.ErrUnavailable
}

// Stats is zero.
func (*Pool) Stats() Stats { return Stats{} }

// Status is zero, with the reason.
func (*Pool) Status() Status {
	return Status{LandlockError: still.ErrUnavailable, SeccompError: still.ErrUnavailable}
}

// Floor answers still.ErrUnavailable.
func Floor(context.Context, event.Codec, [][]byte, int, []int, int) (time.Duration, error) {
	return 0, still.ErrUnavailable
}
