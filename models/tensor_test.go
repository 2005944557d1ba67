package models_test

import (
	"errors"
	"math"
	"testing"

	"stillwatch/models"
)

func filler(size int, layout models.Layout, colour string) (*models.Filler, models.Scaling) {
	s := models.Scaling{Scale: 1.0 / 255, Mean: [3]float64{0.4, 0.5, 0.6}, Std: [3]float64{0.2, 0.3, 0.4}}
	return models.NewFiller(models.Manifest{
		Input: models.Input{Size: size, Layout: layout, Colour: colour}, Scaling: s,
	}), s
}

func TestFillPutsEveryByteInItsPlace(t *testing.T) {
	t.Parallel()
	const n = 9
	rgb := make([]byte, n*n*3)
	for i := range rgb {
		rgb[i] = byte(i*37 + i/7)
	}
	for _, layout := range []models.Layout{models.NCHW, models.NHWC} {
		for _, colour := range []string{"RGB", "BGR"} {
			f, s := filler(n, layout, colour)
			floats, bytes := make([]float32, f.Len()), make([]byte, f.Len())
			if err := errors.Join(f.Fill(floats, rgb), f.FillBytes(bytes, rgb)); err != nil {
				t.Fatal(err)
			}
			for at, v := range rgb {
				c, px := at%3, at/3
				place := c
				if colour == "BGR" {
					place = 2 - c
				}
				to := place*n*n + px
				if layout == models.NHWC {
					to = px*3 + place
				}
				if bytes[to] != v {
					t.Fatalf("%s %s: byte %d is %d, want %d", layout, colour, to, bytes[to], v)
				}
				if want := float32((float64(v)*s.Scale - s.Mean[c]) / s.Std[c]); math.Abs(float64(floats[to]-want)) > 1e-6 {
					t.Fatalf("%s %s: value %d is %v, want %v", layout, colour, to, floats[to], want)
				}
			}
		}
	}
}

func TestFillDividesLikeTheOriginal(t *testing.T) {
	t.Parallel()
	all, err := models.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		f := models.NewFiller(m)
		rgb, dst := make([]byte, f.Len()), make([]float32, f.Len())
		for i := range rgb {
			rgb[i] = byte(i / 3)
		}
		if err := f.Fill(dst, rgb); err != nil {
			t.Fatal(err)
		}
		for v := range 256 {
			if want := float32(v) / 255; dst[v] != want {
				t.Errorf("%s: byte %d becomes %v, want %v", m.Name, v, dst[v], want)
			}
		}
	}
}

func TestFillWantsTheRightSize(t *testing.T) {
	t.Parallel()
	f, _ := filler(8, models.NCHW, "RGB")
	for _, n := range []int{0, 1, f.Len() - 1, f.Len() + 1} {
		if err := f.Fill(make([]float32, f.Len()), make([]byte, n)); !errors.Is(err, models.ErrTensor) {
			t.Errorf("%d bytes: %v, want %v", n, err, models.ErrTensor)
		}
		if err := f.FillBytes(make([]byte, f.Len()), make([]byte, n)); !errors.Is(err, models.ErrTensor) {
			t.Errorf("%d bytes: %v, want %v", n, err, models.ErrTensor)
		}
	}
}

func TestScoresAreValidOrAnError(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, test := range []struct {
		name string
		kind models.OutputKind
		raw  []float32
		want []float64 // nil: an error
	}{
		{"softmax", models.Softmax, []float32{0.25, 0.75}, []float64{0.25, 0.75}},
		{"softmax of a sum of 0.9", models.Softmax, []float32{0.2, 0.7}, nil},
		{"softmax all zero", models.Softmax, []float32{0, 0}, nil},
		{"negative", models.Softmax, []float32{-0.5, 1.5}, nil},
		{"NaN", models.Softmax, []float32{nan, 1}, nil},
		{"NaN logit", models.Logits, []float32{0, nan}, nil},
		{"infinite logit", models.Logits, []float32{inf, 0}, nil},
		{"infinite", models.Sigmoid, []float32{0, inf}, nil},
		{"logits", models.Logits, []float32{1000, 1000}, []float64{0.5, 0.5}},
		{"sigmoid", models.Sigmoid, []float32{0.9, 0.8}, []float64{0.9, 0.8}},
		{"sigmoid above 1", models.Sigmoid, []float32{1.2, 0}, nil},
		{"too few", models.Softmax, []float32{1}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := models.Manifest{Name: "m", Labels: []string{"a", "b"}, Output: models.Output{Kind: test.kind}}
			got, err := m.Scores(test.raw)
			if test.want == nil {
				if !errors.Is(err, models.ErrOutput) {
					t.Errorf("scores %v, error %v, want %v", got, err, models.ErrOutput)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range test.want {
				if math.Abs(got[i].Score-want) > 1e-6 || got[i].Label != m.Labels[i] {
					t.Errorf("score %d is %+v, want %v", i, got[i], want)
				}
			}
		})
	}
}

// BenchmarkFill is the conversion on the hot path: bytes to a float tensor.
func BenchmarkFill(b *testing.B) {
	for name, size := range map[string]int{"224": 224, "299": 299} {
		b.Run(name, func(b *testing.B) {
			f, _ := filler(size, models.NCHW, "RGB")
			rgb, dst := make([]byte, f.Len()), make([]float32, f.Len())
			for i := range rgb {
				rgb[i] = byte(i * 7)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := f.Fill(dst, rgb); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
