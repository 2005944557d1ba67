package handover

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"stillwatch/recording/raw"
)

// A sealed file begins with a magic of 8 bytes and a random salt of 16, and goes
// on with pieces of 64 KiB, the last of which is shorter or as long. A piece
// is AES-256-GCM (NIST SP 800-38D) under a key that HKDF-SHA256 (RFC 5869)
// makes of the session's key, the salt and the file's name; the nonce is the
// piece's number and whether it is the last (the STREAM construction: Hoang,
// Reyhanitabar, Rogaway, Vizár, CRYPTO 2015), so that a file that was cut,
// put together anew or put under another name is refused.
const (
	magic      = "stwhand1"
	saltBytes  = 16
	pieceBytes = 64 << 10
	tagBytes   = 16
)

// ErrChanged tells that an object is not what was put there: it was changed or
// cut, is another's, or was sealed with another key.
var ErrChanged = errors.New("not as it was handed over")

func newAEAD(key raw.Key, salt []byte, name string) (cipher.AEAD, error) {
	secret, err := hkdf.Key(sha256.New, key[:], salt, "stillwatch handover "+name, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

func nonce(n uint64, last bool) []byte {
	out := make([]byte, 12)
	binary.BigEndian.PutUint64(out[3:], n)
	if last {
		out[11] = 1
	}
	return out
}

// sealer yields what it reads, sealed.
type sealer struct {
	src  *bufio.Reader
	aead cipher.AEAD
	n    uint64
	out  []byte // sealed and not yet read
	buf  []byte
	last bool
}

// seal makes a reader of what src yields, sealed under the session's key for a
// name.
func seal(src io.Reader, key raw.Key, name string) (io.Reader, error) {
	head := make([]byte, len(magic)+saltBytes)
	copy(head, magic)
	_, _ = rand.Read(head[len(magic):]) // never fails since Go 1.24
	aead, err := newAEAD(key, head[len(magic):], name)
	if err != nil {
		return nil, err
	}
	return &sealer{src: bufio.NewReaderSize(src, pieceBytes), aead: aead, out: head, buf: make([]byte, pieceBytes)}, nil
}

// Read implements io.Reader.
func (s *sealer) Read(b []byte) (int, error) {
	for len(s.out) == 0 {
		if s.last {
			return 0, io.EOF
		}
		n, err := io.ReadFull(s.src, s.buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		if s.last = err != nil; !s.last {
			if _, err := s.src.Peek(1); errors.Is(err, io.EOF) {
				s.last = true
			} else if err != nil {
				return 0, err
			}
		}
		s.out = s.aead.Seal(nil, nonce(s.n, s.last), s.buf[:n], nil)
		s.n++
	}
	n := copy(b, s.out)
	s.out = s.out[n:]
	return n, nil
}

// opener yields what was sealed.
type opener struct {
	src  *bufio.Reader
	aead cipher.AEAD
	n    uint64
	out  []byte
	buf  []byte
	last bool
}

// open makes a reader of what was sealed under the key for the name. Nothing is
// yielded that was not authenticated; whoever reads to io.EOF has all of it.
func open(src io.Reader, key raw.Key, name string) (io.Reader, error) {
	head := make([]byte, len(magic)+saltBytes)
	if _, err := io.ReadFull(src, head); err != nil {
		return nil, cut(err)
	}
	if string(head[:len(magic)]) != magic {
		return nil, ErrChanged
	}
	aead, err := newAEAD(key, head[len(magic):], name)
	if err != nil {
		return nil, err
	}
	return &opener{src: bufio.NewReaderSize(src, pieceBytes), aead: aead, buf: make([]byte, pieceBytes+tagBytes)}, nil
}

// cut tells an end that came too early from a failure to read.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrChanged
	}
	return err
}

// Read implements io.Reader. It returns ErrChanged where something is not as it
// was sealed.
func (o *opener) Read(b []byte) (int, error) {
	for len(o.out) == 0 {
		if o.last {
			return 0, io.EOF
		}
		n, err := io.ReadFull(o.src, o.buf)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, cut(err)
		}
		if o.last = err != nil; !o.last {
			if _, err := o.src.Peek(1); errors.Is(err, io.EOF) {
				o.last = true
			} else if err != nil {
				return 0, err
			}
		}
		if o.out, err = o.aead.Open(nil, nonce(o.n, o.last), o.buf[:n], nil); err != nil {
			return 0, ErrChanged
		}
		o.n++
	}
	n := copy(b, o.out)
	o.out = o.out[n:]
	return n, nil
}
