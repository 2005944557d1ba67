package models

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// probeTime bounds a new model's first picture.
const probeTime = 30 * time.Second

// load opens the model of a folder and shows it one picture.
func (r *Registry) load(name string) *entry {
	m, err := Load(filepath.Join(r.cfg.Dir, name))
	if err != nil {
		return failed(Status{Name: name}, err)
	}
	status := Status{Name: name, Version: m.Version, SHA256: m.SHA256}
	c, err := r.cfg.Open(m)
	if err != nil {
		return failed(status, err)
	}
	if err := probe(c); err != nil {
		return failed(status, errors.Join(err, c.Close()))
	}
	status.State = StateOK
	return &entry{status: status, loaded: &loadedModel{classifier: c}}
}

// failed is the entry of a model that cannot be used.
func failed(s Status, err error) *entry {
	switch {
	case errors.Is(err, ErrMissing):
		s.State = StateMissing
	case errors.Is(err, ErrWrongHash):
		s.State = StateWrongHash
	default:
		s.State = StateBroken
		err = fmt.Errorf("%w: %w", ErrBroken, err)
	}
	s.Reason = err.Error()
	return &entry{status: s, err: err}
}

// probe shows a model a grey picture: one that cannot score it (NaN, wrong
// shape) is found out before it is needed.
func probe(c Classifier) error {
	n := c.Manifest().Input.Size
	grey := make([]byte, n*n*3)
	for i := range grey {
		grey[i] = 128
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	_, err := c.Classify(ctx, grey)
	return err
}
