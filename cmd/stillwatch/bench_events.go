package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"stillwatch/internal/event"
)

// witness notes when events reach the outside: frame events and bans at a
// webhook receiver, verdicts and confirmations on the live stream.
type witness struct {
	server *http.Server
	url    string
	wg     sync.WaitGroup

	mu      sync.Mutex
	latency map[string][]time.Duration // by event type
	pending map[string]half
	bad     int
}

func newWitness() (*witness, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	w := &witness{url: "http://" + l.Addr().String() + "/", latency: map[string][]time.Duration{}, pending: map[string]half{}}
	w.server = &http.Server{Handler: http.HandlerFunc(w.receive), ReadHeaderTimeout: 5 * time.Second}
	w.wg.Add(1)
	go func() { defer w.wg.Done(); _ = w.server.Serve(l) }() // ends with Close
	return w, nil
}

// receive takes a webhook.
func (w *witness) receive(rw http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var ev struct {
		Type       string    `json:"type"`
		CapturedAt time.Time `json:"captured_at"`
	}
	if err != nil || json.Unmarshal(body, &ev) != nil || r.Header.Get("X-SIGNATURE") == "" {
		w.note("", 0)
		return
	}
	if ev.Type == event.CallFrameRecordingReady {
		w.note(ev.Type, now.Sub(ev.CapturedAt))
	}
}

func (w *witness) note(typ string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if typ == "" {
		w.bad++
		return
	}
	w.latency[typ] = append(w.latency[typ], took)
}

// series returns and forgets what was noted of a type.
func (w *witness) series(typ string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.latency[typ]
	delete(w.latency, typ)
	return s
}

// follow reads the live stream until ctx ends.
func (w *witness) follow(ctx context.Context, s *childServer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v2/stillwatch/live?api_key="+s.auth.Key(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", s.auth.ServerToken())
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return fmt.Errorf("open live stream: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("open live stream: %s: %s", resp.Status, text)
	}
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		defer resp.Body.Close()
		w.read(resp.Body)
	}()
	return nil
}

func (w *witness) read(body io.Reader) {
	sc := bufio.NewScanner(body)
	sc.Buffer(nil, 1<<20)
	kind := ""
	for sc.Scan() {
		if name, ok := strings.CutPrefix(sc.Text(), "event: "); ok {
			kind = name
		}
		if data, ok := strings.CutPrefix(sc.Text(), "data: "); ok {
			w.live(kind, data, time.Now())
		}
	}
}

// live notes verdicts by the moment they arrive here, and confirmed bans by
// the moment the server wrote down, which is when the media had stopped.
func (w *witness) live(kind, data string, now time.Time) {
	var ev struct {
		FrameID    string           `json:"frame_id"`
		CapturedAt time.Time        `json:"captured_at"`
		Kind       event.ActionKind `json:"kind"`
		State      string           `json:"state"`
		TookMS     *float64         `json:"captured_to_confirmed_ms"`
	}
	if json.Unmarshal([]byte(data), &ev) != nil {
		w.note("", 0)
		return
	}
	switch {
	case kind == "frame":
		w.pair(ev.FrameID, ev.CapturedAt, time.Time{})
	case kind == "verdict":
		w.pair(ev.FrameID, time.Time{}, now)
	case kind == "action" && ev.Kind == event.ActionBan && ev.State == "confirmed" && ev.TookMS != nil:
		w.note("ban", time.Duration(*ev.TookMS*float64(time.Millisecond)))
	}
}

// pair notes a verdict's latency once both its frame, which knows when it was
// captured, and the verdict have arrived; their order is not fixed.
func (w *witness) pair(frameID string, captured, verdict time.Time) {
	w.mu.Lock()
	half := w.pending[frameID]
	if !captured.IsZero() {
		half.captured = captured
	}
	if !verdict.IsZero() {
		half.verdict = verdict
	}
	whole := !half.captured.IsZero() && !half.verdict.IsZero()
	if whole || len(w.pending) > 10000 {
		delete(w.pending, frameID)
	} else {
		w.pending[frameID] = half
	}
	w.mu.Unlock()
	if whole {
		w.note("verdict", half.verdict.Sub(half.captured))
	}
}

// half is what is known of a frame whose verdict is to be timed.
type half struct{ captured, verdict time.Time }

func (w *witness) close() {
	_ = w.server.Close()
	w.wg.Wait()
}
