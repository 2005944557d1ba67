package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gocloud.dev/blob"
)

// Folders lists the parts that stand directly below prefix in keys, as
// "frames/" has "frames/2026-01-05/", each with its slash.
func (s *Store) Folders(ctx context.Context, prefix string) (folders []string, err error) {
	it := s.bucket.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"})
	for {
		obj, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return folders, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		if obj.IsDir {
			folders = append(folders, obj.Key)
		}
	}
}

// List calls fn with the key of every object whose key starts with prefix,
// until it returns an error, which List returns.
func (s *Store) List(ctx context.Context, prefix string, fn func(key string) error) error {
	it := s.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		obj, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		if err := fn(obj.Key); err != nil {
			return err
		}
	}
}

// Tidy removes the empty folders that deleted objects left behind under a
// prefix into which nothing is written any more. Only a store in a folder
// has any.
func (s *Store) Tidy(prefix string) error {
	prefix = strings.TrimSuffix(prefix, "/")
	if err := CheckKey(prefix); err != nil || s.dir == "" {
		return err
	}
	var dirs []string
	err := filepath.WalkDir(filepath.Join(s.dir, filepath.FromSlash(prefix)), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, dir := range slices.Backward(dirs) { // the deepest first
		_ = os.Remove(dir) // fails for one that is not empty, as it should
	}
	return err
}
