package raw

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
)

// input is a file that is read.
type input struct {
	path  string
	crypt *cryptor
	first int64 // where pieces begin that are not of the head
	start start // and those that were not trimmed
}

// piece is one that was read, valid until the next.
type piece struct {
	pieceHeader
	plain []byte
}

func (in *input) fail(n uint32, err error) error {
	return fmt.Errorf("file %s, piece %d: %w", filepath.Base(in.path), n, err)
}

// openInput reads a file's head. The error wraps ErrEmpty when the file was
// made but nothing written.
func openInput(path string, key Key, kind fileKind) (*input, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	defer f.Close()
	var head [firstPiece]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || allZero(head[:]) {
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrEmpty
		}
		return nil, fmt.Errorf("file %s: %w", filepath.Base(path), err)
	}
	in := &input{path: path, first: firstPiece, start: start{off: firstPiece}}
	if in.crypt, err = openCryptor(key, kind, [headBytes]byte(head[:headBytes])); err != nil {
		return nil, fmt.Errorf("file %s: %w", filepath.Base(path), err)
	}
	at, trimmed, err := in.crypt.openStart(head[headBytes:])
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", filepath.Base(path), err)
	}
	if trimmed {
		in.start = at
	}
	return in, nil
}

// info reads what a stream's first piece says.
func (in *input) info() (s StreamInfo, err error) {
	head := *in
	head.start = start{off: firstPiece}
	for p, err := range head.pieces(0) {
		if err != nil {
			return s, err
		}
		if p.flags&flagInfo == 0 || json.Unmarshal(p.plain, &s) != nil {
			return s, in.fail(0, ErrTampered)
		}
		in.first = firstPiece + pieceHead + int64(p.length)
		if in.start.off == firstPiece {
			in.start = start{off: in.first, n: 1}
		}
		return s, nil
	}
	return s, fmt.Errorf("file %s: %w", filepath.Base(in.path), ErrEmpty)
}

// pieces reads a file to its end, or to where a crash cut it off, without
// those pieces that end before a moment in ms.
func (in *input) pieces(from uint32) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		f, err := os.Open(in.path)
		if err != nil {
			yield(piece{}, fmt.Errorf("open recording: %w", err))
			return
		}
		defer f.Close()
		size, err := fileSize(f)
		if err != nil {
			yield(piece{}, err)
			return
		}
		crypt := *in.crypt // has scratch of its own
		r := reader{in: in, f: f, crypt: &crypt, size: size, start: in.start}
		for {
			p, err := r.next(from)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(piece{}, err)
				return
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

func fileSize(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("open recording: %w", err)
	}
	return info.Size(), nil
}

// reader is where one reads a file.
type reader struct {
	start // of the next piece

	in    *input
	f     *os.File
	crypt *cryptor
	size  int64
	buf   []byte
}

// header reads the next piece's header. It answers io.EOF at the file's end,
// and where a crash cut it off: a piece that would go on behind the end was
// being written, and zeros from within a piece up to the end are blocks that
// the system had promised but not filled when the power failed. To cut
// something off is all that can be done to a file this way.
func (r *reader) header(b []byte) (h pieceHeader, err error) {
	if r.size-r.off < pieceHead {
		return h, io.EOF
	}
	if _, err := r.f.ReadAt(b, r.off); err != nil {
		return h, fmt.Errorf("read recording: %w", err)
	}
	if !h.parse(b) || h.n != r.n {
		if r.zeros(r.off + pieceHead - 1) {
			return h, io.EOF
		}
		return h, r.in.fail(r.n, ErrTampered)
	}
	if r.off+pieceHead+int64(h.length) > r.size {
		return h, io.EOF
	}
	return h, nil
}

// next reads the next piece that does not end before a moment.
func (r *reader) next(from uint32) (p piece, err error) {
	var head [pieceHead]byte
	for {
		if p.pieceHeader, err = r.header(head[:]); err != nil {
			return p, err
		}
		if p.flags != 0 || p.last >= from {
			break
		}
		r.skip(p.pieceHeader)
	}
	if cap(r.buf) < int(p.length) {
		r.buf = make([]byte, p.length)
	}
	body := r.buf[:p.length]
	if _, err := r.f.ReadAt(body, r.off+pieceHead); err != nil {
		return p, fmt.Errorf("read recording: %w", err)
	}
	end := r.off + pieceHead + int64(p.length)
	if p.plain, err = r.crypt.open(head[:], p.n, body); err != nil {
		if r.zeros(end - 1) {
			return p, io.EOF
		}
		return p, r.in.fail(p.n, err)
	}
	r.skip(p.pieceHeader)
	if p.flags&flagFinal != 0 && !r.zeros(r.off) {
		return p, r.in.fail(r.n, ErrTampered)
	}
	return p, nil
}

func (r *reader) skip(h pieceHeader) {
	r.off += pieceHead + int64(h.length)
	r.n++
}

// zeros tells whether nothing but zeros follows.
func (r *reader) zeros(off int64) bool {
	buf := make([]byte, 64<<10)
	for off < r.size {
		n, err := r.f.ReadAt(buf[:min(int64(len(buf)), r.size-off)], off)
		if err != nil || n == 0 || !allZero(buf[:n]) {
			return false
		}
		off += int64(n)
	}
	return true
}

// last walks over the headers to the last piece that holds packets and reads
// it. whole tells that the file was closed.
func (in *input) last() (ms uint32, whole bool, err error) {
	f, err := os.Open(in.path)
	if err != nil {
		return 0, false, fmt.Errorf("open recording: %w", err)
	}
	defer f.Close()
	size, err := fileSize(f)
	if err != nil {
		return 0, false, err
	}
	crypt := *in.crypt
	r := reader{in: in, f: f, crypt: &crypt, size: size, start: in.start}
	at := r.start
	var head [pieceHead]byte
	for {
		h, err := r.header(head[:])
		if err != nil { // said when the packets are read
			break
		}
		at = r.start
		r.skip(h)
	}
	r.start = at
	p, err := r.next(0)
	if err != nil {
		return 0, false, nil
	}
	return p.last, p.flags&flagFinal != 0, nil
}

// listStreams finds the files of streams.
func listStreams(dir string) ([]string, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list recording: %w", err)
	}
	var out []string
	for _, n := range names {
		if n.Type() == fs.FileMode(0) && filepath.Ext(n.Name()) == streamExt {
			out = append(out, filepath.Join(dir, n.Name()))
		}
	}
	return out, nil
}
