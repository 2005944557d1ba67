package raw

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// A file begins with a head of 80 bytes:
//
//	 0  8  magic
//	 8 16  salt, random
//	24  8  check: tells a wrong key from a changed file
//	32 48  slot: where the pieces begin after a trim; zeros before the first
//
// and goes on with pieces, each behind a header of 20 bytes:
//
//	 0  1  mark
//	 1  1  flags
//	 2  2  zero
//	 4  4  length of what follows the header
//	 8  4  number of the piece, from 0
//	12  4  when its first packet arrived, in ms since the session's start
//	16  4  when its last packet did
//
// A piece is AES-256-GCM (NIST SP 800-38D) under a key that HKDF-SHA256
// (RFC 5869) makes of the folder's key and the salt; the nonce is the piece's
// number, and what is authenticated besides are the first 32 bytes of the file
// and the piece's header. Piece 0 of a stream holds its StreamInfo as JSON,
// those after it records of rtpdump; the pieces of the journal hold lines of
// JSON. The last piece of a file that was closed is empty and says so.
const (
	magic       = "stwraw1\n"
	saltBytes   = 16
	checkBytes  = 8
	headBytes   = 32
	slotBytes   = 48
	slotSealed  = nonceBytes + 12 + tagBytes
	firstPiece  = headBytes + slotBytes
	pieceHead   = 20
	pieceMark   = 'P'
	nonceBytes  = 12
	tagBytes    = 16
	journalFile = "journal"
	streamExt   = ".rtp"

	// maxPiece bounds what a reader believes of a piece's length.
	maxPiece = 1 << 20
)

// Flags of a piece.
const (
	flagFinal = 1 << iota // nothing follows: the writer closed the file
	flagInfo              // holds a StreamInfo
)

// fileKind keeps the keys of the journal and of streams apart.
type fileKind string

const (
	kindJournal fileKind = "journal"
	kindStream  fileKind = "stream"
)

// cryptor seals and opens the pieces of one file. It is for one goroutine.
type cryptor struct {
	head   [headBytes]byte
	pieces cipher.AEAD
	slot   cipher.AEAD
	bound  [headBytes + pieceHead]byte // scratch: what is authenticated
	nonce  [nonceBytes]byte            // scratch
}

// newCryptor makes the keys of a new file.
func newCryptor(key Key, kind fileKind) (*cryptor, error) {
	var head [headBytes]byte
	copy(head[:], magic)
	_, _ = rand.Read(head[len(magic) : len(magic)+saltBytes])
	c, check, err := derive(key, kind, head)
	if err != nil {
		return nil, err
	}
	copy(c.head[len(magic)+saltBytes:], check)
	return c, nil
}

// openCryptor makes the keys of a file by its head.
func openCryptor(key Key, kind fileKind, head [headBytes]byte) (*cryptor, error) {
	if string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("head: %w", ErrTampered)
	}
	c, check, err := derive(key, kind, head)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(check, head[len(magic)+saltBytes:]) != 1 {
		return nil, ErrKey
	}
	return c, nil
}

func derive(key Key, kind fileKind, head [headBytes]byte) (c *cryptor, check []byte, err error) {
	salt := head[len(magic) : len(magic)+saltBytes]
	all, err := hkdf.Key(sha256.New, key[:], salt, "stillwatch raw "+string(kind)+" 1", 32+32+checkBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	c = &cryptor{head: head}
	if c.pieces, err = newAEAD(all[:32]); err == nil {
		c.slot, err = newAEAD(all[32:64])
	}
	return c, all[64:], err
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// pieceHeader is what stands before a piece in clear.
type pieceHeader struct {
	flags       uint8
	length      uint32
	n           uint32
	first, last uint32
}

func (h pieceHeader) put(b []byte) {
	b[0], b[1], b[2], b[3] = pieceMark, h.flags, 0, 0
	binary.BigEndian.PutUint32(b[4:], h.length)
	binary.BigEndian.PutUint32(b[8:], h.n)
	binary.BigEndian.PutUint32(b[12:], h.first)
	binary.BigEndian.PutUint32(b[16:], h.last)
}

func (h *pieceHeader) parse(b []byte) bool {
	*h = pieceHeader{
		flags: b[1], length: binary.BigEndian.Uint32(b[4:]), n: binary.BigEndian.Uint32(b[8:]),
		first: binary.BigEndian.Uint32(b[12:]), last: binary.BigEndian.Uint32(b[16:]),
	}
	return b[0] == pieceMark && h.length >= tagBytes && h.length <= maxPiece
}

// seal encrypts a piece in place: b begins with room for its header, behind
// which the plain text stands. It returns b with the tag at its end.
func (c *cryptor) seal(b []byte, h pieceHeader) []byte {
	h.length = uint32(len(b) - pieceHead + tagBytes)
	h.put(b)
	c.prepare(b[:pieceHead], h.n)
	sealed := c.pieces.Seal(b[pieceHead:pieceHead], c.nonce[:], b[pieceHead:], c.bound[:])
	if cap(b) < pieceHead+len(sealed) { // the tag had no room: the text moved
		return append(b[:pieceHead:pieceHead], sealed...)
	}
	return b[:pieceHead+len(sealed)]
}

// open decrypts a piece in place.
func (c *cryptor) open(header []byte, n uint32, sealed []byte) ([]byte, error) {
	c.prepare(header, n)
	plain, err := c.pieces.Open(sealed[:0], c.nonce[:], sealed, c.bound[:])
	if err != nil {
		return nil, ErrTampered
	}
	return plain, nil
}

func (c *cryptor) prepare(header []byte, n uint32) {
	copy(c.bound[:], c.head[:])
	copy(c.bound[headBytes:], header)
	clear(c.nonce[:])
	binary.BigEndian.PutUint32(c.nonce[nonceBytes-4:], n)
}

// start is where the pieces of a trimmed file begin.
type start struct {
	off int64
	n   uint32
}

// sealStart makes a file's slot. Slots are rewritten, so their nonce is
// random.
func (c *cryptor) sealStart(s start) []byte {
	out := make([]byte, nonceBytes, slotBytes)
	_, _ = rand.Read(out)
	plain := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(s.off)), s.n)
	return append(c.slot.Seal(out, out, plain, c.head[:]), make([]byte, slotBytes-slotSealed)...)
}

// openStart reads a slot; ok is false when nothing was trimmed.
func (c *cryptor) openStart(slot []byte) (s start, ok bool, err error) {
	if allZero(slot) {
		return s, false, nil
	}
	plain, err := c.slot.Open(nil, slot[:nonceBytes], slot[nonceBytes:slotSealed], c.head[:])
	if err != nil {
		return s, false, fmt.Errorf("slot: %w", ErrTampered)
	}
	return start{off: int64(binary.BigEndian.Uint64(plain)), n: binary.BigEndian.Uint32(plain[8:])}, true, nil
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
