//go:build !cgo

// Package onnx runs models in ONNX Runtime. Built without cgo it can only say
// so.
package onnx

import (
	"errors"

	"stillwatch/models"
)

// ErrNoCgo says that this program was built without cgo.
var ErrNoCgo = errors.New("built without cgo: no inference runtime")

// Runtime stands for the inference library, which is not there.
type Runtime struct{}

// New says ErrNoCgo.
func New(string) (*Runtime, error) { return nil, ErrNoCgo }

// Version is empty.
func (*Runtime) Version() string { return "" }

// Close does nothing.
func (*Runtime) Close() error { return nil }

// Open says ErrNoCgo.
func (*Runtime) Open(string, Options) (models.Classifier, error) { return nil, ErrNoCgo }

// OpenModel says ErrNoCgo.
func (*Runtime) OpenModel(models.Manifest, Options) (models.Classifier, error) {
	return nil, ErrNoCgo
}
