package models_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"stillwatch/internal/event"
	"stillwatch/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a classifier that answers what it is told to.
type fake struct {
	manifest models.Manifest
	scores   []float64
	err      error
	entered  chan struct{} // if set, gets a value when a picture comes in
	leave    chan struct{} // if set, is waited for before the answer
	asked    atomic.Int64
	closed   atomic.Bool
}

func (f *fake) Manifest() models.Manifest { return f.manifest }

func (f *fake) Close() error {
	f.closed.Store(true)
	return nil
}

func (f *fake) Classify(ctx context.Context, rgb []byte) ([]event.Score, error) {
	f.asked.Add(1)
	if f.entered != nil {
		f.entered <- struct{}{}
		<-f.leave
	}
	if f.closed.Load() {
		return nil, models.ErrClosed
	}
	if n := f.manifest.Input.Size; len(rgb) != n*n*3 {
		return nil, models.ErrTensor
	}
	if f.err != nil {
		return nil, f.err
	}
	var out []event.Score
	for i, l := range f.manifest.Labels {
		out = append(out, event.Score{Label: l, Score: f.scores[i]})
	}
	return out, nil
}

// manifestText is a small valid manifest for a file with the given hash.
func manifestText(name, version, hash string) string {
	return fmt.Sprintf(`name: %s
version: %q
sha256: %s
labels: [Neutral, Porn]
input: {size: 8}
output: {kind: softmax}
licence: MIT
source: a test
`, name, version, hash)
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	// By rename, so that a reader sees the old file or the new one.
	if err := os.WriteFile(path+".tmp", []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

// shelf is a Lender of fakes.
type shelf map[string]*fake

func (s shelf) Get(name string) (models.Classifier, func(), error) {
	f, ok := s[name]
	if !ok {
		return nil, nil, fmt.Errorf("use model %s: %w", name, models.ErrMissing)
	}
	return f, func() {}, nil
}

// opener opens fakes and remembers them by version.
type opener struct {
	mu   sync.Mutex
	made map[string]*fake
}

func (o *opener) open(m models.Manifest) (models.Classifier, error) {
	body, err := m.Read()
	if err != nil {
		return nil, err
	}
	if string(body) == "garbage" {
		return nil, errors.New("no graph in it")
	}
	f := &fake{manifest: m, scores: []float64{0.5, 0.5}}
	if string(body) == "nan" {
		f.err = models.ErrOutput
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.made == nil {
		o.made = map[string]*fake{}
	}
	o.made[m.Version] = f
	return f, nil
}

func (o *opener) get(version string) *fake {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.made[version]
}
