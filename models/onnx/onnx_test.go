//go:build cgo

package onnx_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"stillwatch/models"
	"stillwatch/models/onnx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Where "stillwatch models build" puts things.
const (
	library = "../../build/lib/libonnxruntime.so.1"
	folder  = "../../build/models"
)

func load(t testing.TB) *onnx.Runtime {
	t.Helper()
	if _, err := os.Stat(library); err != nil {
		t.Skip("no inference runtime: run make setup")
	}
	r, err := onnx.New(library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func open(t testing.TB, name string, opt onnx.Options) models.Classifier {
	t.Helper()
	c, err := load(t).Open(filepath.Join(folder, name), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// tensor makes a golden picture into a model's input.
func tensor(t testing.TB, m models.Manifest, name string) []byte {
	t.Helper()
	dir := "../../internal/synthetic/fixtures"
	if strings.HasPrefix(name, "made_") {
		dir = "../testdata/golden"
	}
	return m.Preprocess(openPicture(t, filepath.Join(dir, name)))
}

// TestScoresAreTheOriginals holds the converted models against what the
// original answered to the same bytes, and to the unrounded picture.
func TestScoresAreTheOriginals(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("../testdata/golden/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Models map[string]map[string]struct{ Scores, Unrounded []float64 }
	}
	if err := json.Unmarshal(body, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Models) != 2 {
		t.Fatalf("%d golden models, want 2", len(golden.Models))
	}
	for model, pictures := range golden.Models {
		c := open(t, model, onnx.Options{})
		same, rounded := 0.0, 0.0
		for name, want := range pictures {
			got, err := c.Classify(context.Background(), tensor(t, c.Manifest(), name))
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range got {
				same = max(same, math.Abs(s.Score-want.Scores[i]))
				rounded = max(rounded, math.Abs(s.Score-want.Unrounded[i]))
			}
		}
		t.Logf("%s: |Δp| %.1e on the same bytes, %.1e on the unrounded picture", model, same, rounded)
		if same >= 1e-5 {
			t.Errorf("%s: |Δp| %.1e on the same bytes, want below 1e-5", model, same)
		}
		if rounded >= 5e-3 {
			t.Errorf("%s: |Δp| %.1e on the unrounded picture, want below 5e-3", model, rounded)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, name := range []string{"mobilenet_v2", "inception_v3"} {
		b.Run(name, func(b *testing.B) {
			c := open(b, name, onnx.Options{})
			rgb := tensor(b, c.Manifest(), "abstract_porn_1.png")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Classify(context.Background(), rgb); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
