package recording

import (
	"errors"
	"fmt"
	"time"
)

// Errors that orders about recordings are refused with. They may be wrapped.
var (
	// ErrUnknown is an order about a recording or a file that is not there, or
	// not any more.
	ErrUnknown = errors.New("there is no such recording")
	// ErrHeld is a deletion of what is held.
	ErrHeld = errors.New("the recording is held")
	// ErrNotHeld is a release of what is not held.
	ErrNotHeld = errors.New("the recording is not held")
	// ErrSamePerson is a release that the one who asked for it confirms.
	ErrSamePerson = errors.New("a hold is released by two persons: somebody else has to confirm")
	// ErrNotFailed is a retry of what has not failed.
	ErrNotFailed = errors.New("the recording has not failed")
	// ErrUnavailable is an order that no recorder can take just now.
	ErrUnavailable = errors.New("the recorder is not available")
)

// FieldError is an order whose field is wrong: the caller's mistake.
type FieldError struct {
	// Field is as the API calls it, "files" or "settings.recording.mode".
	Field string
	// Want is what it should be, "must be ...".
	Want string
}

// Error returns the field and what it should be.
func (e *FieldError) Error() string { return fmt.Sprintf("%s %s", e.Field, e.Want) }

// Order is an order to record a call.
type Order struct {
	CID string
	// Type is TypeComposite, TypeIndividual or TypeRaw.
	Type string
	// Storage names an external storage, "" is that of the call type.
	Storage string
	// Destination is an HTTP endpoint that takes the recording besides,
	// DestinationMode how; "" is the plan's. See Plan.
	Destination, DestinationMode string
	// By is the user who orders, "system" a backend that names nobody.
	By string
	// Custom comes back with the events, as it is.
	Custom map[string]any
	// Server is set where the backend orders it.
	Server bool
}

// SpliceOrder is an order to join files of one call, in their order, into a
// new one. Files of different parameters are encoded anew.
type SpliceOrder struct {
	CID string
	// Files are 2 to 100 ids of files, each of a movie or sound.
	Files []string
	// Filename is the new file's without its ending; "" makes one.
	Filename string
	Storage  string
	By       string
	Custom   map[string]any
}

// TrimOrder is an order to make a clip [From, To) of a file, counted from the
// file's beginning. To is above From.
type TrimOrder struct {
	File     string
	From, To time.Duration
	// Filename is the new file's without its ending; "" makes one.
	Filename string
	Storage  string
	By       string
	Custom   map[string]any
}
