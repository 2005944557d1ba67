package ingest

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"stillwatch/capture/call"
)

// Content types of the WHIP family.
const (
	TypeSDP     = "application/sdp"
	TypeSDPFrag = "application/trickle-ice-sdpfrag"
)

// retryFull is when a client that found the node full should come again.
const retryFull = 5 * time.Second

// MaxBody is the size of the largest request body taken, in bytes.
const MaxBody = 64 << 10

// nameRule is what call types, call ids and user ids look like.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9_@.!~-]{1,255}$`)

// CheckName refuses what cannot be a call type, call id or user id.
func CheckName(what, v string) error {
	if !nameRule.MatchString(v) {
		return Refuse(http.StatusBadRequest, "%s in the path must match %s", what, nameRule)
	}
	return nil
}

// Bearer authenticates the request's bearer token (RFC 6750, section 2.1).
func Bearer(r *http.Request, a Authenticator) (Identity, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return Identity{}, Refuse(http.StatusUnauthorized, "no token: send it as Authorization: Bearer <token>")
	}
	id, err := a.Authenticate(token)
	if err != nil {
		return Identity{}, Refuse(http.StatusUnauthorized, "the token is not valid: %v", err)
	}
	if id.UserID == "" && !id.Server {
		return Identity{}, Refuse(http.StatusUnauthorized, "the token names no user_id")
	}
	return id, nil
}

// ReadBody reads a body of the given type.
func ReadBody(w http.ResponseWriter, r *http.Request, contentType string) ([]byte, error) {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || got != contentType {
		return nil, Refuse(http.StatusUnsupportedMediaType, "the Content-Type is %q, it must be %s",
			r.Header.Get("Content-Type"), contentType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, Refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", MaxBody)
	case err != nil:
		return nil, Refuse(http.StatusBadRequest, "the body could not be read: %v", err)
	case len(body) == 0:
		return nil, Refuse(http.StatusBadRequest, "the body is empty, it must be %s", contentType)
	}
	return body, nil
}

// CORS lets pages of other origins use the endpoint and read what the protocol
// tells in headers. It answers preflight requests itself and then returns true.
func CORS(w http.ResponseWriter, r *http.Request, methods string) (done bool) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Patch, Retry-After")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Allow", methods)
	h.Set("Accept-Post", TypeSDP)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// SeatRefusal tells a client why there was no seat.
func SeatRefusal(err error) error {
	switch {
	case errors.Is(err, call.ErrFull), errors.Is(err, call.ErrClosed):
		return &Refusal{
			Status: http.StatusServiceUnavailable, Reason: "this node takes no more connections now",
			RetryAfter: retryFull, Cause: err,
		}
	case errors.Is(err, call.ErrTooMany):
		return Refuse(http.StatusTooManyRequests, "the user has too many connections: close one first")
	case errors.Is(err, call.ErrRemoved):
		return Refuse(http.StatusForbidden, "the user was disconnected while joining")
	}
	return err
}

// WriteError answers with a problem document (RFC 9457).
func WriteError(w http.ResponseWriter, log *slog.Logger, err error) {
	r := asRefusal(err)
	if r.Status >= 500 {
		log.Warn("request refused", "status", r.Status, "reason", r.Reason, "err", r.Cause)
	}
	h := w.Header()
	if r.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="stillwatch"`)
	}
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(r.RetryAfter.Seconds()))))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(r.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"title": http.StatusText(r.Status), "status": r.Status, "detail": r.Reason,
	})
}
