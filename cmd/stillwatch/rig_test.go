package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/config"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"
)

// buildDir is where make setup puts models and where clips are kept.
const buildDir = "../../build"

// rig is a program under test, with a receiver for its webhooks.
type rig struct {
	*Program
	t    *testing.T
	hook *receiver
}

// settings are those of one machine with everything embedded, in dir.
func settings(t *testing.T, dir string, env ...string) config.Config {
	t.Helper()
	abs := func(rel string) string {
		p, err := filepath.Abs(filepath.Join(buildDir, rel))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(p); err != nil {
			t.Fatalf("%s is missing: run make setup", p)
		}
		return p
	}
	env = append([]string{
		"STILLWATCH_DATA_DIR=" + dir,
		fmt.Sprintf("STILLWATCH_HTTP_LISTEN=127.0.0.1:%d", testkit.FreePort(t)),
		fmt.Sprintf("STILLWATCH_MEDIA_LISTEN=127.0.0.1:%d", testkit.FreePort(t)),
		"STILLWATCH_MODELS_DIR=" + abs("models"),
		"STILLWATCH_MODELS_RUNTIME=" + abs("lib/libonnxruntime.so.1"),
		"STILLWATCH_NETGUARD_ALLOW=127.0.0.0/8",
	}, env...)
	cfg, err := config.Load("", env)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// startRig starts the program as `serve` does.
func startRig(t *testing.T, env ...string) *rig {
	t.Helper()
	hook := newReceiver(t)
	cfg := settings(t, t.TempDir(), append([]string{"STILLWATCH_WEBHOOK_URL=" + hook.url}, env...)...)
	p := NewProgram(cfg, slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &rig{Program: p, t: t, hook: hook}
}

// testLog sends the program's log to the test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil { // the log of a test that has ended panics
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func (r *rig) token(user, role string, cids ...string) string {
	return r.Auth().UserToken(auth.UserClaims{UserID: user, Role: role, CallCIDs: cids, ExpiresAt: time.Now().Add(time.Hour)})
}

// clip encodes a fixture once and keeps it in the build folder.
func clip(t *testing.T, picture string, codec event.Codec) *synthetic.Clip {
	t.Helper()
	c, err := synthetic.MakeClip(t.Context(), filepath.Join(buildDir, "clips"), synthetic.ClipConfig{Picture: picture, Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// join publishes a clip until the test ends or the server closes it.
func (r *rig) join(call, user string, c *synthetic.Clip) (*synthetic.Publisher, error) {
	typ, id, _ := strings.Cut(call, ":")
	p := synthetic.NewPublisher(synthetic.PublisherConfig{URL: r.URL() + "/whip/" + typ + "/" + id, Token: r.token(user, ""), Clip: c})
	r.t.Cleanup(func() { p.Close() })
	return p, p.Start(r.t.Context())
}

func (r *rig) mustJoin(call, user string, c *synthetic.Clip) *synthetic.Publisher {
	r.t.Helper()
	p, err := r.join(call, user, c)
	if err != nil {
		r.t.Fatalf("%s joins %s: %v", user, call, err)
	}
	return p
}

// api makes a request as the backend and decodes the answer into out.
func (r *rig) api(method, path, body string, out any) int {
	r.t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.URL()+path+sep+"api_key="+r.Auth().Key(), strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", r.Auth().ServerToken())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			r.t.Fatalf("%s %s: %s: %s", method, path, resp.Status, b)
		}
	}
	return resp.StatusCode
}

// receiver takes webhooks and keeps them.
type receiver struct {
	url string

	mu  sync.Mutex
	got []arrival
}

type arrival struct {
	at        time.Time
	id, sig   string
	body      []byte
	eventType string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	l := listen(t)
	r.url = "http://" + l.Addr().String() + "/hook"
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var head struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(body, &head)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, arrival{time.Now(), req.Header.Get("X-WEBHOOK-ID"), req.Header.Get("X-SIGNATURE"), body, head.Type})
}

// of returns the deliveries of a type.
func (r *receiver) of(eventType string) []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []arrival
	for _, d := range r.got {
		if d.eventType == eventType {
			out = append(out, d)
		}
	}
	return out
}
