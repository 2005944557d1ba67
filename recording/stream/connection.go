package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	neturl "net/url"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/netguard"
	"stillwatch/internal/signature"
)

// run connects until the stream is whole, refused or closed.
func (s *Sender) run(ctx context.Context) {
	pause, ending := s.cfg.FirstPause, s.ending
	s.away = s.cfg.Now()
	for ctx.Err() == nil {
		began := s.cfg.Now()
		err := s.connect(ctx)
		if err == nil {
			return
		}
		var refused *Error
		if errors.As(err, &refused) && refused.Refused {
			s.fail(refused)
			return
		}
		if ctx.Err() != nil {
			break
		}
		if s.cfg.Now().Sub(began) > s.cfg.LongestPause {
			pause = s.cfg.FirstPause
		}
		s.cfg.Log.Warn("the stream's connection is gone; another is tried", "connection", s.connection, "err", err, "in", pause)
		if s.cfg.Now().Sub(s.away) >= s.cfg.TellAfter {
			s.fail(&Error{Reason: "the endpoint is away", Err: err})
		}
		select {
		case <-time.After(pause):
		case <-ending: // what waits is tried once more at once, then with pauses
			ending = nil
		case <-ctx.Done():
		}
		pause = min(2*pause, s.cfg.LongestPause)
	}
	if cause := context.Cause(ctx); errors.Is(cause, errLate) {
		s.fail(&Error{Reason: "the endpoint did not take the end of it", Err: cause})
		return
	}
	s.fail(&Error{Reason: "the server stopped before the endpoint had all of it", Err: context.Cause(ctx)})
}

// fail tells that the stream is not delivered, once.
func (s *Sender) fail(err *Error) {
	if s.told {
		return
	}
	s.told = true
	s.cfg.Counts.Failed.Add(1)
	s.cfg.Failed(err)
}

// connection is one request.
type connection struct {
	s     *Sender
	w     io.Writer
	mac   hash.Hash
	stall *time.Timer
	sum   []byte
}

// answer is what the receiver said.
type answer struct {
	status int
	err    error
}

// connect sends until the stream's end, and returns nil if the receiver has it
// all.
func (s *Sender) connect(ctx context.Context) error {
	s.connection++
	s.cfg.Counts.Connections.Add(1)
	preamble, err := s.preamble()
	if err != nil {
		return &Error{Reason: "it cannot be described", Refused: true, Err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pr, pw := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, pr)
	if err != nil {
		return &Error{Reason: "the destination is no URL", Refused: true} // err would quote it
	}
	mac := signature.New(s.cfg.Secret)
	mac.Write(preamble)
	req.Header.Set("Content-Type", ContentType)
	req.Header.Set("User-Agent", "stillwatch")
	req.Header.Set(HeaderKey, s.cfg.Key)
	req.Header.Set(HeaderSignature, signature.Text(mac))
	answered := make(chan answer, 1)
	go func() {
		status, err := do(s.cfg.Client, req)
		_ = pr.CloseWithError(errAnswered) // ends what is being written
		answered <- answer{status, err}
	}()
	c := &connection{s: s, w: pw, mac: mac, stall: time.AfterFunc(s.cfg.Stall, func() { cancel(errStalled) })}
	s.cfg.Counts.Open.Add(1)
	sent := c.send(ctx, preamble, answered)
	s.cfg.Counts.Open.Add(-1)
	_ = pw.CloseWithError(sent) // nil is the end of the body
	if sent == nil {
		c.stall.Reset(s.cfg.Stall) // for the answer
	} else if !errors.Is(sent, errAnswered) {
		cancel(nil)
	}
	a := <-answered
	c.stall.Stop()
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("send stream: %w", errStalled)
	}
	return judge(a, sent)
}

// Ends of a connection, and of all of them.
var (
	errAnswered = errors.New("the answer came before the end")
	errStalled  = errors.New("the endpoint took nothing for too long")
	errLate     = errors.New("it takes too long")
	errClosed   = errors.New("the sender was closed")
)

func do(client *http.Client, req *http.Request) (status int, err error) {
	res, err := client.Do(req)
	if err != nil {
		var quoted *neturl.Error
		if errors.As(err, &quoted) {
			err = quoted.Err // without the URL, which may hold a secret
		}
		return 0, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 4<<10))
	return res.StatusCode, res.Body.Close()
}

// judge says what became of a connection.
func judge(a answer, sent error) error {
	var refused *netguard.RefusedError
	switch {
	case errors.As(a.err, &refused):
		return &Error{Reason: "the destination may not be reached", Refused: true, Err: a.err}
	case a.err != nil:
		return fmt.Errorf("send stream: %w", a.err)
	case blob.PermanentStatus(a.status):
		return &Error{Reason: fmt.Sprintf("the endpoint answered %d", a.status), Refused: true}
	case a.status < 200 || a.status > 299:
		return fmt.Errorf("send stream: the endpoint answered %d", a.status)
	case sent != nil:
		return fmt.Errorf("send stream: it answered %d before it had all: %w", a.status, sent)
	}
	return nil
}

// next is the first number that a connection which begins now sends.
func (s *Sender) next() uint64 {
	if n := s.recent.first(); n > 0 {
		return n
	}
	return s.sent + 1
}

// preamble is the beginning of a connection's body.
func (s *Sender) preamble() ([]byte, error) {
	h := s.cfg.Header
	h.Version, h.Connection, h.SentAt = Version, s.connection, s.cfg.Now().UTC()
	h.Next = s.next()
	if h.Custom == nil {
		h.Custom = map[string]any{}
	}
	text, err := json.Marshal(h)
	if err == nil && len(text) > MaxText {
		err = errors.New("the header is too long")
	}
	return appendRecord([]byte(Magic), KindHeader, text), err
}

// send writes the connection's body.
func (c *connection) send(ctx context.Context, preamble []byte, answered chan answer) error {
	s := c.s
	if err := c.write(preamble, false); err != nil { // signed by the request's header
		return err
	}
	if s.next() > 1 { // else all that was ever told comes now
		if err := c.state(); err != nil {
			return err
		}
	}
	for b := s.recent.b; len(b) > 0; {
		n := min(len(b), chunkBytes)
		if err := c.write(b[:n], true); err != nil {
			return err
		}
		b = b[n:]
	}
	if err := c.sign(); err != nil {
		return err
	}
	s.keyframes()
	flush := time.NewTicker(s.cfg.Flush)
	defer flush.Stop()
	began := s.cfg.Now()
	last := time.Now()
	for {
		over := s.isOver()
		n, err := c.flush()
		if err != nil {
			return err
		}
		if now := s.cfg.Now(); now.Sub(began) > 2*idle { // it is not only there to refuse
			s.away = now
		}
		if n > 0 {
			last = time.Now()
		} else if time.Since(last) >= idle {
			if err := c.sign(); err != nil {
				return err
			}
			last = time.Now()
		}
		if over {
			return c.end()
		}
		select {
		case <-flush.C:
		case <-s.ending:
		case a := <-answered:
			answered <- a
			return errAnswered
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// state tells how things are.
func (c *connection) state() error {
	var b []byte
	for _, e := range c.s.state(c.s.next()) {
		text, err := json.Marshal(e)
		if err != nil || len(text) > MaxText-seqBytes {
			continue // as the event itself was
		}
		b = appendNumbered(b, KindEvent, 0, text)
		if len(b) > chunkBytes {
			if err := c.write(b, true); err != nil {
				return err
			}
			if err := c.sign(); err != nil { // a receiver takes no more than so much unsigned
				return err
			}
			b = b[:0]
		}
	}
	if err := c.write(b, true); err != nil {
		return err
	}
	return c.sign()
}

// flush sends what waits.
func (c *connection) flush() (n int, err error) {
	s := c.s
	for {
		s.mu.Lock()
		b := s.q.take()
		if b == nil {
			s.q.tellGap()
			b = s.q.take()
		}
		s.mu.Unlock()
		if b == nil {
			break
		}
		s.recent.add(b)
		s.sent = lastNumber(b)
		n += len(b)
		err := c.write(b, true)
		gap := hasGap(b)
		s.mu.Lock()
		s.q.give(b)
		s.prune(s.recent.first())
		s.mu.Unlock()
		if err == nil {
			err = c.sign()
		}
		if err != nil {
			return n, err
		}
		if gap {
			s.keyframes()
		}
	}
	if s.missed() {
		return n, c.state()
	}
	return n, nil
}

// keyframes asks for pictures that can be decoded alone, once a second at most.
func (s *Sender) keyframes() {
	if now := s.cfg.Now(); now.Sub(s.asked) >= time.Second {
		s.asked = now
		s.cfg.Keyframes()
	}
}

// end closes the stream.
func (c *connection) end() error {
	c.s.mu.Lock()
	e := c.s.end
	c.s.mu.Unlock()
	e.Connections = c.s.connection
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("end stream: %w", err)
	}
	if err := c.write(appendRecord(nil, KindEnd, text), true); err != nil {
		return err
	}
	return c.sign()
}

// sign says whose all is that was written so far.
func (c *connection) sign() error {
	c.sum = c.mac.Sum(c.sum[:0])
	return c.write(appendRecord(nil, KindSignature, c.sum), true)
}

// write sends bytes, which the next signature is of as well. A receiver that
// takes nothing for Stall ends the connection.
func (c *connection) write(b []byte, count bool) error {
	if len(b) == 0 {
		return nil
	}
	if count {
		c.mac.Write(b)
	}
	c.stall.Reset(c.s.cfg.Stall)
	_, err := c.w.Write(b)
	c.stall.Stop()
	return err
}
