// Package handover carries the packets of a session, and what is made of them,
// from one machine to another through the object store.
//
// The packets travel as they lie in their folder, sealed, without their key.
// What machines make of them is sealed with the same key, so that without it
// nothing below a session's prefix can be read.
package handover

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"stillwatch/internal/blob"
	"stillwatch/recording/raw"
)

// Prefix begins the keys of all that is handed over: below it stands the
// session's id.
const Prefix = "handover/"

// Objects is our own object store: *storage.Stores.
type Objects interface {
	Upload(ctx context.Context, ref string, r io.Reader, contentType string) error
	Open(ctx context.Context, ref string) (io.ReadCloser, error)
	Delete(ctx context.Context, ref string) error
	List(ctx context.Context, prefix string, fn func(key string) error) error
}

// File is a file of a session's folder as it was put.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// ErrStore marks a failure of the store, which may come back.
var ErrStore = errors.New("the store does not hand over now")

// ErrTooLarge tells that more would be fetched than there is to be.
var ErrTooLarge = errors.New("larger than what is fetched at most")

// Parcel is what one session's machines share.
type Parcel struct {
	Objects   Objects
	SessionID string
	// Key seals what is made; the packets are sealed with keys made of it.
	Key raw.Key
}

// packets begins the names of a session's packets below its prefix, made those of
// what was made of them.
const (
	packets = "packets/"
	made    = "made/"
)

func (p Parcel) key(part, name string) string { return Prefix + p.SessionID + "/" + part + name }

// PutPackets puts the files of a session's folder, which nobody writes any
// more, but for their key. It tells what they were.
func (p Parcel) PutPackets(ctx context.Context, dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list packets: %w", err)
	}
	var out []File
	for _, e := range entries {
		if !e.Type().IsRegular() || !raw.IsPackets(e.Name()) {
			continue
		}
		f, err := p.putPackets(ctx, dir, e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func (p Parcel) putPackets(ctx context.Context, dir, name string) (File, error) {
	in, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return File{}, fmt.Errorf("hand over %s: %w", name, err)
	}
	defer in.Close()
	sum := sha256.New()
	count := &counter{}
	if err := p.upload(ctx, p.key(packets, name), io.TeeReader(in, io.MultiWriter(sum, count))); err != nil {
		return File{}, err
	}
	return File{Name: name, Size: count.n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// FetchPackets brings the files of a session into dir, which exists: most bytes
// at most, and nothing that is not as it was put.
func (p Parcel) FetchPackets(ctx context.Context, files []File, dir string, most int64) error {
	var sum int64
	for _, f := range files {
		if !raw.IsPackets(f.Name) || filepath.Base(f.Name) != f.Name {
			return fmt.Errorf("fetch %q: %w", f.Name, ErrChanged)
		}
		if sum += f.Size; f.Size < 0 || sum > most {
			return fmt.Errorf("fetch packets of %s: %w: %d bytes", p.SessionID, ErrTooLarge, sum)
		}
	}
	for _, f := range files {
		hash := sha256.New()
		err := p.fetch(ctx, p.key(packets, f.Name), filepath.Join(dir, f.Name), f.Size, func(r io.Reader) (io.Reader, error) {
			return io.TeeReader(r, hash), nil
		})
		if err != nil {
			return err
		}
		if hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
			return fmt.Errorf("fetch %s: %w", f.Name, ErrChanged)
		}
	}
	return nil
}

// Put puts what was made, sealed, under a name: a relative path with slashes.
// It tells how many bytes were read.
func (p Parcel) Put(ctx context.Context, name, path string) (int64, error) {
	in, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("hand over %s: %w", name, err)
	}
	defer in.Close()
	count := &counter{}
	sealed, err := seal(io.TeeReader(in, count), p.Key, name)
	if err != nil {
		return 0, err
	}
	err = p.upload(ctx, p.key(made, name), sealed)
	return count.n, err
}

// Fetch brings what another machine made, most bytes at most: path appears
// when it is whole. The error wraps blob.ErrNotFound where nothing was put.
func (p Parcel) Fetch(ctx context.Context, name, path string, most int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".fetched-*")
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	defer os.Remove(tmp.Name())
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	err = p.fetch(ctx, p.key(made, name), tmp.Name(), most, func(r io.Reader) (io.Reader, error) { return open(r, p.Key, name) })
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	return nil
}

// Delete takes back what was put under a name.
func (p Parcel) Delete(ctx context.Context, name string) error {
	if err := p.Objects.Delete(ctx, p.key(made, name)); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return nil
}

// fetch writes an object's bytes, as through yields them, to a file.
func (p Parcel) fetch(ctx context.Context, key, path string, most int64, through func(io.Reader) (io.Reader, error)) error {
	in, err := p.Objects.Open(ctx, key)
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("fetch %s: %w", key, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	defer in.Close()
	from := &source{r: in}
	r, err := through(from)
	if err == nil {
		err = write(path, r, most)
	}
	if from.err != nil {
		return fmt.Errorf("%w: fetch %s: %w", ErrStore, key, from.err)
	}
	if err != nil {
		return fmt.Errorf("fetch %s: %w", key, err)
	}
	return nil
}

func write(path string, r io.Reader, most int64) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(r, most+1))
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if n > most {
		return ErrTooLarge
	}
	return nil
}

func (p Parcel) upload(ctx context.Context, key string, r io.Reader) error {
	from := &source{r: r}
	err := p.Objects.Upload(ctx, key, from, "application/octet-stream")
	if from.err != nil {
		return fmt.Errorf("hand over %s: %w", key, from.err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return nil
}

// Sessions lists the sessions of which anything lies in the store.
func Sessions(ctx context.Context, o Objects) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	err := o.List(ctx, Prefix, func(key string) error {
		id, _, _ := strings.Cut(strings.TrimPrefix(key, Prefix), "/")
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return out, nil
}

// Empty deletes all that lies in the store of a session.
func Empty(ctx context.Context, o Objects, sessionID string) error {
	var keys []string
	err := o.List(ctx, Prefix+sessionID+"/", func(key string) error {
		keys = append(keys, key)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	var errs []error
	for _, key := range keys {
		if err := o.Delete(ctx, key); err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", ErrStore, err))
		}
	}
	return errors.Join(errs...)
}

// source tells failures to read from those to write.
type source struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

type counter struct{ n int64 }

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}
