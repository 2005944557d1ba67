package blob

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Object is what a store tells of an object without giving it.
type Object struct {
	Size int64
	// MD5 is what the store says its content's is; nil where it says none,
	// such as of objects that were stored in parts.
	MD5        []byte
	ModifiedAt time.Time
}

// Stat tells of an object, or returns ErrNotFound.
func (s *Store) Stat(ctx context.Context, key string) (Object, error) {
	if err := CheckKey(key); err != nil {
		return Object{}, err
	}
	a, err := s.bucket.Attributes(ctx, key)
	if err != nil {
		return Object{}, fmt.Errorf("stat %s: %w", key, notFound(err))
	}
	return Object{Size: a.Size, MD5: a.MD5, ModifiedAt: a.ModTime}, nil
}

// Open gives an object's bytes as a stream, or ErrNotFound: for those too
// large to hold whole. The stream ends with ctx and has to be closed.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", key, notFound(err))
	}
	return r, nil
}
