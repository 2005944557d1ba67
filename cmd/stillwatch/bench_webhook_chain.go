package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"stillwatch/actions"
	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/cmd/stillwatch/internal/meter"
	"stillwatch/internal/blob"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/netguard"
	"stillwatch/internal/service"
)

// benchCalls and benchPerCall are how many participants the frames are of.
const (
	benchCalls   = 100
	benchPerCall = 20
)

// benchChain is what is between a captured frame and a backend, with nothing
// else of the program around it.
type benchChain struct {
	group   service.Group
	bus     *bus.Bus
	db      *db.DB
	hooks   *delivery.Sender
	witness *arrivals

	frames, actions int
}

func newBenchChain(ctx context.Context, dir string, hanging bool) (c *benchChain, err error) {
	c = &benchChain{witness: &arrivals{}}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	redis := bus.NewServer(filepath.Join(dir, "redis"))
	if err := c.begin(ctx, "redis", redis); err != nil {
		return c, err
	}
	if c.bus, err = bus.Open(ctx, bus.Config{URL: redis.URL()}); err != nil {
		return c, err
	}
	c.group.Add("bus", closing(c.bus.Close))
	if c.db, err = db.Open(ctx, "sqlite://"+filepath.Join(dir, "bench.db")); err != nil {
		return c, err
	}
	c.group.Add("database", closing(c.db.Close))
	blobs, err := blob.Open(ctx, blob.Config{URL: (&url.URL{Scheme: "file", Path: dir}).String(), Key: make([]byte, 32), PublicURL: "http://127.0.0.1"})
	if err != nil {
		return c, err
	}
	c.group.Add("objects", closing(blobs.Close))
	if err := c.begin(ctx, "outbox relay", db.NewRelay(c.db, c.bus, db.RelayConfig{})); err != nil {
		return c, err
	}
	if err := c.receivers(ctx, hanging); err != nil {
		return c, err
	}
	client := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	c.group.Add("client", closing(client.Close))
	c.hooks = delivery.New(delivery.Config{
		DB: c.db, Bus: c.bus, Transports: map[string]delivery.Transport{
			webhook.HookType: webhook.New(webhook.Config{Client: client, Plain: client, APIKey: "bench", APISecret: randomText(36)}),
		},
	})
	if err := c.begin(ctx, "delivery", c.hooks); err != nil {
		return c, err
	}
	return c, c.begin(ctx, "notifier", actions.NewNotifier(actions.NotifierConfig{
		DB: c.db, Bus: c.bus, Signer: blobs, Sinks: []actions.FrameSink{c.hooks},
	}))
}

func (c *benchChain) begin(ctx context.Context, name string, s service.Service) error {
	c.group.Add(name, s)
	return c.group.Start(ctx)
}

func (c *benchChain) close() { _ = c.group.Close() } // what the phase showed is known by now

// receivers makes a hook for a receiver that notes what comes, and one for a
// receiver that lets requests hang.
func (c *benchChain) receivers(ctx context.Context, hanging bool) error {
	handlers := map[string]http.HandlerFunc{"answers": c.witness.receive}
	if hanging {
		handlers["hangs"] = func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server sees that the client has gone
			<-r.Context().Done()
		}
	}
	for id, h := range handlers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen for webhooks: %w", err)
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Serve(l) }) // ends with Close
		c.group.Add("receiver", closing(func() error { err := srv.Close(); wg.Wait(); return err }))
		row := db.HookRow{ID: id, HookType: webhook.HookType, Enabled: true, WebhookURL: "http://" + l.Addr().String() + "/", TimeoutMS: 6000}
		row.EventTypes.V, row.Settings.V = []string{}, json.RawMessage("{}")
		if _, err := c.db.NewInsert().Model(&row).Exec(ctx); err != nil {
			return fmt.Errorf("make hook: %w", err)
		}
	}
	return c.group.Start(ctx)
}

// publish sends frames and actions at a steady rate, in slices of 10 ms.
func (c *benchChain) publish(ctx context.Context, rate, perSecond int, lasts time.Duration) error {
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := time.Now()
		since := min(now.Sub(start), lasts)
		var evs []event.Envelope
		for due := int(since.Seconds() * float64(rate)); c.frames < due; c.frames++ {
			evs = append(evs, benchFrame(c.frames, now))
		}
		if err := c.bus.Publish(ctx, event.TopicFrames, evs...); err != nil {
			return err
		}
		for due := int(since.Seconds() * float64(perSecond)); c.actions < due; c.actions++ {
			if err := c.db.Emit(ctx, event.TopicPublic, benchAction(c.actions, now)); err != nil {
				return err
			}
		}
		if since == lasts {
			return nil
		}
	}
}

func benchFrame(n int, now time.Time) event.Envelope {
	call, user := n%benchCalls, n/benchCalls%benchPerCall
	f := event.FrameReady{
		FrameID: event.NewID(), CID: fmt.Sprintf("default:bench-%d", call), CallType: "default", SessionID: fmt.Sprint("session-", call),
		EgressID: fmt.Sprint("egress-", call), UserID: fmt.Sprintf("user-%d-%d", call, user), TrackID: fmt.Sprintf("track-%d-%d", call, user),
		TrackType: event.TrackVideo, Codec: event.VP8, CapturedAt: now, ObjectKey: fmt.Sprintf("frames/bench-%d/%d.jpg", call, n), Width: 1280, Height: 720,
	}
	return event.New(event.TypeFrameReady, f.CID+"/"+f.UserID, now, f)
}

func benchAction(n int, now time.Time) event.Envelope {
	user := event.User{ID: fmt.Sprint("user-", n)}
	return event.New(event.UserBanned, "default:bench/"+user.ID, now, event.UserBan{
		Type: event.UserBanned, CreatedAt: now, User: user, CreatedBy: event.User{ID: "bench"}, Reason: "bench", Custom: map[string]any{},
	})
}

// drain waits until all has arrived, at most for limit, or until nothing came
// for two seconds.
func (c *benchChain) drain(ctx context.Context, limit time.Duration) {
	quiet, last := time.Now(), -1
	for end := time.Now().Add(limit); time.Now().Before(end) && time.Since(quiet) < 2*time.Second; {
		n := c.witness.count()
		if n >= c.frames+c.actions {
			return
		}
		if n != last {
			quiet, last = time.Now(), n
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
			return
		}
	}
}

// arrivals notes how long events took.
type arrivals struct {
	mu     sync.Mutex
	frames []time.Duration
	acts   []time.Duration
}

func (a *arrivals) receive(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	var ev struct {
		Type       string    `json:"type"`
		CreatedAt  time.Time `json:"created_at"`
		CapturedAt time.Time `json:"captured_at"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err = errors.Join(err, json.Unmarshal(body, &ev)); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if ev.Type == event.CallFrameRecordingReady {
		a.frames = append(a.frames, now.Sub(ev.CapturedAt))
		return
	}
	a.acts = append(a.acts, now.Sub(ev.CreatedAt))
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.frames) + len(a.acts)
}

func (a *arrivals) sum(took time.Duration) webhookPhase {
	a.mu.Lock()
	defer a.mu.Unlock()
	return webhookPhase{
		Delivered: len(a.frames), PerSecond: float64(len(a.frames)) / took.Seconds(), LatencyMS: meter.Summarise(a.frames),
		ActionsArrived: len(a.acts), ActionLatencyMS: meter.Summarise(a.acts),
	}
}
