package storage

import (
	"context"
	"io"

	"stillwatch/internal/blob"
)

// at is the store and the key that a reference names.
func (s *Stores) at(ctx context.Context, ref string) (*blob.Store, string, error) {
	name, key, ok := Split(ref)
	if !ok {
		return s.Store, ref, nil
	}
	e, err := s.external(ctx, name)
	if err != nil {
		return nil, "", err
	}
	return e.store, key, nil
}

// Upload puts what r yields where the reference says, in parts of bounded
// memory. It tries once and goes nowhere else; when it fails, no object
// appears.
func (s *Stores) Upload(ctx context.Context, ref string, r io.Reader, contentType string) error {
	store, key, err := s.at(ctx, ref)
	if err != nil {
		return err
	}
	return store.PutFrom(ctx, key, r, contentType)
}

// Open gives an object's bytes as a stream, by its reference.
func (s *Stores) Open(ctx context.Context, ref string) (io.ReadCloser, error) {
	store, key, err := s.at(ctx, ref)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, key)
}

// Stat tells of an object, by its reference.
func (s *Stores) Stat(ctx context.Context, ref string) (blob.Object, error) {
	store, key, err := s.at(ctx, ref)
	if err != nil {
		return blob.Object{}, err
	}
	return store.Stat(ctx, key)
}

// Parts returns how to upload an object in parts, by its reference; nil where
// its store cannot.
func (s *Stores) Parts(ctx context.Context, ref string) (*blob.Parts, error) {
	store, key, err := s.at(ctx, ref)
	if err != nil {
		return nil, err
	}
	return store.Parts(key)
}
