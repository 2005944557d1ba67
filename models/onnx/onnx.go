//go:build cgo

// Package onnx runs models in ONNX Runtime. It is the only package that
// knows the binding.
package onnx

import (
	"errors"
	"fmt"
	"os"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"stillwatch/models"
)

// loaded is the process's one runtime: the library holds global state.
var loaded struct {
	mu   sync.Mutex
	path string
	uses int
}

// Runtime is the loaded inference library. New gives it; Close gives it back.
type Runtime struct {
	once sync.Once
}

// New loads libonnxruntime.so (1.24 or later) from a path. A process can have
// one library only: a second New with the same path shares it, one with
// another path is an error until all are closed.
func New(libPath string) (*Runtime, error) {
	loaded.mu.Lock()
	defer loaded.mu.Unlock()
	if loaded.uses > 0 {
		if loaded.path != libPath {
			return nil, fmt.Errorf("load inference runtime %s: %s is loaded already", libPath, loaded.path)
		}
		loaded.uses++
		return &Runtime{}, nil
	}
	if _, err := os.Stat(libPath); err != nil {
		return nil, fmt.Errorf("load inference runtime: %w; `stillwatch models build` fetches it", err)
	}
	// Errors come back as values; the library itself stays off stderr.
	ort.SetSharedLibraryPath(libPath)
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return nil, fmt.Errorf("load inference runtime %s: %w", libPath, err)
	}
	loaded.path, loaded.uses = libPath, 1
	return &Runtime{}, nil
}

// Version is the library's.
func (r *Runtime) Version() string { return ort.GetVersion() }

// Close unloads the library when its last user closes. Close every classifier
// first.
func (r *Runtime) Close() error {
	var err error
	r.once.Do(func() {
		loaded.mu.Lock()
		defer loaded.mu.Unlock()
		if loaded.uses--; loaded.uses == 0 {
			err = ort.DestroyEnvironment()
		}
	})
	if err != nil {
		return fmt.Errorf("unload inference runtime: %w", err)
	}
	return nil
}

// Open loads the model of a folder: its manifest, and its file if the hash is
// right. The classifier works on Options.Sessions pictures at once.
func (r *Runtime) Open(dir string, opt Options) (models.Classifier, error) {
	m, err := models.Load(dir)
	if err != nil {
		return nil, err
	}
	return r.OpenModel(m, opt)
}

// OpenModel loads the model of a manifest; it is what a models.Registry
// calls.
func (r *Runtime) OpenModel(m models.Manifest, opt Options) (models.Classifier, error) {
	body, err := m.Read()
	if err != nil {
		return nil, err
	}
	p, err := newPool(m, body, opt.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", m.Name, err)
	}
	return p, nil
}

// errShape says that a model's file is not what its manifest says.
var errShape = errors.New("model file does not fit its manifest")
