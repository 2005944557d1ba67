package stream

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/recording/raw"
)

func eventRecord(seq uint64, kind raw.EntryKind) []byte {
	return appendNumbered(nil, KindEvent, seq, []byte(`{"kind":"`+string(kind)+`","user_id":"ann"}`))
}

// What is not signed is told to nobody, and what comes again signed is.
func TestReceiverTellsOfWhatIsSigned(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	b := connectionOf(t, 1, eventRecord(1, raw.Joined))
	b = append(b, eventRecord(2, raw.Left)...)
	forged := append(bytes.Clone(b), appendRecord(nil, KindSignature, make([]byte, sumBytes))...)
	if got := post(t, h, forged, nil); got != http.StatusUnauthorized {
		t.Fatalf("answered %d", got)
	}
	if h.count("joined") != 1 || h.count("left") != 0 {
		t.Errorf("told of %+v", h.reports)
	}
	end := appendRecord(nil, KindEnd, []byte(`{"reason":"ended"}`))
	if got := post(t, h, connectionOf(t, 2, eventRecord(1, raw.Joined), eventRecord(2, raw.Left), end), nil); got != http.StatusOK {
		t.Fatalf("answered %d", got)
	}
	if h.count("joined") != 1 || h.count("left") != 1 || h.count("end") != 1 {
		t.Errorf("then told of %+v", h.reports)
	}
	for _, r := range h.reports {
		if r.Missing != 0 {
			t.Errorf("it misses something: %+v", r)
		}
	}
}

// A connection that follows does not read what came again.
func TestReceiverRemembersBetweenConnections(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	if got := post(t, h, connectionOf(t, 1, eventRecord(1, raw.Joined)), nil); got != http.StatusRequestTimeout {
		t.Fatalf("answered %d", got)
	}
	// Nobody who read it could go on.
	if err := os.WriteFile(filepath.Join(h.dir, "run-1", fileName(1)), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	end := appendRecord(nil, KindEnd, []byte(`{"reason":"ended"}`))
	if got := post(t, h, connectionOf(t, 2, eventRecord(1, raw.Joined), eventRecord(2, raw.Left), end), nil); got != http.StatusOK {
		t.Fatalf("answered %d", got)
	}
	if h.count("joined") != 1 || h.count("left") != 1 {
		t.Errorf("told of %+v", h.reports)
	}
	for n := range 2 * maxLasts {
		id := fmt.Sprint(n)
		run, err := h.r.enter(id, 1)
		if err != nil {
			t.Fatal(err)
		}
		run.known = true
		h.r.leave(id, run)
	}
	if len(h.r.lasts) != maxLasts || len(h.r.runs) != 0 {
		t.Errorf("%d are remembered, %d are received", len(h.r.lasts), len(h.r.runs))
	}
}

// deadlines are those that a body's reading was given.
type deadlines struct {
	http.ResponseWriter
	n int
}

func (d *deadlines) SetReadDeadline(time.Time) error {
	d.n++
	return nil
}

// A preamble that trickles in has one deadline; what follows has one each.
func TestPreamblesHaveOneDeadline(t *testing.T) {
	t.Parallel()
	now := started
	d := &deadlines{ResponseWriter: httptest.NewRecorder()}
	body := &timed{r: bytes.NewReader(make([]byte, 100)), control: http.NewResponseController(d), idle: time.Second, now: func() time.Time { return now }}
	read := func() {
		for range 10 {
			now = now.Add(time.Second)
			if _, err := body.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	read()
	if d.n != 1 {
		t.Errorf("the preamble had %d deadlines", d.n)
	}
	body.begin()
	read()
	if d.n != 11 {
		t.Errorf("then there were %d", d.n)
	}
}
