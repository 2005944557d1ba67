package models

import (
	"fmt"
	"math"

	"stillwatch/internal/event"
)

// Filler writes a picture's bytes into a model's input tensor. The values of
// all 256 bytes are worked out once, so that filling is a table look-up. It
// is safe for concurrent use.
type Filler struct {
	size   int
	layout Layout
	dst    [3]int // where R, G, B go: plane for NCHW, place in the pixel for NHWC
	table  [3][256]float32
}

// NewFiller makes the filler for a model's input.
func NewFiller(m Manifest) *Filler {
	f := &Filler{size: m.Input.Size, layout: m.Input.Layout, dst: [3]int{0, 1, 2}}
	if m.Input.Colour == "BGR" {
		f.dst = [3]int{2, 1, 0}
	}
	p := m.Scaling
	for c := range f.table {
		for v := range f.table[c] {
			f.table[c][v] = float32((float64(float64(v)*p.Scale) - p.Mean[c]) / p.Std[c])
		}
	}
	return f
}

// Len is the number of values in the tensor, and of bytes in a picture.
func (f *Filler) Len() int { return f.size * f.size * 3 }

// Fill writes the float32 tensor of rgb (size×size×3 bytes) to dst.
func (f *Filler) Fill(dst []float32, rgb []byte) error {
	n := f.size * f.size
	if len(rgb) != 3*n || len(dst) != 3*n {
		return fmt.Errorf("%w: %d bytes for %d×%d×3", ErrTensor, len(rgb), f.size, f.size)
	}
	r, g, b := &f.table[0], &f.table[1], &f.table[2]
	if f.layout == NHWC {
		ri, gi, bi := f.dst[0], f.dst[1], f.dst[2]
		for len(rgb) >= 3 && len(dst) >= 3 {
			dst[ri], dst[gi], dst[bi] = r[rgb[0]], g[rgb[1]], b[rgb[2]]
			rgb, dst = rgb[3:], dst[3:]
		}
		return nil
	}
	rp := dst[f.dst[0]*n:][:n]
	gp := dst[f.dst[1]*n:][:n]
	bp := dst[f.dst[2]*n:][:n]
	for i := range rp {
		px := rgb[3*i:][:3:3]
		rp[i], gp[i], bp[i] = r[px[0]], g[px[1]], b[px[2]]
	}
	return nil
}

// FillBytes writes the uint8 tensor of rgb (size×size×3 bytes) to dst.
func (f *Filler) FillBytes(dst, rgb []byte) error {
	n := f.size * f.size
	if len(rgb) != 3*n || len(dst) != 3*n {
		return fmt.Errorf("%w: %d bytes for %d×%d×3", ErrTensor, len(rgb), f.size, f.size)
	}
	for i := range n {
		for c, to := range f.dst {
			if f.layout == NHWC {
				dst[3*i+to] = rgb[3*i+c]
			} else {
				dst[to*n+i] = rgb[3*i+c]
			}
		}
	}
	return nil
}

// sumTolerance is how far a softmax's probabilities may be from summing to 1.
const sumTolerance = 1e-3

// Scores makes a model's raw output row into scores, or says ErrOutput.
func (m Manifest) Scores(raw []float32) ([]event.Score, error) {
	if len(raw) != len(m.Labels) {
		return nil, fmt.Errorf("%w: %s gave %d numbers for %d labels", ErrOutput, m.Name, len(raw), len(m.Labels))
	}
	out := make([]event.Score, len(raw))
	for i, v := range raw {
		p := float64(v)
		if math.IsNaN(p) || math.IsInf(p, 0) {
			return nil, fmt.Errorf("%w: %s gave %v for %s", ErrOutput, m.Name, p, m.Labels[i])
		}
		out[i] = event.Score{Label: m.Labels[i], Score: p}
	}
	if m.Output.Kind == Logits {
		softmax(out)
	}
	var sum float64
	for i, s := range out {
		if s.Score < -sumTolerance || s.Score > 1+sumTolerance {
			return nil, fmt.Errorf("%w: %s gave probability %v for %s", ErrOutput, m.Name, s.Score, s.Label)
		}
		sum += s.Score
		out[i].Score = min(1, max(0, s.Score))
	}
	if m.Output.Kind != Sigmoid && math.Abs(sum-1) > sumTolerance {
		return nil, fmt.Errorf("%w: probabilities of %s sum to %v", ErrOutput, m.Name, sum)
	}
	return out, nil
}

// softmax turns logits into probabilities in place.
func softmax(s []event.Score) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range s {
		top = max(top, v.Score)
	}
	for i := range s {
		s[i].Score = math.Exp(s[i].Score - top)
		sum += s[i].Score
	}
	for i := range s {
		s[i].Score /= sum
	}
}
