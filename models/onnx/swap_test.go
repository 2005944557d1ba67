//go:build cgo

package onnx_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/models"
	"stillwatch/models/onnx"
)

// TestSwapUnderLoad replaces a model five times while pictures are looked at:
// each picture gets the answer of the version that it was lent.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	r := load(t)
	dir := filepath.Join(t.TempDir(), "models")
	install := func(version int) {
		t.Helper()
		body := means(8, models.NCHW, false, float32(version)/10)
		from := writeModel(t, body, "means", "picture", "means", 8, "[r, g, b]")
		file := fmt.Sprintf("v%d.onnx", version)
		text, err := os.ReadFile(filepath.Join(from, models.ManifestFile))
		if err != nil {
			t.Fatal(err)
		}
		manifest := strings.NewReplacer("softmax", "sigmoid", `"1"`, fmt.Sprintf(`"%d"`, version)).Replace(string(text)) + "file: " + file + "\n"
		to := filepath.Join(dir, "means")
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		// The file first, then the manifest by rename: that is the swap.
		if err := os.WriteFile(filepath.Join(to, file), body, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, ".new"), []byte(manifest), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(to, ".new"), filepath.Join(to, models.ManifestFile)); err != nil {
			t.Fatal(err)
		}
	}
	install(1)
	reg := models.NewRegistry(models.RegistryConfig{
		Dir: dir, Poll: time.Hour, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Open: func(m models.Manifest) (models.Classifier, error) { return r.OpenModel(m, onnx.Options{Sessions: 2}) },
	})
	if err := reg.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer reg.Close()

	stop := make(chan struct{})
	var lookers sync.WaitGroup
	for range 3 {
		lookers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := lookOnce(reg); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for version := 2; version <= 6; version++ {
		install(version)
		if err := reg.Reload(); err != nil {
			t.Error(err)
		}
		if s := reg.Statuses(); len(s) != 1 || s[0].Version != fmt.Sprint(version) {
			t.Errorf("after the swap to %d: %+v", version, s)
		}
	}
	close(stop)
	lookers.Wait()
}

// lookOnce asks the means model about one picture and checks the answer
// against the version that gave it.
func lookOnce(reg *models.Registry) error {
	c, release, err := reg.Get("means")
	if err != nil {
		return err
	}
	defer release()
	got, err := c.Classify(context.Background(), colours())
	if err != nil {
		return err
	}
	var version float64
	if _, err := fmt.Sscan(c.Manifest().Version, &version); err != nil {
		return err
	}
	if want := 0.8 * version / 10; math.Abs(got[2].Score-want) > 1e-5 {
		return fmt.Errorf("version %v scores %v, want %v", version, got[2].Score, want)
	}
	return nil
}
