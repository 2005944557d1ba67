package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"stillwatch/actions"
	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
)

// Codes of errors, as docs/PROTOCOL.md and the page /docs/errors list them. A
// client may rely on the code and the status; messages are for people.
const (
	CodeInternal    = -1
	CodeKey         = 2
	CodeInput       = 4
	CodeAuth        = 5
	CodeRateLimit   = 9
	CodeNotFound    = 16
	CodeForbidden   = 17
	CodeTooLarge    = 22
	CodeMethod      = 24
	CodeExpired     = 40
	CodeNotYet      = 41
	CodeSignature   = 43
	CodeUnavailable = 50
	CodeConflict    = 51
	// 52 was of versions without recordings; it is not given out again.
)

// apiError is the one shape of every answer from 400 up.
type apiError struct {
	Code            int               `json:"code"`
	Message         string            `json:"message"`
	StatusCode      int               `json:"StatusCode"`
	StatusCodeAlias int               `json:"status_code"`
	Duration        string            `json:"duration"`
	MoreInfo        string            `json:"more_info"`
	ExceptionFields map[string]string `json:"exception_fields"`
	Details         []int             `json:"details"`
	Unrecoverable   bool              `json:"unrecoverable"`
}

// Error returns the message.
func (e *apiError) Error() string { return e.Message }

func fail(status, code int, format string, args ...any) *apiError {
	return &apiError{Code: code, StatusCode: status, Message: fmt.Sprintf(format, args...)}
}

func badInput(format string, args ...any) *apiError {
	return fail(http.StatusBadRequest, CodeInput, format, args...)
}

// badFields refuses a request for the fields named, each with what it wants.
func badFields(fields map[string]string) *apiError {
	e := badInput("%s", describe(fields))
	e.ExceptionFields = fields
	return e
}

func badField(field, want string) *apiError { return badFields(map[string]string{field: want}) }

func notFound(what, name string) *apiError {
	return fail(http.StatusNotFound, CodeNotFound, "%s %q does not exist", what, name)
}

func forbidden(format string, args ...any) *apiError {
	return fail(http.StatusForbidden, CodeForbidden, format, args...)
}

// in puts the operation's name before the message.
func (e *apiError) in(operation string) *apiError {
	e.Message = fmt.Sprintf("%s failed with error: %q", operation, e.Message)
	return e
}

// unauthorized maps a refusal of package auth.
func unauthorized(err error) *apiError {
	code := CodeAuth
	switch {
	case errors.Is(err, auth.ErrKey):
		code = CodeKey
	case errors.Is(err, auth.ErrExpired):
		code = CodeExpired
	case errors.Is(err, auth.ErrNotYet):
		code = CodeNotYet
	case errors.Is(err, auth.ErrAlgorithm), errors.Is(err, auth.ErrSignature):
		code = CodeSignature
	}
	return fail(http.StatusUnauthorized, code, "%s", err)
}

// asAPIError turns any error into the shape. What is not the caller's fault
// is "internal error" outside and the whole story in the log.
func asAPIError(err error) *apiError {
	var api *apiError
	var refusal *Refusal
	var he *echo.HTTPError
	var tooLarge *http.MaxBytesError
	var order *actions.RequestError
	var query *filter.Error
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &refusal):
		return fail(refusal.Status, codeOf(refusal.Status), "%s", refusal.Reason)
	case errors.As(err, &order):
		return badField(order.Field, "must be "+order.Want)
	case errors.As(err, &query):
		return badField(query.Field, query.Want)
	case errors.As(err, &tooLarge):
		return fail(http.StatusRequestEntityTooLarge, CodeTooLarge, "body is larger than %d bytes", tooLarge.Limit)
	case errors.As(err, &he):
		return fail(he.Code, codeOf(he.Code), "%v", he.Message)
	case errors.Is(err, context.DeadlineExceeded):
		return fail(http.StatusServiceUnavailable, CodeUnavailable, "the request took too long")
	case db.IsNotFound(err):
		return fail(http.StatusNotFound, CodeNotFound, "not found")
	default:
		return fail(http.StatusInternalServerError, CodeInternal, "internal error")
	}
}

func codeOf(status int) int {
	switch status {
	case http.StatusUnauthorized:
		return CodeAuth
	case http.StatusForbidden:
		return CodeForbidden
	case http.StatusNotFound:
		return CodeNotFound
	case http.StatusMethodNotAllowed:
		return CodeMethod
	case http.StatusRequestEntityTooLarge:
		return CodeTooLarge
	case http.StatusTooManyRequests:
		return CodeRateLimit
	case http.StatusServiceUnavailable:
		return CodeUnavailable
	}
	if status >= http.StatusInternalServerError {
		return CodeInternal
	}
	return CodeInput
}

// handleError answers every error that a handler returned.
func (s *Server) handleError(err error, c echo.Context) {
	if c.Response().Committed {
		s.log.Warn("answer broken off", "path", c.Path(), "error", err)
		return
	}
	e := *asAPIError(err)
	if e.StatusCode >= http.StatusInternalServerError && c.Request().Context().Err() == nil {
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "request failed", slog.String("method", c.Request().Method),
			slog.String("route", c.Path()), slog.String("request_id", requestID(c)), slog.Any("error", err))
	}
	e.StatusCodeAlias = e.StatusCode
	e.Duration = duration(c)
	e.MoreInfo = fmt.Sprintf("%s%s#%d", s.cfg.PublicURL, errorsPath, e.Code)
	if e.ExceptionFields == nil {
		e.ExceptionFields = map[string]string{}
	}
	e.Details = []int{}
	e.Unrecoverable = e.Code == CodeExpired || e.Code == CodeSignature
	if err := c.JSON(e.StatusCode, &e); err != nil {
		s.log.Debug("client left before the error was written", "error", err)
	}
}
