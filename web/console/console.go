// Package console is the moderators' page: a login and the live wall.
package console

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/web/asset"
)

//go:embed static
var static embed.FS

const (
	// CookieName is the cookie that holds a session.
	CookieName = "stillwatch_session"
	// CSRFHeader is where writes with a session repeat its CSRF token.
	CSRFHeader = "X-CSRF-Token"
	// Prefix is where the page's files lie.
	Prefix = "/assets/console/"

	maxLoginBody = 128 << 10
)

// Config is what the console needs.
type Config struct {
	Auth *auth.Auth
	// WithRole fills in the role of a user whose token has none.
	WithRole func(ctx context.Context, id auth.Identity) (auth.Identity, error)
	// ImageOrigins are where signed URLs lie, besides our own origin.
	ImageOrigins []string
	// PublicURL decides, when it is https, that cookies need TLS.
	PublicURL string
	Log       *slog.Logger
}

type handler struct {
	cfg   Config
	files *asset.Set
}

// New serves the page at /console/, its files under Prefix, and the session:
// POST /console/login, GET /console/session, POST /console/logout.
func New(cfg Config) http.Handler {
	tree, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the folder is embedded
	}
	h := &handler{cfg: cfg, files: asset.New(tree, asset.Policy{ImageOrigins: cfg.ImageOrigins})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"{name}", func(w http.ResponseWriter, r *http.Request) {
		h.files.Serve(w, r, r.PathValue("name"))
	})
	mux.HandleFunc("GET /console/{$}", func(w http.ResponseWriter, r *http.Request) { h.files.Serve(w, r, "console.html") })
	mux.Handle("GET /console", http.RedirectHandler("/console/", http.StatusMovedPermanently))
	mux.HandleFunc("POST /console/login", h.login)
	mux.HandleFunc("GET /console/session", h.session)
	mux.HandleFunc("POST /console/logout", h.logout)
	return mux
}

// login exchanges a moderator's token for a cookie. Only JSON is taken: a
// form of another site cannot send that.
func (h *handler) login(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(r) || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		refuse(w, http.StatusForbidden, "log in from the console itself")
		return
	}
	var req struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLoginBody)).Decode(&req); err != nil {
		refuse(w, http.StatusBadRequest, "the body is not JSON with a token")
		return
	}
	id, err := h.cfg.Auth.Verify(strings.TrimSpace(req.Token))
	if err != nil {
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	}
	if id.Server {
		refuse(w, http.StatusForbidden, "a server token is not for browsers: use the token of a user with the role moderator or admin")
		return
	}
	if id, err = h.cfg.WithRole(r.Context(), id); err != nil {
		h.cfg.Log.Warn("login failed", "user", id.UserID, "error", err)
		refuse(w, http.StatusUnauthorized, "the user could not be looked up")
		return
	}
	if !id.Moderates() || len(id.CallCIDs) > 0 {
		refuse(w, http.StatusForbidden, "this token's user does not moderate every call: it needs the role moderator or admin and no call_cids")
		return
	}
	value, session := h.cfg.Auth.NewSession(id)
	h.setCookie(w, r, value, session.ExpiresAt)
	h.cfg.Log.Info("moderator logged in", "user", id.UserID, "role", id.Role)
	describe(w, session)
}

func (h *handler) session(w http.ResponseWriter, r *http.Request) {
	session, ok := h.current(r)
	if !ok {
		refuse(w, http.StatusUnauthorized, "not logged in")
		return
	}
	describe(w, session)
}

func (h *handler) logout(w http.ResponseWriter, r *http.Request) {
	session, ok := h.current(r)
	if ok && !session.CheckCSRF(r.Header.Get(CSRFHeader)) {
		refuse(w, http.StatusForbidden, "the header "+CSRFHeader+" is missing or wrong")
		return
	}
	h.setCookie(w, r, "", time.Unix(1, 0))
	w.WriteHeader(http.StatusNoContent)
}

func (h *handler) current(r *http.Request) (auth.Session, bool) {
	cookie, err := r.Cookie(CookieName)
	if err != nil {
		return auth.Session{}, false
	}
	session, err := h.cfg.Auth.VerifySession(cookie.Value)
	return session, err == nil
}

func (h *handler) setCookie(w http.ResponseWriter, r *http.Request, value string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: CookieName, Value: value, Path: "/", Expires: expires,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.HasPrefix(h.cfg.PublicURL, "https://"),
	})
}

// sameOrigin tells whether the browser sent the request from a page of this
// server. A program that sends no Origin is no browser and cannot be misled.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

func describe(w http.ResponseWriter, s auth.Session) {
	answer(w, http.StatusOK, map[string]any{"user_id": s.UserID, "role": s.Role, "csrf": s.CSRF, "expires_at": s.ExpiresAt})
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"message": message, "status_code": status})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means the client has left
}
