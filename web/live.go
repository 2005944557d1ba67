package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"stillwatch/internal/event"
)

const (
	// liveClients bounds the streams that are open at once.
	liveClients = 256
	// liveBacklog is how many events may wait for one client. One that falls
	// further behind is cut off; it comes back and is told the state anew.
	liveBacklog = 256
	// liveHeartbeat keeps proxies from closing a silent stream.
	liveHeartbeat = 15 * time.Second
	// liveWrite is how long one write to a client may take.
	liveWrite = 10 * time.Second
	// liveLife ends a stream, so that a login that was taken back does not go
	// on seeing. The browser opens a new one by itself.
	liveLife = time.Hour
	// liveRetry is how long the browser waits before that, in milliseconds.
	liveRetry = 1000
	// tailPause is the time between two attempts to follow a topic.
	tailPause = time.Second
)

// liveEvent is one event of the stream: its name, whose call it concerns, and
// its data as JSON.
type liveEvent struct {
	name, cid string
	data      []byte
}

func (e liveEvent) write(w http.ResponseWriter) error {
	_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.name, e.data)
	return err
}

type liveClient struct {
	cid    string // only this call, if not empty
	events chan liveEvent
	// gone is closed when the client is cut off or the hub closes.
	gone chan struct{}
}

// hub follows the bus, keeps the newest state of every participant, and gives
// both to every client. It keeps names of objects, never pictures.
type hub struct {
	cfg    Config
	cancel context.CancelFunc
	wg     sync.WaitGroup
	names  *nameCache
	cut    prometheus.Counter

	mu      sync.Mutex
	closed  bool
	clients map[*liveClient]struct{}
	wall    *wall
}

func newHub(cfg Config) *hub {
	if cfg.WallSigner != nil {
		cfg.Signer = cfg.WallSigner
	}
	h := &hub{cfg: cfg, names: newNameCache(cfg), clients: map[*liveClient]struct{}{}, wall: newWall()}
	h.cut = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "stillwatch", Name: "live_clients_cut_total", Help: "Live streams that were cut off because they fell behind.",
	})
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(h.cut, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "stillwatch", Name: "live_clients", Help: "Live streams that are open.",
		}, func() float64 {
			h.mu.Lock()
			defer h.mu.Unlock()
			return float64(len(h.clients))
		}))
	}
	return h
}

// start follows the topics until close.
func (h *hub) start() {
	ctx, cancel := context.WithCancel(context.Background())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		cancel()
		return
	}
	h.cancel = cancel
	for _, topic := range []event.Topic{event.TopicFrames, event.TopicVerdicts, event.TopicActions, event.TopicConfirmed, event.TopicPublic} {
		h.wg.Go(func() { h.follow(ctx, topic) })
	}
}

func (h *hub) follow(ctx context.Context, topic event.Topic) {
	for {
		err := h.cfg.Live.Tail(ctx, topic, func(ev event.Envelope) { h.take(ctx, ev) })
		if ctx.Err() != nil {
			return
		}
		h.cfg.Log.Warn("live stream lost a topic; trying again", "topic", topic, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(tailPause):
		}
	}
}

// take turns an event of the bus into one of the stream.
func (h *hub) take(ctx context.Context, ev event.Envelope) {
	live, ok := h.translate(ctx, ev)
	if !ok {
		return
	}
	data, err := json.Marshal(live.body)
	if err != nil {
		h.cfg.Log.Error("live event cannot be written", "type", ev.Type, "error", err)
		return
	}
	out := liveEvent{name: live.name, cid: live.cid, data: data}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wall.put(live, out, h.cfg.Now())
	for c := range h.clients {
		if c.cid != "" && c.cid != out.cid {
			continue
		}
		select {
		case c.events <- out:
		default:
			h.dropLocked(c)
			h.cut.Inc()
		}
	}
}

func (h *hub) dropLocked(c *liveClient) {
	if _, ok := h.clients[c]; ok {
		delete(h.clients, c)
		close(c.gone)
	}
}

// join adds a client. state is what it is told first; nothing that follows is
// missed between the two.
func (h *hub) join(cid string) (c *liveClient, state []liveEvent, err error) {
	c = &liveClient{cid: cid, events: make(chan liveEvent, liveBacklog), gone: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.clients) >= liveClients {
		return nil, nil, fail(http.StatusServiceUnavailable, CodeUnavailable, "no more than %d live streams at once", liveClients)
	}
	h.clients[c] = struct{}{}
	return c, h.wall.state(cid, h.cfg.Now()), nil
}

func (h *hub) leave(c *liveClient) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropLocked(c)
}

func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	for c := range h.clients {
		h.dropLocked(c)
	}
	cancel := h.cancel
	h.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	h.wg.Wait()
}

// live serves the stream as server-sent events (HTML standard, section 9.2).
func (s *Server) live(c echo.Context) error {
	cid := c.QueryParam("cid")
	if cid != "" {
		if _, _, err := splitCID("cid", cid); err != nil {
			return err
		}
	}
	client, state, err := s.hub.join(cid)
	if err != nil {
		return err
	}
	defer s.hub.leave(client)
	w := c.Response()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	stream := &liveStream{w: w, control: http.NewResponseController(w)}
	if err := stream.send(func() error { return hello(w, state) }); err != nil {
		return nil // the client has left
	}
	return s.pump(c.Request().Context(), stream, client, s.lifeOf(c))
}

// hello sends the state, and "ready" behind it.
func hello(w http.ResponseWriter, state []liveEvent) error {
	if _, err := fmt.Fprintf(w, "retry: %d\n\n", liveRetry); err != nil {
		return err
	}
	for _, e := range state {
		if err := e.write(w); err != nil {
			return err
		}
	}
	return liveEvent{name: "ready", data: []byte("{}")}.write(w)
}

// lifeOf is how long the caller's stream may last.
func (s *Server) lifeOf(c echo.Context) time.Duration {
	life := liveLife
	if end := caller(c).ExpiresAt; !end.IsZero() {
		life = min(life, end.Sub(s.cfg.Now()))
	}
	return max(life, 0)
}

func (s *Server) pump(ctx context.Context, stream *liveStream, client *liveClient, life time.Duration) error {
	beat := time.NewTicker(liveHeartbeat)
	defer beat.Stop()
	end := time.NewTimer(life)
	defer end.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-end.C:
			return nil
		case <-client.gone:
			return nil
		case <-beat.C:
			err = stream.send(func() error { _, err := fmt.Fprint(stream.w, ": beat\n\n"); return err })
		case e := <-client.events:
			err = stream.send(func() error { return e.write(stream.w) })
		}
		if err != nil {
			return nil // the client has left
		}
	}
}

type liveStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// send writes with a deadline of its own: the server's would end the stream.
func (l *liveStream) send(write func() error) error {
	if err := l.control.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	return l.control.Flush()
}
