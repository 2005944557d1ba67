package web

import (
	"context"
	"errors"
	"net/http"

	"stillwatch/recording"
)

// Orders about full recordings, as Recorder takes them.
type (
	RecordingOrder = recording.Order
	SpliceOrder    = recording.SpliceOrder
	TrimOrder      = recording.TrimOrder
)

// Recorder starts and stops full recordings and works on finished ones. It
// refuses with the errors of package recording: *recording.FieldError, ErrHeld
// and the others; an error of any other kind is ours. Who may give an order is
// checked before. Holds, releases and deletions it writes into the audit
// itself, with what they do; the other orders are written there after. by is a
// user, or "system" for a backend that names nobody.
type Recorder interface {
	// Start begins a run and returns its egress id, which is the run's id.
	// There is one run of a type in a session: a second start returns the id
	// of the one that is on. Before anybody is in the call it arms the
	// recorder for the next session, and returns the id that run will have.
	Start(ctx context.Context, r RecordingOrder) (egressID string, err error)
	// Stop ends the run of a type, or disarms it. Stopping what is not on is
	// no error.
	Stop(ctx context.Context, cid, recordingType, by string) error
	// Splice and Trim order a new file and return the id of the recording
	// that it will belong to, in the state processing.
	Splice(ctx context.Context, r SpliceOrder) (recordingID string, err error)
	Trim(ctx context.Context, r TrimOrder) (recordingID string, err error)
	// Hold keeps all files of a recording from deletion, by whatever path.
	// Several holds on one recording are one more reason each.
	Hold(ctx context.Context, recordingID, reason, by string) error
	// Release takes the holds off: the first who asks is noted, another one
	// confirms, and released is true then. ErrNotHeld, ErrSamePerson.
	Release(ctx context.Context, recordingID, by string) (released bool, err error)
	// Retry goes on with a recording that has failed, from its packets.
	// ErrNotFailed.
	Retry(ctx context.Context, recordingID string) error
	// Delete removes a file and its objects now. ErrHeld while it is held,
	// ErrUnknown when it is gone already.
	Delete(ctx context.Context, fileID, by string) error
}

// recorder is the one that is wired in; a node without answers 503.
func (s *Server) recorder() (Recorder, error) {
	if s.cfg.Recorder == nil {
		return nil, fail(http.StatusServiceUnavailable, CodeUnavailable, "this server has no recorder")
	}
	return s.cfg.Recorder, nil
}

// refusedOrder puts a recorder's refusal into the shape of an answer.
func refusedOrder(err error) error {
	var field *recording.FieldError
	switch {
	case errors.As(err, &field):
		return badField(field.Field, field.Want)
	case errors.Is(err, recording.ErrUnknown):
		return fail(http.StatusNotFound, CodeNotFound, "%s", recording.ErrUnknown)
	case errors.Is(err, recording.ErrHeld):
		return fail(http.StatusConflict, CodeConflict, "%s", recording.ErrHeld)
	case errors.Is(err, recording.ErrNotHeld):
		return fail(http.StatusConflict, CodeConflict, "%s", recording.ErrNotHeld)
	case errors.Is(err, recording.ErrNotFailed):
		return fail(http.StatusConflict, CodeConflict, "%s", recording.ErrNotFailed)
	case errors.Is(err, recording.ErrSamePerson):
		return fail(http.StatusConflict, CodeConflict, "%s", recording.ErrSamePerson)
	case errors.Is(err, recording.ErrUnavailable):
		return fail(http.StatusServiceUnavailable, CodeUnavailable, "%s", recording.ErrUnavailable)
	}
	return err
}
