package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// UserClaims is what a user token is minted from.
type UserClaims struct {
	// UserID is required.
	UserID string
	// Role may be empty: then the user's own role counts.
	Role string
	// CallCIDs may be empty: then the token is good for every call.
	CallCIDs []string
	// ExpiresAt may be zero: then the token does not end.
	ExpiresAt time.Time
}

type claims struct {
	Server   bool     `json:"server,omitempty"`
	UserID   string   `json:"user_id,omitempty"`
	Role     string   `json:"role,omitempty"`
	CallCIDs []string `json:"call_cids,omitempty"`
	jwt.RegisteredClaims
}

// Verify checks a token's algorithm, signature and times and returns who it
// speaks for. The error wraps one of the Err values of this package.
func (a *Auth) Verify(token string) (Identity, error) {
	c, err := a.parse(token, a.secret)
	if err != nil {
		return Identity{}, err
	}
	if !c.Server && c.UserID == "" {
		return Identity{}, ErrNobody
	}
	id := Identity{Server: c.Server, UserID: c.UserID, Role: c.Role, CallCIDs: c.CallCIDs}
	if c.ExpiresAt != nil {
		id.ExpiresAt = c.ExpiresAt.UTC()
	}
	return id, nil
}

func (a *Auth) parse(token string, key []byte) (*claims, error) {
	if len(token) > MaxTokenBytes {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxTokenBytes)
	}
	var c claims
	// The library's own claims validation is off because its leeway would
	// lengthen "exp" as well; checkTimes allows it for "iat" and "nbf" alone.
	_, err := jwt.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		if t.Method != jwt.SigningMethodHS256 { // "none" and every key-confusing kin
			return nil, fmt.Errorf("%w but %q", ErrAlgorithm, t.Method.Alg())
		}
		return key, nil
	}, jwt.WithoutClaimsValidation())
	if err != nil {
		return nil, classify(err)
	}
	if err := a.checkTimes(&c.RegisteredClaims); err != nil {
		return nil, err
	}
	return &c, nil
}

func classify(err error) error {
	switch {
	case errors.Is(err, ErrAlgorithm):
		return err
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return ErrSignature
	case errors.Is(err, jwt.ErrTokenUnverifiable): // a method the library does not know
		return fmt.Errorf("%w: %v", ErrAlgorithm, err)
	default:
		said := strings.TrimPrefix(err.Error(), jwt.ErrTokenMalformed.Error()+": ")
		return fmt.Errorf("%w: %s", ErrMalformed, said)
	}
}

func (a *Auth) checkTimes(c *jwt.RegisteredClaims) error {
	now := a.now()
	if c.ExpiresAt != nil && !now.Before(c.ExpiresAt.Time) {
		return fmt.Errorf("%w at %s", ErrExpired, c.ExpiresAt.UTC().Format(time.RFC3339))
	}
	for name, at := range map[string]*jwt.NumericDate{"iat": c.IssuedAt, "nbf": c.NotBefore} {
		if at != nil && at.After(now.Add(Skew)) {
			return fmt.Errorf("%w: %q is %s", ErrNotYet, name, at.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// ServerToken mints a token for the operator's backend: all rights, no end.
func (a *Auth) ServerToken() string {
	return sign(claims{Server: true, RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(a.now())}}, a.secret)
}

// UserToken mints a token for a user. It panics on an empty UserID.
func (a *Auth) UserToken(u UserClaims) string {
	if u.UserID == "" {
		panic("auth: user token without a user")
	}
	c := claims{UserID: u.UserID, Role: u.Role, CallCIDs: u.CallCIDs}
	c.IssuedAt = jwt.NewNumericDate(a.now())
	if !u.ExpiresAt.IsZero() {
		c.ExpiresAt = jwt.NewNumericDate(u.ExpiresAt)
	}
	return sign(c, a.secret)
}

func sign(c claims, key []byte) string {
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(key)
	if err != nil {
		panic(fmt.Sprintf("auth: sign: %v", err)) // HMAC over marshalled strings cannot fail
	}
	return s
}
