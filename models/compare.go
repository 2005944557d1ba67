package models

import (
	"context"
	"fmt"
	"math"
)

// TensorBound is how far a faster picture may shift any probability from
// that of the reference (Squeeze).
const TensorBound = 0.05

// Compare classifies two pictures and gives the largest difference of any
// probability: with a the reference and b a faster scaler's bytes, it must
// not exceed TensorBound.
func Compare(ctx context.Context, c Classifier, a, b []byte) (float64, error) {
	x, err := c.Classify(ctx, a)
	if err != nil {
		return 0, fmt.Errorf("compare pictures: %w", err)
	}
	y, err := c.Classify(ctx, b)
	if err != nil {
		return 0, fmt.Errorf("compare pictures: %w", err)
	}
	worst := 0.0
	for i := range x {
		worst = max(worst, math.Abs(x[i].Score-y[i].Score))
	}
	return worst, nil
}
