package stream

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// Ext ends the names of a Receiver's files.
const Ext = ".swlive"

// ErrEmpty is a folder that holds no stream.
var ErrEmpty = errors.New("no stream was received here")

func fileName(connection int) string { return fmt.Sprintf("%06d%s", connection, Ext) }

var fileNames = regexp.MustCompile(`^[0-9]{6}` + regexp.QuoteMeta(Ext) + `$`)

// Folder is what a Receiver wrote of one recording.
type Folder struct {
	paths  []string
	header Header
}

// Open finds the connections of a recording. The error wraps ErrEmpty where
// there are none.
func Open(dir string) (*Folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	f := &Folder{}
	for _, e := range entries {
		if fileNames.MatchString(e.Name()) {
			f.paths = append(f.paths, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(f.paths)
	for len(f.paths) > 0 {
		file, in, err := openFile(f.paths[0])
		if errors.Is(err, errUnbegun) {
			f.paths = f.paths[1:]
			continue
		}
		if err != nil {
			return nil, err
		}
		f.header = in.Header()
		return f, file.Close()
	}
	return nil, fmt.Errorf("open stream %s: %w", dir, ErrEmpty)
}

// errUnbegun is a file without a preamble: its receiver was killed at once, or
// the power failed.
var errUnbegun = errors.New("it was cut off before it had begun")

func openFile(path string) (*os.File, *Reader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open stream: %w", err)
	}
	in, err := NewReader(file, "") // what is here was checked when it came
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err != nil && zeroed(file) {
		err = errUnbegun
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open %s: %w", filepath.Base(path), err), file.Close())
	}
	return file, in, nil
}

// zeroed tells whether a file's magic, or the length of its header, is nothing
// but zeros: a system whose power failed may have made room for a file, and not
// filled it.
func zeroed(file *os.File) bool {
	b := make([]byte, len(Magic)+lengthBytes)
	if _, err := file.ReadAt(b, 0); err != nil {
		return false
	}
	return !slices.ContainsFunc(b[:len(Magic)], nonzero) || !slices.ContainsFunc(b[len(Magic):], nonzero)
}

func nonzero(b byte) bool { return b != 0 }

// Header is that of the first connection.
func (f *Folder) Header() Header { return f.header }

// Records are those of all connections, each once and in order; those without a
// number come as they are. An error is the last thing that comes; the end of a
// connection that was cut off is none, and what is damaged, as a file's tail is
// after a power failure, ends its connection as a cut does.
func (f *Folder) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var last uint64
		for _, path := range f.paths {
			for rec, err := range connectionRecords(path, f.header.RecordingID) {
				if err == nil && rec.Seq > 0 {
					if rec.Seq <= last {
						continue
					}
					last = rec.Seq
				}
				if !yield(rec, err) || err != nil {
					return
				}
			}
		}
	}
}

func connectionRecords(path, id string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		file, in, err := openFile(path)
		if errors.Is(err, errUnbegun) {
			return
		}
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer file.Close()
		if got := in.Header().RecordingID; got != id {
			yield(Record{}, fmt.Errorf("%w: %s is of recording %q", ErrFormat, filepath.Base(path), got))
			return
		}
		for {
			rec, err := in.Next()
			if errors.Is(err, io.EOF) || errors.Is(err, ErrCut) || errors.Is(err, ErrFormat) {
				return
			}
			if err != nil {
				err = fmt.Errorf("read %s: %w", filepath.Base(path), err)
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}
