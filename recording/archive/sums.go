package archive

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"stillwatch/internal/blob"
)

// verify asks the store what it has. That it is something else may be an
// accident of the transfer: it counts as being down.
func (s *Store) verify(ctx context.Context, want Stored) error {
	o, err := s.cfg.Objects.Stat(ctx, want.Ref)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if o.Size != want.Size {
		return fmt.Errorf("verify %s: %d bytes were sent, the store has %d", want.Ref, want.Size, o.Size)
	}
	if len(o.MD5) > 0 {
		if hex.EncodeToString(o.MD5) != want.MD5 {
			return fmt.Errorf("verify %s: the store has other bytes", want.Ref)
		}
		return nil
	}
	got, err := s.read(ctx, want.Ref)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if got.sha() != want.SHA256 {
		return fmt.Errorf("verify %s: the store has other bytes", want.Ref)
	}
	return nil
}

// same returns the sums of an object that is the same as a local file.
func (s *Store) same(ctx context.Context, ref, local string, o blob.Object) (*sums, error) {
	mine, err := fileSums(local)
	if err != nil || mine.size != o.Size {
		return nil, err
	}
	if len(o.MD5) > 0 && hex.EncodeToString(o.MD5) != mine.md() {
		return nil, nil
	}
	theirs, err := s.read(ctx, ref)
	if err != nil || theirs.sha() != mine.sha() {
		return nil, err
	}
	return mine, nil
}

func (s *Store) read(ctx context.Context, ref string) (*sums, error) {
	r, err := s.cfg.Objects.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	got := newSums()
	if _, err := io.Copy(got, r); err != nil {
		return nil, fmt.Errorf("read %s back: %w", ref, err)
	}
	return got, nil
}

func fileSums(name string) (*sums, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &local{err}
	}
	defer f.Close()
	s := newSums()
	if _, err := io.Copy(s, f); err != nil {
		return nil, &local{err}
	}
	return s, nil
}

// sums hashes what is written to it.
type sums struct {
	size   int64
	sha256 hash.Hash
	md5    hash.Hash
}

func newSums() *sums { return &sums{sha256: sha256.New(), md5: md5.New()} }

// Write implements io.Writer and never fails.
func (s *sums) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	s.sha256.Write(p)
	s.md5.Write(p)
	return len(p), nil
}

func (s *sums) sha() string { return hex.EncodeToString(s.sha256.Sum(nil)) }
func (s *sums) md() string  { return hex.EncodeToString(s.md5.Sum(nil)) }

// reading reads a local file: its errors are ours.
type reading struct {
	f    io.Reader
	sums *sums
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	_, _ = r.sums.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		err = &local{err}
	}
	return n, err
}
