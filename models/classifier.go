package models

import (
	"context"
	"errors"

	"stillwatch/internal/event"
)

// Errors of a Classifier. Each of them makes a verdict unknown, never clean.
var (
	// ErrOutput says that a model's answer is not one: NaN, infinite, or
	// probabilities that do not sum to 1.
	ErrOutput = errors.New("model gave no valid scores")
	// ErrTensor says that the picture handed over has the wrong size.
	ErrTensor = errors.New("picture does not fit the model's input")
	// ErrBusy says that no session became free in time.
	ErrBusy = errors.New("classifier is busy")
	// ErrClosed says that the classifier was closed.
	ErrClosed = errors.New("classifier is closed")
)

// Classifier is one loaded model. It is safe for concurrent use.
type Classifier interface {
	// Classify scores one picture: rgb holds size×size pixels of R, G, B
	// bytes, row by row, size being Manifest().Input.Size. Scores stand in
	// the order of the labels. It waits for a free session as long as ctx
	// and the classifier's own bound allow.
	Classify(ctx context.Context, rgb []byte) ([]event.Score, error)
	// Manifest says which model this is.
	Manifest() Manifest
	// Close waits for pictures being looked at and frees the model.
	Close() error
}
