//go:build cgo

package onnx_test

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"stillwatch/internal/event"
	"stillwatch/models"
	"stillwatch/models/onnx"
)

// TestScoresAreBitEqual: the same bytes give the same scores, run after run,
// in every place of a pool at once, and in another pool.
func TestScoresAreBitEqual(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, runs := range map[string]int{"mobilenet_v2": 100, "inception_v3": 12} {
		a := open(t, name, onnx.Options{Sessions: 3})
		b := open(t, name, onnx.Options{})
		rgb := tensor(t, a.Manifest(), "made_scene.png")
		want, err := b.Classify(ctx, rgb)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 { // one more than there are places
			all.Go(func() {
				for range runs / 4 {
					if got, err := a.Classify(ctx, rgb); err != nil || !slices.Equal(got, want) {
						t.Errorf("%s: scores %v, %v, want exactly %v", name, got, err, want)
					}
				}
			})
		}
		all.Wait()
	}
}

// TestCascadeOnTheFixtures runs the whole way: registry, both models, the
// cascade.
func TestCascadeOnTheFixtures(t *testing.T) {
	t.Parallel()
	r := load(t)
	reg := models.NewRegistry(models.RegistryConfig{Dir: folder, Open: func(m models.Manifest) (models.Classifier, error) {
		return r.OpenModel(m, onnx.Options{})
	}})
	if err := reg.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	c := models.NewCascade(models.CascadeConfig{Models: reg})
	for file, want := range map[string]struct {
		label  string
		models int
	}{
		"abstract_porn_1.png":    {"Porn", 2},
		"abstract_sexy_1.png":    {"Sexy", 2},
		"abstract_hentai_1.png":  {"Hentai", 2},
		"abstract_neutral_1.png": {"Neutral", 1},
		"abstract_drawing_1.png": {"Drawing", 1},
	} {
		img := openPicture(t, filepath.Join("../../internal/synthetic/fixtures", file))
		res := c.Look(context.Background(), func(size int) ([]byte, error) { return models.Squeeze(img, size), nil })
		if res.State != event.VerdictKnown || len(res.Models) != want.models {
			t.Errorf("%s: state %s (%s), %d models, want %d", file, res.State, res.Reason, len(res.Models), want.models)
			continue
		}
		i := slices.IndexFunc(res.Scores, func(s event.Score) bool { return s.Label == want.label })
		if i < 0 || res.Scores[i].Score < 0.98 {
			t.Errorf("%s: scores %v, want %s above 0.98", file, res.Scores, want.label)
		}
	}
}
