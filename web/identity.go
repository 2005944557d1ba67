package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/web/api"
	"stillwatch/web/console"
)

const callerKey = "stillwatch.caller"

// caller is who the request comes from. It is set on every route that needs
// a token.
func caller(c echo.Context) auth.Identity {
	id, _ := c.Get(callerKey).(auth.Identity)
	return id
}

// actor is the user who is written down as having done it: named (a field of
// the request, which only a server token may use for somebody else), or the
// caller.
func actor(c echo.Context, named string) (string, error) {
	id := caller(c)
	if !id.Server {
		return id.UserID, nil
	}
	if named == "" {
		named = id.UserID
	}
	if named == "" {
		return systemUser, nil
	}
	if !validUser(named) {
		return "", badInput("user %q: an id %s", named, wantUser)
	}
	return named, nil
}

// systemUser stands for the program and for a backend that names nobody.
const systemUser = "system"

// require authenticates the request and checks the route's access.
func (s *Server) require(need api.Access, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := s.identify(c)
		if err != nil {
			return err
		}
		if err := s.limits.admit(c, id); err != nil {
			return err
		}
		if need == api.AccessModerate && !id.Moderates() {
			return forbidden("this needs a server token or the role moderator or admin")
		}
		if need == api.AccessAdminister && !id.Administers() {
			return forbidden("this needs a server token or the role admin")
		}
		// A token for some calls is no licence over all of them.
		if need != api.AccessToken && !id.Server && len(id.CallCIDs) > 0 {
			return forbidden("the token is good for some calls only: this needs one without call_cids")
		}
		c.Set(callerKey, id)
		if !id.Moderates() {
			c.SetRequest(c.Request().WithContext(db.ForUsers(c.Request().Context())))
		}
		return next(c)
	}
}

// identify reads the token, or the console's cookie where there is none.
func (s *Server) identify(c echo.Context) (auth.Identity, error) {
	r := c.Request()
	if auth.Token(r) == "" {
		if cookie, err := r.Cookie(console.CookieName); err == nil {
			return s.identifySession(r, cookie.Value)
		}
	}
	// Our own routes do without the key, which a page that holds only a user's
	// token does not know; a wrong one is wrong everywhere.
	if !strings.HasPrefix(c.Path(), ownPrefix) || auth.PresentedKey(r) != "" {
		if err := s.cfg.Auth.CheckKey(r); err != nil {
			return auth.Identity{}, unauthorized(err)
		}
	}
	id, err := s.cfg.Auth.Request(r)
	if err != nil {
		return auth.Identity{}, unauthorized(err)
	}
	return s.withRole(r.Context(), id)
}

func (s *Server) identifySession(r *http.Request, cookie string) (auth.Identity, error) {
	session, err := s.cfg.Auth.VerifySession(cookie)
	if err != nil {
		return auth.Identity{}, unauthorized(err)
	}
	write := r.Method != http.MethodGet && r.Method != http.MethodHead
	if write && !session.CheckCSRF(r.Header.Get(console.CSRFHeader)) {
		return auth.Identity{}, forbidden("the header %s is missing or wrong", console.CSRFHeader)
	}
	return session.Identity, nil
}

// withRole fills a user's role in from the database when the token has none.
func (s *Server) withRole(ctx context.Context, id auth.Identity) (auth.Identity, error) {
	if id.Server {
		return id, nil
	}
	if !validUser(id.UserID) {
		return id, fail(http.StatusUnauthorized, CodeAuth, "the token's user_id %s", wantUser)
	}
	if id.Role != "" {
		return id, nil
	}
	var row db.UserRow
	err := s.cfg.DB.NewSelect().Model(&row).Column("role").Where("id = ?", id.UserID).Scan(ctx)
	switch {
	case db.IsNotFound(err):
		id.Role = auth.RoleUser
	case err != nil:
		return id, err
	default:
		id.Role = row.Role
	}
	return id, nil
}
