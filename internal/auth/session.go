package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// SessionLife is how long a console session lasts.
const SessionLife = 12 * time.Hour

// Session is a moderator's login at the console.
type Session struct {
	Identity
	// CSRF is the token that writes must repeat in a header: a page of
	// another site can make the browser send the cookie, but not know this.
	CSRF string
}

// NewSession mints the cookie value for a moderator who has shown a valid
// token. The session ends after SessionLife, or with the token if that is
// sooner.
func (a *Auth) NewSession(id Identity) (cookie string, s Session) {
	id.ExpiresAt = earlier(id.ExpiresAt, a.now().Add(SessionLife)).UTC().Truncate(time.Second)
	c := claims{UserID: id.UserID, Role: id.Role, CallCIDs: id.CallCIDs}
	c.ID = rand.Text()
	c.IssuedAt, c.ExpiresAt = jwt.NewNumericDate(a.now()), jwt.NewNumericDate(id.ExpiresAt)
	return sign(c, a.session), Session{Identity: id, CSRF: a.csrf(c.ID)}
}

// VerifySession checks a cookie value that NewSession made.
func (a *Auth) VerifySession(cookie string) (Session, error) {
	c, err := a.parse(cookie, a.session)
	if err != nil {
		return Session{}, err
	}
	if c.UserID == "" || c.ID == "" || c.ExpiresAt == nil {
		return Session{}, ErrNobody
	}
	id := Identity{UserID: c.UserID, Role: c.Role, CallCIDs: c.CallCIDs, ExpiresAt: c.ExpiresAt.UTC()}
	return Session{Identity: id, CSRF: a.csrf(c.ID)}, nil
}

// CheckCSRF compares in constant time.
func (s Session) CheckCSRF(presented string) bool {
	return s.CSRF != "" && hmac.Equal([]byte(s.CSRF), []byte(presented))
}

func (a *Auth) csrf(sessionID string) string {
	return base64.RawURLEncoding.EncodeToString(derive(a.session, "csrf "+sessionID))
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
