package web

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stillwatch/web/api"
	"stillwatch/web/apidoc"
	"stillwatch/web/callpage"
	"stillwatch/web/console"
)

const (
	videoPrefix      = "/api/v2/video"
	callPrefix       = videoPrefix + "/call/:type/:id"
	moderationPrefix = "/api/v2/moderation"
	ownPrefix        = "/api/v2/stillwatch/"
	livePath         = ownPrefix + "live"
)

// routes is the whole route table.
func (s *Server) routes() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.handleError
	e.Use(s.begin, s.observe(), s.recover, s.harden, crossOrigin, s.limit)

	if err := s.operations(e); err != nil {
		panic(err) // the document is ours and tested
	}
	// Replaces the route of the document: a stream outlives the time of a handler.
	e.GET(livePath, s.require(api.AccessModerate, s.live))

	e.GET(errorsPath, s.errorPage)
	for _, path := range []string{apidoc.YAMLPath, apidoc.JSONPath, apidoc.PagePath, apidoc.Prefix + "*"} {
		e.GET(path, echo.WrapHandler(apidoc.Handler()))
	}
	e.GET("/healthz", s.healthz)
	e.GET("/readyz", s.readyz)
	if s.cfg.Gatherer != nil {
		e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{})))
	}
	for prefix, h := range map[string]http.Handler{"/whip/*": s.cfg.WHIP, "/whep/*": s.cfg.WHEP, "/s/*": s.cfg.Blobs} {
		if h != nil {
			e.Any(prefix, echo.WrapHandler(h))
		}
	}
	s.pages(e)
	return e
}

// pages adds what browsers show.
func (s *Server) pages(e *echo.Echo) {
	e.GET("/", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/console/") })
	call := callpage.New(s.cfg.ImageOrigins)
	e.GET("/call/:type/:id", echo.WrapHandler(call))
	e.GET("/assets/call/*", echo.WrapHandler(call))
	con := echo.WrapHandler(console.New(console.Config{
		Auth: s.cfg.Auth, ImageOrigins: s.cfg.ImageOrigins, PublicURL: s.cfg.PublicURL, Log: s.log,
		WithRole: s.withRole,
	}))
	for _, path := range []string{"/console", "/console/*", "/assets/console/*"} {
		e.Any(path, con)
	}
}

// crossOrigin lets pages of other origins use the API with a token. Cookies
// are not let across: no answer allows credentials.
func crossOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !isAPI(c.Request().URL.Path) {
			return next(c)
		}
		h := c.Response().Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "ETag, Retry-After, X-Ratelimit-Limit, X-Ratelimit-Remaining, X-Ratelimit-Reset, X-Request-Id")
		if c.Request().Method != http.MethodOptions {
			return next(c)
		}
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, Stream-Auth-Type, X-Api-Key, X-Request-Id, X-Stream-Client")
		h.Set("Access-Control-Max-Age", "86400")
		return c.NoContent(http.StatusNoContent)
	}
}

func isAPI(path string) bool {
	return strings.HasPrefix(path, "/api/") || path == "/permissions" || strings.HasPrefix(path, "/permissions/")
}
