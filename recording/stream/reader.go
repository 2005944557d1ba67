package stream

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"stillwatch/internal/signature"
)

// Errors of a Reader. What is returned wraps them with what is wrong.
var (
	// ErrFormat is what is no stream, or one that is damaged.
	ErrFormat = errors.New("not a recording stream")
	// ErrSignature is a signature that is not the sender's.
	ErrSignature = errors.New("the signature is wrong")
	// ErrCut is a stream that ends within a record, or before its End.
	ErrCut = errors.New("the stream was cut off")
)

// Record is one record of a stream. Which fields count depends on Kind.
type Record struct {
	Kind Kind
	// Seq is 0 for what tells a state anew, and where there is none.
	Seq uint64
	// At, Number and Data are those of a packet. Data is valid until the next
	// record is read.
	At     time.Duration
	Number uint32
	Data   []byte
	Event  Event
	Gap    Gap
	End    End
	// Verified tells, of a signature, that all before it is the sender's: it was
	// checked.
	Verified bool
	// Raw are the record's own bytes, with its length, valid as Data is.
	Raw []byte
}

// Reader reads the body of one connection, record by record, and holds no more
// than one.
type Reader struct {
	r        *bufio.Reader
	mac      hash.Hash // nil: signatures are not checked
	header   Header
	preamble []byte
	buf      []byte
	sum      [sumBytes]byte
	ended    bool // End was read: only a signature may follow
}

// NewReader reads the preamble. With a secret, signatures are checked.
func NewReader(r io.Reader, secret string) (*Reader, error) {
	in := &Reader{r: bufio.NewReaderSize(r, 32<<10), buf: make([]byte, 0, 2<<10)}
	if secret != "" {
		in.mac = signature.New(secret)
	}
	magic := make([]byte, len(Magic))
	if _, err := io.ReadFull(in.r, magic); err != nil {
		return nil, fmt.Errorf("%w: no magic: %w", ErrFormat, err)
	}
	if string(magic) != Magic {
		return nil, fmt.Errorf("%w: it begins otherwise", ErrFormat)
	}
	rec, err := in.record()
	if err != nil {
		return nil, err
	}
	if Kind(rec[lengthBytes]) != KindHeader || len(rec) > lengthBytes+1+MaxText {
		return nil, fmt.Errorf("%w: no header", ErrFormat)
	}
	if err := json.Unmarshal(rec[lengthBytes+1:], &in.header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrFormat, err)
	}
	if in.header.Version != Version || in.header.Connection < 1 {
		return nil, fmt.Errorf("%w: version %d, connection %d", ErrFormat, in.header.Version, in.header.Connection)
	}
	in.preamble = append(magic, rec...)
	if in.mac != nil {
		in.mac.Write(in.preamble)
	}
	return in, nil
}

// Header is the stream's.
func (r *Reader) Header() Header { return r.header }

// Preamble are the bytes of the stream's beginning, which the request's header
// signs.
func (r *Reader) Preamble() []byte { return r.preamble }

// Check tells whether a signature is the preamble's, as HeaderSignature has it.
func (r *Reader) Check(secret, sum string) bool {
	return signature.Verify(secret, r.preamble, sum)
}

// Next reads a record; those of unknown kinds come with their Raw alone. After
// the End and its signature comes io.EOF, else the errors of this package.
func (r *Reader) Next() (Record, error) {
	b, err := r.record()
	if err != nil {
		if errors.Is(err, io.EOF) && !errors.Is(err, ErrCut) {
			if r.ended {
				return Record{}, io.EOF
			}
			return Record{}, fmt.Errorf("%w: %w", ErrCut, io.ErrUnexpectedEOF)
		}
		return Record{}, err
	}
	rec := Record{Kind: Kind(b[lengthBytes]), Raw: b}
	if r.ended && rec.Kind != KindSignature {
		return Record{}, fmt.Errorf("%w: a record behind the end", ErrFormat)
	}
	if err := r.parse(&rec, b[lengthBytes+1:]); err != nil {
		return Record{}, err
	}
	if r.mac != nil {
		r.mac.Write(b)
	}
	return rec, nil
}

func (r *Reader) parse(rec *Record, b []byte) error {
	switch rec.Kind {
	case KindHeader:
		return fmt.Errorf("%w: a second header", ErrFormat)
	case KindRTP, KindRTCP:
		if len(b) <= mediaHead {
			return fmt.Errorf("%w: a packet of %d bytes", ErrFormat, len(b))
		}
		rec.Seq, rec.Number, rec.Data = binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[16:]), b[mediaHead:]
		if rec.At = time.Duration(binary.BigEndian.Uint64(b[8:])); rec.At < 0 || rec.Seq == 0 {
			return fmt.Errorf("%w: a packet before the beginning", ErrFormat)
		}
	case KindEvent:
		return numbered(rec, b, &rec.Event)
	case KindGap:
		return numbered(rec, b, &rec.Gap)
	case KindSignature:
		if len(b) != sumBytes {
			return fmt.Errorf("%w: a signature of %d bytes", ErrFormat, len(b))
		}
		if r.mac == nil {
			return nil
		}
		if !hmac.Equal(r.mac.Sum(r.sum[:0]), b) {
			return ErrSignature
		}
		rec.Verified = true
	case KindEnd:
		r.ended = true
		return text(b, &rec.End)
	}
	return nil
}

func numbered(rec *Record, b []byte, v any) error {
	if len(b) < seqBytes {
		return fmt.Errorf("%w: a record without a number", ErrFormat)
	}
	rec.Seq = binary.BigEndian.Uint64(b)
	return text(b[seqBytes:], v)
}

func text(b []byte, v any) error {
	if len(b) > MaxText {
		return fmt.Errorf("%w: %d bytes of text", ErrFormat, len(b))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// record reads the bytes of one, with its length. Memory grows with what comes,
// not with what the length says. io.EOF is the end between two records.
func (r *Reader) record() ([]byte, error) {
	var head [lengthBytes]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: %w", ErrCut, err)
		}
		return nil, fmt.Errorf("read stream: %w", err)
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < 1 || n > MaxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes", ErrFormat, n)
	}
	r.buf = append(r.buf[:0], head[:]...)
	if cap(r.buf) < lengthBytes+n {
		buf := bytes.NewBuffer(r.buf)
		_, err := io.CopyN(buf, r.r, int64(n))
		if r.buf = buf.Bytes(); err != nil {
			return nil, cut(err)
		}
		return r.buf, nil
	}
	r.buf = r.buf[:lengthBytes+n]
	if _, err := io.ReadFull(r.r, r.buf[lengthBytes:]); err != nil {
		return nil, cut(err)
	}
	return r.buf, nil
}

// cut is an error in the middle of a record.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrCut, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read stream: %w", err)
}
