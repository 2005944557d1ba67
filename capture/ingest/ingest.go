// Package ingest holds what the ways into and out of a call have in common:
// who may come in, and how a refusal is told.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stillwatch/internal/event"
)

// Identity is who a token speaks for.
type Identity struct {
	// Server is set for a token of the backend, which may do everything.
	Server bool
	UserID string
	Role   string
	// CallCIDs are the calls the token is good for; empty means all.
	CallCIDs []string
}

// May tells whether the token is good for a call.
func (i Identity) May(cid string) bool {
	return i.Server || len(i.CallCIDs) == 0 || slices.Contains(i.CallCIDs, cid)
}

// Authenticator reads a bearer token. An error's text is shown to the client.
type Authenticator interface {
	Authenticate(token string) (Identity, error)
}

// AuthenticatorFunc is a function that is an Authenticator.
type AuthenticatorFunc func(token string) (Identity, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(token string) (Identity, error) { return f(token) }

// Request is what a user wants to do in a call.
type Request struct {
	CID, CallType, CallID string
	UserID, Role          string
	// Server is set when the backend asks.
	Server bool
	// Watch is the user to be watched; empty when the user publishes.
	Watch string
	// Record asks to record only one half of what the user publishes.
	Record event.RecordType
}

// Gatekeeper says who may come in. It answers with a *Refusal to one who may
// not; any other error counts as ours.
type Gatekeeper interface {
	Admit(ctx context.Context, req Request) error
}

// GatekeeperFunc is a function that is a Gatekeeper.
type GatekeeperFunc func(ctx context.Context, req Request) error

// Admit calls f.
func (f GatekeeperFunc) Admit(ctx context.Context, req Request) error { return f(ctx, req) }

// Refusal is an answer that the client can act on.
type Refusal struct {
	// Status is the HTTP status, 400 to 599.
	Status int
	// Reason says what was wrong and what would be right.
	Reason string
	// RetryAfter asks the client to come again after this time, if not 0.
	RetryAfter time.Duration
	// Cause is the error behind it. It is logged, not shown.
	Cause error
}

// Refuse makes a refusal.
func Refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Reason: fmt.Sprintf(format, args...)}
}

// Error is the reason.
func (r *Refusal) Error() string { return r.Reason }

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// asRefusal makes a refusal of any error; one that is ours shows no detail.
func asRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Status: 500, Reason: "the server failed to handle the request", Cause: err}
}
