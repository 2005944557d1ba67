// Package auth decides who is calling: by API key and by HS256 token.
package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Skew is how far ahead of ours an issuer's clock may run: "iat" and "nbf" up
// to this much in the future are taken.
const Skew = 60 * time.Second

// MaxTokenBytes bounds a token. A token with a thousand calls in it is shorter.
const MaxTokenBytes = 64 << 10

// Why a key or a token is refused. Verify wraps them with what it saw.
var (
	ErrKey       = errors.New("API key is missing or wrong")
	ErrMissing   = errors.New("token is missing from Authorization")
	ErrMalformed = errors.New("token is malformed")
	ErrAlgorithm = errors.New("token algorithm is not HS256")
	ErrSignature = errors.New("token signature is wrong")
	ErrExpired   = errors.New("token has expired")
	ErrNotYet    = errors.New("token is not valid yet")
	ErrNobody    = errors.New(`token names neither "server" nor a "user_id"`)
)

// Roles that may moderate. Every other role is the operator's own word.
const (
	RoleUser      = "user"
	RoleModerator = "moderator"
	RoleAdmin     = "admin"
)

// Identity is who a valid token speaks for.
type Identity struct {
	// Server is set for a token of the operator's backend: it may do all.
	Server bool
	// UserID is the user; for a server token it is empty or names on whose
	// behalf the backend speaks.
	UserID string
	// Role is the token's role; empty when it names none.
	Role string
	// CallCIDs, when not empty, are the only calls the token is good for.
	CallCIDs []string
	// ExpiresAt is zero for a token without end.
	ExpiresAt time.Time
}

// MayJoin tells whether the token is good for the call. It knows nothing of
// bans: those are the database's.
func (i Identity) MayJoin(cid string) bool {
	return i.Server || len(i.CallCIDs) == 0 || slices.Contains(i.CallCIDs, cid)
}

// Moderates tells whether the token may moderate: see any call, ban and flag.
func (i Identity) Moderates() bool {
	return i.Server || i.Role == RoleModerator || i.Role == RoleAdmin
}

// Administers tells whether the token may change settings of the whole app.
func (i Identity) Administers() bool { return i.Server || i.Role == RoleAdmin }

// Auth holds one application's key and secret. It is safe for concurrent use.
type Auth struct {
	key     string
	secret  []byte
	session []byte
	now     func() time.Time
}

// Option changes a detail of an Auth.
type Option func(*Auth)

// WithNow sets the clock, for tests.
func WithNow(now func() time.Time) Option { return func(a *Auth) { a.now = now } }

// New makes an Auth for the application's API key and secret. It panics on an
// empty secret, which would make every token forgeable.
func New(apiKey, apiSecret string, opts ...Option) *Auth {
	if apiSecret == "" {
		panic("auth: empty API secret")
	}
	a := &Auth{key: apiKey, secret: []byte(apiSecret), now: time.Now}
	// Console sessions have a key of their own, so that a session cookie is
	// no API token and an API token is no session cookie.
	a.session = derive(a.secret, "console session v1")
	for _, opt := range opts {
		opt(a)
	}
	return a
}

// Key returns the API key, which is not a secret.
func (a *Auth) Key() string { return a.key }

// CheckKey compares the request's API key, from the query field api_key or
// the header X-API-Key, in constant time. It returns ErrKey when it is
// missing or wrong.
func (a *Auth) CheckKey(r *http.Request) error {
	key := PresentedKey(r)
	if subtle.ConstantTimeCompare([]byte(key), []byte(a.key)) != 1 {
		if key == "" {
			return fmt.Errorf("%w: give it as api_key in the query, or in X-API-Key", ErrKey)
		}
		return ErrKey
	}
	return nil
}

// PresentedKey returns the API key that the request shows, or "".
func PresentedKey(r *http.Request) string {
	if key := r.URL.Query().Get("api_key"); key != "" {
		return key
	}
	return r.Header.Get("X-API-Key")
}

// Token returns the token of the Authorization header, with or without
// "Bearer " before it (RFC 6750, section 2.1), or "".
func Token(r *http.Request) string {
	h := strings.TrimSpace(r.Header.Get("Authorization"))
	if len(h) >= 7 && strings.EqualFold(h[:7], "bearer ") {
		return strings.TrimSpace(h[7:])
	}
	return h
}

// Request verifies the token of the request's Authorization header.
func (a *Auth) Request(r *http.Request) (Identity, error) {
	token := Token(r)
	if token == "" {
		return Identity{}, ErrMissing
	}
	return a.Verify(token)
}

func derive(secret []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}
