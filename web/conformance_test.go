package web

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// slowest is how long any answer may take: what impatient clients wait.
const slowest = 3 * time.Second

// exchange is one request.
type exchange struct {
	route  *routers.Route
	token  int
	params map[string]string
	method string
	target string
	body   []byte
	header http.Header
}

func (x exchange) String() string {
	return fmt.Sprintf("%s with token %d: %s %s\n%.600s", x.route.Operation.OperationID, x.token, x.method, x.target, x.body)
}

// request makes the request that follows from the maker's state.
func (c *conformance) request(m *maker, route *routers.Route) exchange {
	x := exchange{route: route, token: m.IntN(len(c.tokens)), method: route.Method, params: map[string]string{}, header: http.Header{}}
	path, query := route.Path, url.Values{"api_key": {"key"}}
	for _, ref := range append(slices.Clone(route.PathItem.Parameters), route.Operation.Parameters...) {
		p := ref.Value
		value := fmt.Sprint(m.right(p.Name, p.Schema, 0))
		if p.In == openapi3.ParameterInPath && len(c.known[route.Path]) > 0 && !m.one(4) {
			value = fmt.Sprint(pick(m, c.known[route.Path]))
		}
		if m.one(12) {
			value = pick(m, odd)
		}
		switch p.In {
		case openapi3.ParameterInPath:
			x.params[p.Name] = value
			path = strings.ReplaceAll(path, "{"+p.Name+"}", segment(value))
		case openapi3.ParameterInQuery:
			if p.Required && !m.one(10) || m.one(2) {
				query.Set(p.Name, value)
			}
		case openapi3.ParameterInHeader:
			if m.one(4) {
				x.header.Set(p.Name, pick(m, []string{`"x"`, "*", `W/"1"`, "nonsense", ""}))
			}
		}
	}
	if m.one(2) {
		x.token = 0 // else most requests are refused at the door
	}
	x.target = path + "?" + query.Encode()
	if route.Operation.RequestBody != nil {
		x.body = m.body(route.Operation.RequestBody.Value.Content.Get("application/json"))
	} else if m.one(10) {
		x.body = []byte(`{"unexpected":true}`)
	}
	return x
}

// body makes a request's body: mostly right, often wrong, at times no JSON.
func (m *maker) body(media *openapi3.MediaType) []byte {
	switch {
	case m.one(12):
		return []byte(pick(m, []string{"", "{}", "null", "[]", "1", `"x"`, "{", `{"a":`, "\xff\xff", "{}{}", `{"a":1}trailing`, strings.Repeat("[", 20000), " \n\t "}))
	case m.one(400):
		return bytes.Repeat([]byte("x"), MaxBody+1)
	}
	v := m.right("", media.Schema, 0)
	if media.Example != nil && m.one(2) {
		v = m.like(media.Example)
	}
	if m.one(3) {
		for range 1 + m.IntN(3) {
			v = m.wrong(v)
		}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return []byte("{}") // a number that JSON has no form for
	}
	return raw
}

// try makes the request and says what is wrong with the answer; "" if nothing
// is.
func (c *conformance) try(x exchange) (status int, wrong string) {
	r, err := http.NewRequestWithContext(c.t.Context(), x.method, "http://host"+x.target, bytes.NewReader(x.body))
	if err != nil {
		c.t.Fatalf("%s: %v", x, err)
	}
	r.RequestURI = x.target
	maps.Copy(r.Header, x.header)
	if token := c.tokens[x.token]; token != "" {
		r.Header.Set("Authorization", token)
	}
	w := httptest.NewRecorder()
	start := time.Now()
	c.Handler().ServeHTTP(w, r)
	took := time.Since(start)
	return w.Code, c.judge(x, r, w, took)
}

func (c *conformance) judge(x exchange, r *http.Request, w *httptest.ResponseRecorder, took time.Duration) string {
	switch {
	case w.Code >= 500:
		return fmt.Sprintf("status %d: %s", w.Code, c.log.text)
	case took > slowest:
		return fmt.Sprintf("took %v", took)
	case w.Code >= 400 && !isError(w.Body.Bytes(), w.Code):
		return fmt.Sprintf("status %d in another shape than that of errors: %s", w.Code, w.Body)
	}
	if err := c.fits(x, r, w); err != nil {
		return fmt.Sprintf("status %d: the answer does not fit the document: %.600s\n%.2000s", w.Code, err, w.Body)
	}
	return ""
}

// isError tells whether the body is an error that says its own status.
func isError(body []byte, status int) bool {
	var e apiError
	return json.Unmarshal(body, &e) == nil && e.StatusCode == status && e.StatusCodeAlias == status && e.Code != 0 && e.Message != "" && e.ExceptionFields != nil
}

func (c *conformance) fits(x exchange, r *http.Request, w *httptest.ResponseRecorder) error {
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: x.params, Route: x.route},
		Status:                 w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	})
}

// rounds is how many requests each operation gets, and freshly after how many
// of them a server begins anew: what there is gets deleted as well.
const (
	rounds  = 48
	freshly = 6
)

var (
	firstSeed = flag.Uint64("seed", 0, "the first seed of TestAPIConforms")
	moreSeeds = flag.Int("rounds", rounds, "how many requests TestAPIConforms gives each operation")
)

// TestAPIConforms gives every operation requests that follow from fixed seeds.
func TestAPIConforms(t *testing.T) {
	t.Parallel()
	per := *moreSeeds
	if testing.Short() {
		per = freshly
	}
	tally := map[string]*tried{}
	for seed := range per / freshly {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newConformance(t)
			if len(c.ops) < 90 {
				t.Fatalf("%d operations only", len(c.ops))
			}
			for round := range freshly {
				c.round(*firstSeed+uint64(seed*freshly+round), tally)
			}
		})
	}
	var never []string
	for id, at := range tally {
		if at.done == 0 {
			never = append(never, id)
		}
	}
	slices.Sort(never)
	// Requests that are always refused would prove little.
	t.Logf("never carried out: %v", never)
	if !testing.Short() && len(never) > len(tally)/10 {
		t.Errorf("%d of %d operations were never carried out", len(never), len(tally))
	}
}

// tried is what became of an operation's requests.
type tried struct{ done, wrong int }

// round sends one request for every operation.
func (c *conformance) round(seed uint64, tally map[string]*tried) {
	for i, route := range c.ops {
		x := c.request(newMaker(seed*1000+uint64(i), c.known), route)
		status, wrong := c.try(x)
		at := tally[route.Operation.OperationID]
		if at == nil {
			at = &tried{}
			tally[route.Operation.OperationID] = at
		}
		if status < 300 {
			at.done++
		}
		if wrong == "" {
			continue
		}
		if at.wrong++; at.wrong <= 2 {
			c.t.Errorf("seed %d: %s\n%s", seed, x, wrong)
		}
	}
}

// FuzzAPI makes up more requests; each seed has a server of its own.
func FuzzAPI(f *testing.F) {
	for seed := range uint64(3) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		c := newConformance(t)
		m := newMaker(seed, c.known)
		for range 100 {
			x := c.request(m, pick(m, c.ops))
			if _, wrong := c.try(x); wrong != "" {
				t.Errorf("%s\n%s", x, wrong)
			}
		}
	})
}
