// Package archive puts what was made of a recording where it stays: names,
// object stores, an HTTP endpoint, encryption to a public key, the pictures
// and the media information beside it.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"stillwatch/internal/blob"
	"stillwatch/internal/netguard"
	"stillwatch/internal/storage"
)

// Classes of failure.
const (
	// Ours is a failure on this machine: a file that is gone, a full disk.
	Ours = "ours"
	// Destinations is a failure of where it was to go, that will be the same
	// when it is tried again: a wrong key, no permission, no such bucket.
	Destinations = "destination"
)

// ErrStoreDown is a destination that cannot take anything now, and may later:
// nothing was deleted, and the same call continues.
var ErrStoreDown = errors.New("the store is down")

// Error is a failure that trying again does not heal.
type Error struct {
	// Class is Ours or Destinations.
	Class string
	// Reason may be told to whoever set the destination up; it holds no
	// secrets. Err is for the log.
	Reason string
	Err    error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s): %v", e.Reason, e.Class, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func ours(err error) error {
	reason := "a file of the recording cannot be read"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		reason = "a file of the recording is gone"
	case errors.Is(err, syscall.ENOSPC):
		reason = "this machine's disk is full"
	}
	return &Error{Ours, reason, err}
}

// local marks an error of a file on this machine, whatever it passes through.
type local struct{ err error }

func (l *local) Error() string { return l.err.Error() }
func (l *local) Unwrap() error { return l.err }

// classify makes ErrStoreDown, an *Error or the context's error of what a
// destination said.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var file *local
	if errors.As(err, &file) {
		return ours(file.err)
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	var refused *netguard.RefusedError
	switch {
	case errors.Is(err, storage.ErrUnknown):
		return &Error{Destinations, storage.ErrUnknown.Error(), err}
	case errors.As(err, &refused):
		return &Error{Destinations, refused.Error(), err}
	case blob.Permanent(err):
		return &Error{Destinations, blob.Reason(err), err}
	}
	return fmt.Errorf("%w: %s: %w", ErrStoreDown, blob.Reason(err), err)
}
