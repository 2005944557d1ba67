package models_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"stillwatch/internal/event"
	"stillwatch/models"
)

var fiveLabels = []string{"Drawing", "Hentai", "Neutral", "Porn", "Sexy"}

func model(name string, size int, scores ...float64) *fake {
	return &fake{
		manifest: models.Manifest{Name: name, Version: "1", SHA256: "ab", Labels: fiveLabels, Input: models.Input{Size: size}},
		scores:   scores,
	}
}

func picturesOf(size int) ([]byte, error) { return make([]byte, size*size*3), nil }

func scoreOf(t *testing.T, scores []event.Score, label string) float64 {
	t.Helper()
	for _, s := range scores {
		if s.Label == label {
			return s.Score
		}
	}
	t.Fatalf("no score of %s in %v", label, scores)
	return 0
}

func TestCascadeAsksTheLargeModelOnlyWhenNeeded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		small  []float64
		large  bool
		porn   float64
		models int
	}{
		{"harmless", []float64{0.1, 0.1, 0.6, 0.1, 0.1}, false, 0.1, 1},
		{"drawing is not watched", []float64{0.9, 0.02, 0.03, 0.03, 0.02}, false, 0.03, 1},
		{"at the threshold", []float64{0, 0, 0.75, 0.25, 0}, false, 0.25, 1},
		{"just above it", []float64{0, 0, 0.74, 0.26, 0}, true, 0.26, 2},
		{"both sure", []float64{0, 0, 0, 1, 0}, true, 0.6, 2},
		{"another label is high", []float64{0, 0.5, 0.3, 0.2, 0}, true, 0.2, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			large := model(models.DefaultLarge, 12, 0.1, 0.1, 0.1, 0.6, 0.1)
			c := models.NewCascade(models.CascadeConfig{Models: shelf{
				models.DefaultSmall: model(models.DefaultSmall, 8, test.small...),
				models.DefaultLarge: large,
			}})
			got := c.Look(context.Background(), picturesOf)
			if got.State != event.VerdictKnown || got.Err != nil {
				t.Fatalf("state %s, %v", got.State, got.Err)
			}
			if asked := large.asked.Load() > 0; asked != test.large {
				t.Errorf("large model asked: %t, want %t", asked, test.large)
			}
			if p := scoreOf(t, got.Scores, "Porn"); p != test.porn {
				t.Errorf("combined Porn %v, want %v", p, test.porn)
			}
			if len(got.Models) != test.models {
				t.Fatalf("%d models looked, want %d", len(got.Models), test.models)
			}
			if m := got.Models[0]; m.Model != models.DefaultSmall || m.SHA256 != "ab" || len(m.TensorSHA256) != 64 || len(m.Scores) != 5 {
				t.Errorf("small model's entry is incomplete: %+v", m)
			}
		})
	}
}

func TestCascadeIsUnknownWhenANeededModelFails(t *testing.T) {
	t.Parallel()
	sure := func(name string) *fake { return model(name, 8, 0, 0, 0, 1, 0) }
	failing := func(name string, err error) *fake {
		f := sure(name)
		f.err = err
		return f
	}
	noPicture := func(int) ([]byte, error) { return nil, errors.New("object is gone") }
	for _, test := range []struct {
		name    string
		shelf   shelf
		tensors func(int) ([]byte, error)
		reason  string
		models  int
	}{
		{"no small model", shelf{"large": sure("large")}, picturesOf, "missing", 0},
		{"no large model", shelf{"small": sure("small")}, picturesOf, "missing", 1},
		{"small gives NaN", shelf{"small": failing("small", models.ErrOutput), "large": sure("large")}, picturesOf, "no valid scores", 0},
		{"large is busy", shelf{"small": sure("small"), "large": failing("large", models.ErrBusy)}, picturesOf, "busy", 1},
		{"no picture", shelf{"small": sure("small"), "large": sure("large")}, noPicture, "object is gone", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := models.NewCascade(models.CascadeConfig{Models: test.shelf, Small: "small", Large: "large"})
			got := c.Look(context.Background(), test.tensors)
			if got.State != event.VerdictUnknown || got.Err == nil || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("state %s, reason %q, want unknown because of %q", got.State, got.Reason, test.reason)
			}
			if len(got.Scores) != 0 {
				t.Errorf("an unknown verdict has scores %v", got.Scores)
			}
			if len(got.Models) != test.models {
				t.Errorf("%d models answered, want %d", len(got.Models), test.models)
			}
		})
	}
}

func TestCascadeOfOneModel(t *testing.T) {
	t.Parallel()
	alone := model("small", 8, 0, 0, 0.1, 0.9, 0)
	c := models.NewCascade(models.CascadeConfig{Models: shelf{"small": alone}, Small: "small"})
	got := c.Look(context.Background(), picturesOf)
	if got.State != event.VerdictKnown || scoreOf(t, got.Scores, "Porn") != 0.9 {
		t.Errorf("state %s, scores %v", got.State, got.Scores)
	}
}

func TestCascadeNeedsAWatchedLabel(t *testing.T) {
	t.Parallel()
	c := models.NewCascade(models.CascadeConfig{
		Models: shelf{"small": model("small", 8, 0, 0, 0, 1, 0)}, Small: "small", Watch: []string{"weapon"},
	})
	if got := c.Look(context.Background(), picturesOf); got.State != event.VerdictUnknown {
		t.Errorf("a model without the watched label gives %s, want unknown", got.State)
	}
}
