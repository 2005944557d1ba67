package web

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"stillwatch/internal/event"
)

// MaxBody bounds the body of every request.
const MaxBody = 1 << 20

const requestIDHeader = "X-Request-Id"

var requestIDRE = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func requestID(c echo.Context) string { return c.Response().Header().Get(requestIDHeader) }

// begin gives the request its id and its clock.
func (s *Server) begin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Set(startKey, time.Now())
		id := c.Request().Header.Get(requestIDHeader)
		if !requestIDRE.MatchString(id) {
			id = event.NewID()
		}
		c.Response().Header().Set(requestIDHeader, id)
		return next(c)
	}
}

// observe counts and logs every answer.
func (s *Server) observe() echo.MiddlewareFunc {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "stillwatch", Name: "http_request_seconds",
		Help:    "Time from a request to the end of its answer; streams are not counted.",
		Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10},
	}, []string{"method", "route", "status"})
	if s.cfg.Registerer != nil {
		s.cfg.Registerer.MustRegister(seconds)
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			start := time.Now()
			if err := next(c); err != nil {
				c.Error(err)
			}
			route := c.Path()
			if route == "" {
				route = "none"
			}
			took, status := time.Since(start), c.Response().Status
			if route != livePath {
				seconds.WithLabelValues(knownMethod(c.Request().Method), route, strconv.Itoa(status)).Observe(took.Seconds())
			}
			s.log.Debug("answered", "method", c.Request().Method, "route", route, "status", status,
				"took", took, "bytes", c.Response().Size, "request_id", requestID(c))
			return nil
		}
	}
}

// knownMethod keeps made-up methods from making metrics without bound.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// recover turns a panic of a handler into a 500 and a log line.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch r := recover(); r {
			case nil:
			case http.ErrAbortHandler:
				panic(r)
			default:
				s.log.Error("handler panicked", "route", c.Path(), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
				err = fail(http.StatusInternalServerError, CodeInternal, "internal error")
			}
		}()
		return next(c)
	}
}

// harden sets the headers that keep a browser from doing what no page of ours
// wants. Pages allow more with pagePolicy.
func (s *Server) harden(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), display-capture=(), geolocation=()")
		if strings.HasPrefix(s.cfg.PublicURL, "https://") {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		return next(c)
	}
}

// limit bounds the body.
func (s *Server) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.ContentLength > MaxBody {
			return &http.MaxBytesError{Limit: MaxBody}
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, MaxBody)
		return next(c)
	}
}

// bound gives an API handler its time.
func bound(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		ctx, cancel := context.WithTimeout(r.Context(), handlerTimeout)
		defer func() {
			cancel()
			c.SetRequest(r) // whoever logs the answer asks whether the client left
		}()
		c.SetRequest(r.WithContext(ctx))
		c.Response().Header().Set("Cache-Control", "no-store")
		return next(c)
	}
}
