package main

import (
	"bytes"
	"image/jpeg"
	"path/filepath"
	"testing"

	"stillwatch/capture/picture"
	"stillwatch/capture/still"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/models"
	"stillwatch/models/onnx"
)

// TestWorkerTensorsStayWithinTheBound classifies what the picture worker made
// of a keyframe, and what the reference preprocessing makes of the same
// picture, and holds the probabilities against each other. The picture is
// taken from a JPEG of quality 100, so that it is the tensor that is measured
// and not the loss of the JPEG; what quality 80 adds is logged.
func TestWorkerTensorsStayWithinTheBound(t *testing.T) {
	cfg := settings(t, t.TempDir())
	rt, err := onnx.New(cfg.Models.Runtime)
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	pool := picture.NewPool(picture.Config{Workers: 1})
	if err := pool.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	photographs, err := filepath.Glob("../../models/testdata/natural/*.jpg")
	if err != nil || len(photographs) == 0 {
		t.Fatalf("no photographs: %v", err)
	}
	for _, name := range []string{cfg.Models.Small, cfg.Models.Large} {
		model, err := rt.Open(filepath.Join(cfg.Models.Dir, name), onnx.Options{})
		if err != nil {
			t.Fatal(err)
		}
		worst, stored := 0.0, 0.0
		for _, source := range append(synthetic.Pictures(), photographs...) {
			delta := tensorDelta(t, pool, model, source, 100)
			if delta > models.TensorBound {
				t.Errorf("%s on %s: a probability differs by %.4f, more than %.2f", name, filepath.Base(source), delta, models.TensorBound)
			}
			worst, stored = max(worst, delta), max(stored, tensorDelta(t, pool, model, source, still.DefaultQuality))
		}
		model.Close()
		t.Logf("%s: the worker's tensor moves a probability by %.4f at most, allowed is %.2f; against the stored JPEG of quality 80 it is %.4f", name, worst, models.TensorBound, stored)
	}
}

func tensorDelta(t *testing.T, pool *picture.Pool, model models.Classifier, source string, quality int) float64 {
	t.Helper()
	if filepath.Ext(source) != "" {
		abs, err := filepath.Abs(source)
		if err != nil {
			t.Fatal(err)
		}
		source = abs
	}
	c, err := synthetic.MakeClip(t.Context(), filepath.Join(buildDir, "clips"), synthetic.ClipConfig{Picture: source, Codec: event.VP8, Takes: 1, Seconds: 1, Noise: -1})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pool.Picture(t.Context(), still.Request{Codec: event.VP8, Keyframe: c.Frames[0], MaxHeight: 720, Quality: quality})
	if err != nil {
		t.Fatal(err)
	}
	img, err := jpeg.Decode(bytes.NewReader(p.JPEG))
	if err != nil {
		t.Fatal(err)
	}
	m := model.Manifest()
	delta, err := models.Compare(t.Context(), model, m.Preprocess(img), p.Tensors[m.Input.Size])
	if err != nil {
		t.Fatal(err)
	}
	return delta
}
