// Package mjr reads the recordings of Janus, .mjr files, and makes folders of
// package raw of them, as if their calls had been recorded here.
//
// A file holds the RTP packets of one track as they arrived
// (https://janus.conf.meetecho.com/docs/recordings.html):
//
//	8  "MJR00002"
//	2  length of what follows, big-endian as all numbers
//	n  JSON: what the track is
//
// and then for each packet
//
//	4  "MEET"
//	4  when it arrived, in ms since the first packet
//	2  length of what follows
//	n  the RTP packet
//
// Two older forms have "MEETECHO" before each packet and no times: MJR00001
// with the same JSON, and before that "MEETECHO" with the word "audio" or
// "video" instead of JSON.
package mjr

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"
)

// Errors of this package; what is returned wraps them.
var (
	// ErrFormat is for what is no .mjr file, or is one no more from Offset on.
	ErrFormat = errors.New("not as an mjr file should be")
	// ErrTruncated is for a file that ends within a packet: its recorder was
	// killed.
	ErrTruncated = errors.New("cut off")
	// ErrUnsupported is for tracks that cannot be imported: data channels,
	// end-to-end encryption, codecs that are not known here.
	ErrUnsupported = errors.New("not supported")
)

// Error tells where in which file something is wrong.
type Error struct {
	File   string
	Offset int64 // bytes from the file's beginning
	Err    error
}

// Error names the file and the offset, which says nothing of a file that
// cannot be opened.
func (e *Error) Error() string {
	var path *fs.PathError
	switch {
	case e.Offset == 0 && errors.As(e.Err, &path):
		return fmt.Sprintf("%s: %v", e.File, path.Err)
	case e.Offset == 0 && errors.Is(e.Err, fs.ErrNotExist):
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s at byte %d: %v", e.File, e.Offset, e.Err)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// maxArrival bounds how long after the first packet one may have arrived.
const maxArrival = 7 * 24 * time.Hour

// Info is the head of a file.
type Info struct {
	// Version is 2 (MJR00002), 1 (MJR00001) or 0 (before both). Only version 2
	// tells when packets arrived.
	Version int
	// Kind is 'a' for sound, 'v' for pictures, 'd' for a data channel.
	Kind byte
	// Codec is in lower case: "vp8", "opus", "pcmu", "g711".
	Codec string
	// Fmtp are the codec's parameters as in SDP.
	Fmtp string
	// Description is a text that the sender gave the track.
	Description string
	// Created is when the file was made, First when the first packet came. Zero
	// when not told, or impossible.
	Created, First time.Time
	// Extensions are the URIs of RTP header extensions by their ids, 1 to 14.
	Extensions map[uint8]string
	// RED is the payload type of redundant sound (RFC 2198), 0 for none.
	RED uint8
	// Encrypted tells that the media are encrypted end to end.
	Encrypted bool
}

// header is the JSON.
type header struct {
	Kind        string            `json:"t"`
	Codec       string            `json:"c"`
	Fmtp        string            `json:"f"`
	Description string            `json:"d"`
	Extensions  map[string]string `json:"x"`
	Created     int64             `json:"s"`
	First       int64             `json:"u"`
	RED         int               `json:"or"`
	Encrypted   bool              `json:"e"`
}

// Frame is a packet of a file. Data is valid until the next one is read.
type Frame struct {
	// Offset is where the packet's record begins.
	Offset int64
	// Arrival is since the first packet; 0 in versions 0 and 1.
	Arrival time.Duration
	// Data is the RTP packet, at most 65535 bytes, not looked at.
	Data []byte
}

// Reader reads a file.
type Reader struct {
	name string
	r    *bufio.Reader
	off  int64
	info Info
	buf  []byte
}

// NewReader reads a file's head. name is for errors, which are *Error.
func NewReader(r io.Reader, name string) (*Reader, error) {
	m := &Reader{name: name, r: bufio.NewReaderSize(r, 64<<10), buf: make([]byte, 1<<16)}
	magic, err := m.take(10)
	if err != nil {
		return nil, m.fail(0, fmt.Errorf("head: %w", noEOF(err)))
	}
	kind, size := string(magic[:8]), int(binary.BigEndian.Uint16(magic[8:]))
	switch kind {
	case "MJR00002", "MJR00001", "MEETECHO":
	default:
		return nil, m.fail(0, fmt.Errorf("head %q: %w", kind, ErrFormat))
	}
	text, err := m.take(size)
	if err != nil {
		return nil, m.fail(10, fmt.Errorf("head: %w", noEOF(err)))
	}
	if kind == "MEETECHO" {
		m.info, err = oldInfo(string(text))
	} else {
		m.info, err = parseInfo(text)
		m.info.Version = int(kind[7] - '0')
	}
	if err != nil {
		return nil, m.fail(10, fmt.Errorf("head: %w", err))
	}
	return m, nil
}

// Info is the file's head.
func (m *Reader) Info() Info { return m.info }

// Next reads a packet. It answers io.EOF at the end, and an *Error for a file
// that is damaged or cut off: there is nothing to read after it.
func (m *Reader) Next() (Frame, error) {
	at := m.off
	head, err := m.take(10)
	if errors.Is(err, io.EOF) {
		return Frame{}, io.EOF
	}
	if err != nil {
		return Frame{}, m.fail(at, err)
	}
	f := Frame{Offset: at}
	marker := "MEETECHO"
	if m.info.Version == 2 {
		marker = "MEET"
		f.Arrival = time.Duration(binary.BigEndian.Uint32(head[4:])) * time.Millisecond
	}
	if string(head[:len(marker)]) != marker {
		return Frame{}, m.fail(at, fmt.Errorf("marker %q: %w", head[:len(marker)], ErrFormat))
	}
	if f.Arrival > maxArrival {
		return Frame{}, m.fail(at, fmt.Errorf("arrival after %v: %w", f.Arrival, ErrFormat))
	}
	if f.Data, err = m.take(int(binary.BigEndian.Uint16(head[8:]))); err != nil {
		return Frame{}, m.fail(at, noEOF(err))
	}
	return f, nil
}

// take reads n bytes. It answers io.EOF only before the first one.
func (m *Reader) take(n int) ([]byte, error) {
	got, err := io.ReadFull(m.r, m.buf[:n])
	m.off += int64(got)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrTruncated
	}
	return m.buf[:n], err
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	return err
}

func (m *Reader) fail(at int64, err error) error { return &Error{File: m.name, Offset: at, Err: err} }

func parseInfo(text []byte) (Info, error) {
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(h.Kind) != 1 || h.Codec == "" {
		return Info{}, fmt.Errorf("kind %q, codec %q: %w", h.Kind, h.Codec, ErrFormat)
	}
	in := Info{
		Kind: h.Kind[0] | 0x20, Codec: lower(h.Codec), Fmtp: h.Fmtp, Description: h.Description,
		Created: micro(h.Created), First: micro(h.First), Encrypted: h.Encrypted,
	}
	if h.RED > 0 && h.RED < 128 {
		in.RED = uint8(h.RED)
	}
	for id, uri := range h.Extensions {
		if n, err := strconv.ParseUint(id, 10, 8); err == nil && n > 0 && n < 15 {
			if in.Extensions == nil {
				in.Extensions = make(map[uint8]string)
			}
			in.Extensions[uint8(n)] = uri
		}
	}
	return in, nil
}

// oldInfo is that of the oldest form, when there was one codec for each kind.
func oldInfo(word string) (Info, error) {
	switch word {
	case "audio":
		return Info{Kind: 'a', Codec: "opus"}, nil
	case "video":
		return Info{Kind: 'v', Codec: "vp8"}, nil
	case "data", "text":
		return Info{Kind: 'd', Codec: "text"}, nil
	}
	return Info{}, fmt.Errorf("%q: %w", word, ErrFormat)
}

// micro is a time in microseconds since 1970, if it is between 2000 and 2200.
func micro(us int64) time.Time {
	if us < 946_684_800_000_000 || us > 7_258_118_400_000_000 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
