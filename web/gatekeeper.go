package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/recording/permission"
)

// Refusal is why somebody may not enter a call.
type Refusal struct {
	// Status is the HTTP status to answer with: 400, 403 or 404.
	Status int
	// Reason is for the person who is refused.
	Reason string
}

// Error returns the reason.
func (r *Refusal) Error() string { return r.Reason }

// Gatekeeper decides over entry to calls, for the media endpoints.
type Gatekeeper struct {
	DB *db.DB
	// Now may be nil: then time.Now.
	Now func() time.Time
	// Recording is what holds for callers without recording permissions.
	Recording permission.System
}

// Admit lets a user into the call type:id and makes the call from its type if
// it does not exist. The error is a *Refusal when the user may not enter:
// names that cannot be (400), a ban or block, or a call that has ended (403), an
// unknown call type or a call that was deleted (404).
// That the token is good for the call is not looked at here.
func (g Gatekeeper) Admit(ctx context.Context, callType, id, userID, role string) error {
	if err := checkCall(callType, id); err != nil {
		return asRefusal(err)
	}
	if !validUser(userID) {
		return &Refusal{http.StatusBadRequest, "the user id " + wantUser}
	}
	cid := callType + ":" + id
	if err := refuseBanned(ctx, g.DB, g.now(), userID, cid); err != nil {
		return err
	}
	if known, err := g.open(ctx, cid); err != nil || known {
		return err
	}
	_, err := createCall(ctx, g.DB, g.now, newCall{callType: callType, id: id, createdBy: userRequest{ID: userID}, recording: g.Recording})
	return asRefusal(err)
}

// open tells whether the call exists, and refuses one that is over.
func (g Gatekeeper) open(ctx context.Context, cid string) (known bool, err error) {
	var call db.CallRow
	err = g.DB.NewSelect().Model(&call).Column("ended_at", "deleted_at").Where("cid = ?", cid).Scan(ctx)
	switch {
	case db.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for call %s: %w", cid, err)
	case !call.DeletedAt.IsZero():
		return true, &Refusal{http.StatusNotFound, "the call was deleted"}
	case !call.EndedAt.IsZero():
		return true, &Refusal{http.StatusForbidden, "the call has ended"}
	}
	return true, nil
}

// Watch lets a user see a participant of the call type:id. Moderators and
// admins may see every call that exists; others are held to what Admit says
// of bans. It makes nothing.
func (g Gatekeeper) Watch(ctx context.Context, callType, id, userID, role string) error {
	if err := checkCall(callType, id); err != nil {
		return asRefusal(err)
	}
	cid := callType + ":" + id
	known, err := g.open(ctx, cid)
	if err != nil {
		return err
	}
	if !known {
		return asRefusal(notFound("call", cid))
	}
	if (auth.Identity{Role: role}).Moderates() {
		return nil
	}
	return refuseBanned(ctx, g.DB, g.now(), userID, cid)
}

// Narrow lets a user who publishes into the call type:id say what of it is
// recorded. It is a *Refusal (403) unless they may stop recordings there, and
// where the call's recording is not theirs to stop: nobody is to take their
// picture out of a recording who could not end it.
func (g Gatekeeper) Narrow(ctx context.Context, callType, id, userID, role string) error {
	cid := callType + ":" + id
	var call db.CallRow
	if err := g.DB.NewSelect().Model(&call).Where("cid = ?", cid).Scan(ctx); err != nil {
		return fmt.Errorf("read call %s: %w", cid, err)
	}
	have, err := capabilitiesOf(ctx, g.DB, g.DB, auth.Identity{UserID: userID, Role: role}, call)
	switch {
	case err != nil:
		return err
	case !slices.Contains(have, CapStopRecording):
		return &Refusal{http.StatusForbidden, "record_type needs a server token, or the permission " + CapStopRecording}
	case call.RecordingDecision.V.Mandatory:
		return &Refusal{http.StatusForbidden, "the call is recorded whatever its participants say: record_type needs a server token"}
	}
	return nil
}

func (g Gatekeeper) now() time.Time {
	if g.Now == nil {
		return time.Now()
	}
	return g.Now()
}

// asRefusal lets a refusal of the API count as one of the gate; other errors
// are ours, not the user's.
func asRefusal(err error) error {
	var api *apiError
	if errors.As(err, &api) {
		return &Refusal{Status: api.StatusCode, Reason: api.Message}
	}
	return err
}

// refuseBanned returns a *Refusal for a user who is banned or blocked.
func refuseBanned(ctx context.Context, d *db.DB, now time.Time, userID, cid string) error {
	ban, banned, err := d.Banned(ctx, userID, cid, now)
	if err != nil || !banned {
		return err
	}
	return &Refusal{http.StatusForbidden, banReason(ban)}
}

// banReason says "banned until <time>: <reason>" or "blocked in this call".
func banReason(ban db.BanRow) string {
	if ban.ID == "" { // an entry of the call's blocked users
		return ban.Reason
	}
	text := "banned"
	if !ban.ExpiresAt.IsZero() {
		text += " until " + ban.ExpiresAt.Format(time.RFC3339)
	}
	if ban.Reason != "" {
		text += ": " + ban.Reason
	}
	return text
}
