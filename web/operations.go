package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"

	"stillwatch/internal/auth"
	"stillwatch/web/api"
)

// operations puts the routes of the API document into e: each is
// authenticated, checked against the document, and answered by the method of
// Server that has its name.
func (s *Server) operations(e *echo.Echo) error {
	doc, err := api.Load()
	if err != nil {
		return err
	}
	e.Binder = jsonBinder{}
	r := &operationRouter{Echo: e, s: s, doc: doc}
	strict := api.NewStrictHandler(s, []api.StrictMiddlewareFunc{stampDuration})
	api.RegisterHandlers(r, strict)
	return errors.Join(r.errs...)
}

// operationRouter wraps the generated routes on their way into echo.
type operationRouter struct {
	*echo.Echo
	s    *Server
	doc  *openapi3.T
	errs []error
}

var echoParam = regexp.MustCompile(`:([a-z_]+)`)

func (r *operationRouter) add(method, path string, h echo.HandlerFunc, m []echo.MiddlewareFunc) *echo.Route {
	template := echoParam.ReplaceAllString(path, "{$1}")
	item := r.doc.Paths.Value(template)
	if item == nil || item.GetOperation(method) == nil {
		r.errs = append(r.errs, fmt.Errorf("%s %s is not in the API document", method, template))
		return nil
	}
	op := item.GetOperation(method)
	access, err := api.AccessOf(op)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	route := &routers.Route{Spec: r.doc, Path: template, PathItem: item, Method: method, Operation: op}
	return r.Add(method, path, bound(r.s.require(access, conform(route, h))), m...)
}

// DELETE implements api.EchoRouter, as do the others.
func (r *operationRouter) DELETE(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodDelete, path, h, m)
}

// GET implements api.EchoRouter.
func (r *operationRouter) GET(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodGet, path, h, m)
}

// PATCH implements api.EchoRouter.
func (r *operationRouter) PATCH(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPatch, path, h, m)
}

// POST implements api.EchoRouter.
func (r *operationRouter) POST(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPost, path, h, m)
}

// PUT implements api.EchoRouter.
func (r *operationRouter) PUT(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPut, path, h, m)
}

// conform refuses a request that the document does not allow.
func conform(route *routers.Route, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		// Clients forget the header or send another; JSON is all there is.
		r.Header.Set("Content-Type", "application/json")
		params := map[string]string{}
		for i, name := range c.ParamNames() {
			params[name] = unescaped(r, c.ParamValues()[i])
		}
		if err := plainText(params, r.URL.Query()); err != nil {
			return err
		}
		if route.Operation.RequestBody != nil {
			if err := fillIn(r); err != nil {
				return err
			}
		}
		err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
			Request: r, PathParams: params, QueryParams: r.URL.Query(), Route: route,
			Options: &openapi3filter.Options{
				MultiError: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			},
		})
		if err != nil {
			return nonconforming(err)
		}
		ctx := context.WithValue(r.Context(), contextKey{}, c)
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

// fillIn puts the empty object in the place of a missing body, so that what is
// required of the one is required of the other.
func fillIn(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	if err != nil {
		return badInput("the body broke off: %s", err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	r.Body, r.GetBody, r.ContentLength = io.NopCloser(bytes.NewReader(body)), nil, int64(len(body))
	return nil
}

// unescaped is a parameter of the path as it was meant: the router leaves the
// escapes of a path that has more of them than it needs.
func unescaped(r *http.Request, param string) string {
	if plain, err := url.PathUnescape(param); err == nil && r.URL.RawPath != "" {
		return plain
	}
	return param
}

// plainText refuses parameters that no database takes as text.
func plainText(params map[string]string, query url.Values) error {
	fields := map[string]string{}
	check := func(name, value string) {
		if strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
			fields[name] = "must be UTF-8 without zero bytes"
		}
	}
	for name, value := range params {
		check(name, value)
	}
	for name, values := range query {
		check(name, strings.Join(values, ""))
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

// nonconforming turns what the document's checks found into our shape.
func nonconforming(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	fields := map[string]string{}
	collect(err, "", fields)
	if len(fields) == 0 {
		return badInput("the body is not JSON: %s", lastOf(err))
	}
	return badFields(fields)
}

// lastOf is the innermost error: the outer ones speak of the machinery.
func lastOf(err error) error {
	for {
		switch e := err.(type) {
		case openapi3.MultiError:
			if len(e) == 0 {
				return err
			}
			err = e[0]
		case *openapi3filter.ParseError:
			if e.Cause == nil {
				return errors.New(e.Reason)
			}
			err = e.Cause
		default:
			inner := errors.Unwrap(err)
			if inner == nil {
				return err
			}
			err = inner
		}
	}
}

func collect(err error, at string, fields map[string]string) {
	var many openapi3.MultiError
	var request *openapi3filter.RequestError
	var schema *openapi3.SchemaError
	switch e := err.(type) {
	case openapi3.MultiError:
		for _, one := range e {
			collect(one, at, fields)
		}
	case *openapi3filter.RequestError:
		if e.Parameter != nil {
			at = e.Parameter.Name
			if fields[at] = e.Reason; e.Reason == "" {
				fields[at] = "is not right"
			}
		}
		collect(e.Err, at, fields)
	case *openapi3.SchemaError:
		field := fieldPath(at, e.JSONPointer())
		if field == "" {
			field = "body"
		}
		fields[field] = wanted(e)
	case *openapi3filter.ParseError:
		switch kind, isKind := strings.CutPrefix(e.Reason, "an invalid "); {
		case at == "":
		case isKind:
			fields[at] = wantKind[kind]
		default:
			fields[at] = fmt.Sprint(lastOf(e))
		}
	default:
		switch {
		case err == nil:
		case errors.Is(err, openapi3filter.ErrInvalidRequired):
			fields[at] = "is missing"
		case errors.As(err, &many):
			collect(many, at, fields)
		case errors.As(err, &request):
			collect(request, at, fields)
		case errors.As(err, &schema):
			collect(schema, at, fields)
		case at != "":
			fields[at] = err.Error()
		}
	}
}

var numberRE = regexp.MustCompile(`^[0-9]+$`)

// fieldPath writes a JSON pointer as people write paths: data.members[0].role.
func fieldPath(at string, pointer []string) string {
	var b strings.Builder
	b.WriteString(at)
	for _, p := range pointer {
		switch {
		case numberRE.MatchString(p):
			b.WriteString("[" + p + "]")
		case b.Len() > 0:
			b.WriteString("." + p)
		default:
			b.WriteString(p)
		}
	}
	return b.String()
}

// jsonBinder reads the body of an operation. That it fits is known; what is
// missing is the empty object.
type jsonBinder struct{}

// Bind implements echo.Binder.
func (jsonBinder) Bind(v any, c echo.Context) error { return decode(c, v) }

// contextKey finds the request's echo.Context in its context.Context.
type contextKey struct{}

// request is the HTTP request that an operation answers; nil outside of one.
func request(ctx context.Context) echo.Context {
	c, _ := ctx.Value(contextKey{}).(echo.Context)
	return c
}

// callerOf is who calls the operation.
func callerOf(ctx context.Context) auth.Identity {
	if c := request(ctx); c != nil {
		return caller(c)
	}
	return auth.Identity{}
}

// setHeader sets a header of the operation's answer.
func setHeader(ctx context.Context, name, value string) {
	if c := request(ctx); c != nil {
		c.Response().Header().Set(name, value)
	}
}

// stampDuration fills in the "duration" of every answer.
func stampDuration(next api.StrictHandlerFunc, _ string) api.StrictHandlerFunc {
	return func(c echo.Context, req any) (any, error) {
		answer, err := next(c, req)
		v := reflect.ValueOf(answer)
		if err != nil || v.Kind() != reflect.Struct {
			return answer, err
		}
		field, ok := v.Type().FieldByName("Duration")
		if !ok || field.Type.Kind() != reflect.String {
			return answer, nil
		}
		stamped := reflect.New(v.Type()).Elem()
		stamped.Set(v)
		stamped.FieldByIndex(field.Index).SetString(duration(c))
		return stamped.Interface(), nil
	}
}

// untyped is v as the untyped JSON that the document leaves open.
func untyped(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("web: marshal %T: %v", v, err)) // our own types, without channels or cycles
	}
	return b
}
