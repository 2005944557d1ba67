//go:build cgo

package onnx_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"stillwatch/models"
	"stillwatch/models/convert"
	"stillwatch/models/keras"
	"stillwatch/models/onnx"
)

// writeModel makes a model folder around an ONNX file. The scaling is RGB/255.
func writeModel(t testing.TB, body []byte, name, input, output string, size int, labels string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	sum := sha256.Sum256(body)
	manifest := fmt.Sprintf(`name: %s
version: "1"
sha256: %s
labels: %s
input: {name: %s, size: %d}
preprocess: {scale: 0.00392156862745098}
output: {name: %s, kind: softmax}
licence: Apache-2.0
source: a test
`, name, hex.EncodeToString(sum[:]), labels, input, size, output)
	for file, b := range map[string][]byte{"model.onnx": body, models.ManifestFile: []byte(manifest)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestEveryLayerConverts holds two random networks, which use every layer in
// its odd corners, against what TensorFlow.js answered.
func TestEveryLayerConverts(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("../testdata/golden/layers.json")
	if err != nil {
		t.Fatal(err)
	}
	var nets map[string]struct {
		Size         int
		File         json.RawMessage
		Shard, Input []byte
		Scores       []float64
	}
	if err := json.Unmarshal(body, &nets); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wide", "tall"} {
		net := nets[name]
		m, err := keras.Parse(net.File, func(string) ([]byte, error) { return net.Shard, nil })
		if err != nil {
			t.Fatal(err)
		}
		graph, err := convert.ONNX(m, convert.Options{Producer: "test", Version: "1"})
		if err != nil {
			t.Fatal(err)
		}
		dir := writeModel(t, graph.Marshal(), name, "input", "output", net.Size, "[a, b, c, d]")
		c, err := load(t).Open(dir, onnx.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Classify(context.Background(), net.Input)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for i, s := range got {
			if d := math.Abs(s.Score - net.Scores[i]); d > 1e-6 {
				t.Errorf("%s: label %s scores %v, want %v (off by %.1e)", name, s.Label, s.Score, net.Scores[i], d)
			}
		}
	}
}
