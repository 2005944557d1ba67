package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"stillwatch/internal/db"
)

// maxAnswer is how much of an answer is read; the rest is left.
const maxAnswer = 64 << 10

// Doer does HTTP requests; *netguard.Client is the one to use.
type Doer interface {
	Do(req *http.Request) (*http.Response, error)
}

// result is what became of one attempt.
type result struct {
	status     int // 0 when there was no answer
	err        error
	retryAfter time.Duration
}

func (r result) ok() bool { return r.err == nil && r.status/100 == 2 }

func (r result) gone() bool { return r.status == http.StatusGone }

// reason is the failure in words, short enough to keep.
func (r result) reason() string {
	s := ""
	if r.err != nil {
		s = r.err.Error()
	} else if !r.ok() {
		s = "answered " + strconv.Itoa(r.status)
	}
	return s[:min(len(s), 500)]
}

// post makes one attempt.
func (s *Sender) post(ctx context.Context, hook db.HookRow, eventID string, attempt int, body []byte) result {
	ctx, cancel := context.WithTimeout(ctx, timeout(hook))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.WebhookURL, bytes.NewReader(body))
	if err != nil {
		return result{err: fmt.Errorf("the hook's URL cannot be read")} // err would quote it
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "stillwatch")
	req.Header.Set(HeaderID, eventID)
	req.Header.Set(HeaderAttempt, strconv.Itoa(attempt))
	req.Header.Set(HeaderKey, s.cfg.APIKey)
	req.Header.Set(HeaderSignature, Sign(s.cfg.APISecret, body))
	res, err := s.cfg.Client.Do(req)
	if err != nil {
		return result{err: err}
	}
	defer res.Body.Close()
	// The status decides. The answer's body is read to free the connection
	// for the next event; one that is long or slow is cut off.
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	return result{status: res.StatusCode, retryAfter: readRetryAfter(res.Header, s.cfg.Now())}
}

func timeout(hook db.HookRow) time.Duration {
	if hook.TimeoutMS <= 0 {
		return DefaultTimeout
	}
	return time.Duration(hook.TimeoutMS) * time.Millisecond
}
