package actions

import (
	"context"
	"time"

	"stillwatch/internal/event"
)

// maxMessage bounds a warning, in bytes.
const maxMessage = 1000

// WarnRequest asks that a participant of a call be shown a message.
type WarnRequest struct{ UserID, CID, ByUserID, Message, Reason string }

// Warn requests a warning and returns the action's id. The backend is told by
// call.moderation_warning and passes it to its client: showing the message is
// the client's part.
func (d *Desk) Warn(ctx context.Context, r WarnRequest) (actionID string, err error) {
	switch {
	case r.CID == "":
		return "", &RequestError{"cid", "the call"}
	case r.Message == "" || len(r.Message) > maxMessage:
		return "", &RequestError{"message", "1 to 1000 bytes"}
	}
	return d.request(ctx, event.ActionRequested{
		Kind: event.ActionWarn, CID: r.CID, UserID: r.UserID, ByUserID: r.ByUserID, Message: r.Message, Reason: r.Reason,
	}, nil)
}

// BlurRequest asks that a participant's picture be blurred.
type BlurRequest struct {
	UserID, CID, ByUserID, Reason string
	// For is how long; 0 means without an end.
	For time.Duration
}

// Blur requests a blur and returns the action's id. The backend is told by
// call.moderation_blur and passes it to its clients: blurring is the clients'
// part, and a client can leave it undone. What must not be seen by anybody is
// muted.
func (d *Desk) Blur(ctx context.Context, r BlurRequest) (actionID string, err error) {
	switch {
	case r.CID == "":
		return "", &RequestError{"cid", "the call"}
	case r.For < 0:
		return "", &RequestError{"duration", "0 or more"}
	}
	req := event.ActionRequested{Kind: event.ActionBlur, CID: r.CID, UserID: r.UserID, ByUserID: r.ByUserID, Reason: r.Reason}
	if r.For > 0 {
		req.ExpiresAt = d.cfg.Now().UTC().Add(r.For)
	}
	return d.request(ctx, req, nil)
}

// warn tells the backends to warn; that it is enqueued is all that can be
// known of it.
func (w write) warn(ctx context.Context) error {
	err := w.public(ctx, event.CallModerationWarning, event.ModerationWarning{
		Type: event.CallModerationWarning, CreatedAt: w.now, CallCID: w.req.CID, UserID: w.req.UserID,
		Message: w.req.Message, Custom: w.custom(),
	})
	if err != nil {
		return err
	}
	return w.audit(ctx, "warn", map[string]any{"reason": w.req.Reason, "message": w.req.Message})
}

// blur tells the backends to blur.
func (w write) blur(ctx context.Context) error {
	custom := w.custom()
	if left := w.req.ExpiresAt.Sub(w.now); left > 0 {
		custom["duration"], custom["expires_at"] = int(left.Round(time.Second).Seconds()), w.req.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	err := w.public(ctx, event.CallModerationBlur, event.ModerationBlur{
		Type: event.CallModerationBlur, CreatedAt: w.now, CallCID: w.req.CID, UserID: w.req.UserID, Custom: custom,
	})
	if err != nil {
		return err
	}
	return w.audit(ctx, "blur", map[string]any{"reason": w.req.Reason, "until": w.req.ExpiresAt})
}
