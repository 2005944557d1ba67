// Package webhook brings events to backends by HTTP POST, signed in two
// styles at once.
package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"stillwatch/actions/delivery"
	"stillwatch/internal/netguard"
	"stillwatch/internal/signature"
)

// HookType is the hook_type of the hooks that this package serves.
const HookType = delivery.TypeWebhook

// maxAnswer is how much of an answer is read; the rest is left.
const maxAnswer = 64 << 10

// Doer does HTTP requests; *netguard.Client is the one to use.
type Doer interface {
	Do(req *http.Request) (*http.Response, error)
}

// Config sets a Transport; Client is needed.
type Config struct {
	// Client sends what goes over https.
	Client Doer
	// Plain sends what goes over http: a client that reaches nothing but the
	// ranges of netguard.allow. Nil means that http is refused.
	Plain Doer
	// APIKey goes out with each delivery, APISecret signs it.
	APIKey, APISecret string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Transport posts events. It keeps nothing of its own open.
type Transport struct{ cfg Config }

// New makes a transport.
func New(cfg Config) *Transport {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Transport{cfg}
}

// Close implements delivery.Transport.
func (t *Transport) Close() error { return nil }

// Send implements delivery.Transport.
func (t *Transport) Send(ctx context.Context, h delivery.Hook, m delivery.Message) delivery.Result {
	req, err := t.request(ctx, h, m)
	if err != nil {
		return delivery.Result{Err: err}
	}
	client := t.cfg.Client
	if req.URL.Scheme != "https" {
		if client = t.cfg.Plain; client == nil {
			return delivery.Result{Err: errors.New("the address must begin with https://"), Held: true}
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return failed(err)
	}
	defer res.Body.Close()
	return t.answered(res)
}

// failed is the result of a request that got no answer.
func failed(err error) delivery.Result {
	var refused *netguard.RefusedError
	return delivery.Result{Err: err, Held: errors.As(err, &refused)}
}

// answered reads an answer. The status decides; the body is read to free the
// connection for the next event, and one that is long or slow is cut off.
func (t *Transport) answered(res *http.Response) delivery.Result {
	var head bytes.Buffer
	_, _ = io.CopyN(&head, res.Body, delivery.MaxResponse)
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer-delivery.MaxResponse)
	out := delivery.Result{Status: res.StatusCode, RetryAfter: readRetryAfter(res.Header, t.cfg.Now()), Response: head.Bytes()}
	switch res.StatusCode {
	case http.StatusGone:
		out.Gone = true
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		out.Throttled = true
	}
	return out
}

func (t *Transport) request(ctx context.Context, h delivery.Hook, m delivery.Message) (*http.Request, error) {
	body, encoding, err := packed(m.Body, h.Compress)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(h.URL); err != nil {
		return nil, errors.New("the hook's URL cannot be read") // err would quote it
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the hook's URL cannot be read")
	}
	// Not sent, but read by the client: it may send again what went out on a
	// connection that the receiver was just closing. The id tells duplicates.
	req.Header["X-Idempotency-Key"] = []string{}
	req.Header.Set("Content-Type", "application/json")
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	req.Header.Set("User-Agent", "stillwatch")
	req.Header.Set(HeaderID, m.EventID)
	req.Header.Set(HeaderAttempt, strconv.Itoa(m.Attempt))
	req.Header.Set(HeaderKey, t.cfg.APIKey)
	req.Header.Set(HeaderSignature, signature.Sign(t.cfg.APISecret, m.Body))
	return req, t.signStandard(req.Header, h.Secrets, m)
}

// packed compresses a body. The signatures are of what was there before.
func packed(body []byte, compress bool) (out []byte, encoding string, err error) {
	if !compress {
		return body, "", nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		return nil, "", err
	}
	if err := z.Close(); err != nil {
		return nil, "", err
	}
	return b.Bytes(), "gzip", nil
}

// readRetryAfter reads the header Retry-After, seconds or a date (RFC 9110,
// section 10.2.3), as a pause of at most a day; 0 when it says nothing.
func readRetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, delivery.MaxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), delivery.MaxRetryAfter)
	}
	return 0
}
