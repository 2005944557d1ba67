package models_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stillwatch/models"
)

// golden is what the original says; see golden/golden.js.
type golden struct {
	Labels []string                           `json:"labels"`
	Models map[string]map[string]goldenScores `json:"models"`
}

type goldenScores struct {
	TensorSHA256 string    `json:"tensor_sha256"`
	Scores       []float64 `json:"scores"`
	Unrounded    []float64 `json:"unrounded"`
}

func readGolden(t *testing.T) golden {
	t.Helper()
	body, err := os.ReadFile("testdata/golden/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(body, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// picture opens a golden picture: one of the fixtures or of the made ones.
func picture(t *testing.T, name string) image.Image {
	t.Helper()
	dir := "../internal/synthetic/fixtures"
	if strings.HasPrefix(name, "made_") {
		dir = "testdata/golden"
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestSqueezeGivesTheOriginalsBytes(t *testing.T) {
	t.Parallel()
	catalog, err := models.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	g := readGolden(t)
	for _, m := range catalog {
		if len(g.Models[m.Name]) < 8 {
			t.Errorf("%s: %d golden pictures, want 8", m.Name, len(g.Models[m.Name]))
		}
		for name, want := range g.Models[m.Name] {
			sum := sha256.Sum256(m.Preprocess(picture(t, name)))
			if got := hex.EncodeToString(sum[:]); got != want.TensorSHA256 {
				t.Errorf("%s %s: tensor %s, want the original's %s", m.Name, name, got, want.TensorSHA256)
			}
		}
	}
}
