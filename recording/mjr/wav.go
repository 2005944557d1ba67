package mjr

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"stillwatch/internal/jail"
)

// A mixer's sound comes as a WAV file. It becomes a track like the others by
// coding it as Opus, which at this rate cannot be told from what it was.
const (
	opusFrame   = 20 * time.Millisecond
	opusTicks   = 960 // of 48 kHz
	opusPT      = 111
	opusBitrate = "96k"
	// maxWAV bounds how long a file may be: a day.
	maxWAV = 24 * time.Hour
)

// eachOpus codes a WAV file, at most for a time, and gives RTP packets of it
// with their times since the file's beginning.
func eachOpus(ctx context.Context, path string, most time.Duration, yield func(b []byte, at time.Duration) error) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return &Error{File: path, Err: err}
	}
	dir, err := os.MkdirTemp("", "stillwatch-import-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // nothing is in it
	ctx, cancel := context.WithCancel(ctx)
	out, in := io.Pipe()
	ran := make(chan error, 1)
	go func() {
		err := jail.Run(ctx, jail.Command{
			Name: "ffmpeg", Dir: dir, ReadOnly: []string{abs}, Stdout: in, Nice: 10,
			Args: []string{
				"-nostdin", "-hide_banner", "-loglevel", "error", "-xerror", "-protocol_whitelist", "file,pipe",
				"-f", "wav", "-i", "file:" + abs, "-map", "0:a:0", "-t", fmt.Sprint(most.Seconds()),
				"-ar", "48000", "-ac", "2", "-c:a", "libopus", "-b:a", opusBitrate, "-vbr", "on", "-frame_duration", "20",
				"-f", "ogg", "pipe:1",
			},
		})
		_ = in.CloseWithError(err) // always nil
		ran <- err
	}()
	err = packetise(out, yield)
	_ = out.CloseWithError(err) // always nil
	if cancel(); err != nil {
		<-ran
		return &Error{File: path, Err: fmt.Errorf("code sound: %w", err)}
	}
	return <-ran // nil, or packetise would have met it
}

// packetise makes RTP packets (RFC 7587) of an Ogg Opus stream.
func packetise(r io.Reader, yield func(b []byte, at time.Duration) error) error {
	const ssrc = 0x57415621
	n := -2 // the first two are about the stream (RFC 7845, section 3)
	return oggPackets(r, func(data []byte) error {
		if n++; n <= 0 {
			return nil
		}
		i := n - 1
		b := make([]byte, 12, 12+len(data))
		b[0], b[1] = 0x80, opusPT
		if i == 0 {
			b[1] |= 0x80
		}
		binary.BigEndian.PutUint16(b[2:], uint16(i))
		binary.BigEndian.PutUint32(b[4:], uint32(i)*opusTicks)
		binary.BigEndian.PutUint32(b[8:], ssrc)
		return yield(append(b, data...), time.Duration(i)*opusFrame)
	})
}

// oggPackets gives the packets of an Ogg stream (RFC 3533, section 6) that
// holds nothing else.
func oggPackets(r io.Reader, yield func([]byte) error) error {
	br := bufio.NewReader(r)
	var head [27]byte
	var lacing [255]byte
	var packet []byte
	for {
		if _, err := io.ReadFull(br, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read page: %w", err)
		}
		if string(head[:4]) != "OggS" {
			return fmt.Errorf("read page: %q is no page: %w", head[:4], ErrFormat)
		}
		segments := lacing[:head[26]]
		if _, err := io.ReadFull(br, segments); err != nil {
			return fmt.Errorf("read page: %w", noEOF(err))
		}
		for _, n := range segments {
			at := len(packet)
			packet = append(packet, make([]byte, n)...)
			if len(packet) > 1<<16 {
				return fmt.Errorf("read packet: %w", ErrFormat)
			}
			if _, err := io.ReadFull(br, packet[at:]); err != nil {
				return fmt.Errorf("read packet: %w", noEOF(err))
			}
			if n == 255 {
				continue
			}
			if err := yield(packet); err != nil {
				return err
			}
			packet = packet[:0]
		}
	}
}

// wavLength is how long a WAV file is by its head. A length that was never
// filled in is told by the file's size.
func wavLength(r io.Reader, size int64) (time.Duration, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:4]) != "RIFF" && string(head[:4]) != "RF64" || string(head[8:]) != "WAVE" {
		return 0, fmt.Errorf("no WAV file: %w", ErrFormat)
	}
	at := int64(len(head))
	var rate int64 // bytes per second
	for range 64 {
		var chunk [8]byte
		if _, err := io.ReadFull(r, chunk[:]); err != nil {
			break
		}
		at += int64(len(chunk))
		n := int64(binary.LittleEndian.Uint32(chunk[4:]))
		switch string(chunk[:4]) {
		case "fmt ":
			var format [16]byte
			if _, err := io.ReadFull(r, format[:]); err != nil || n < 16 {
				return 0, fmt.Errorf("format of a WAV file: %w", ErrFormat)
			}
			rate = int64(binary.LittleEndian.Uint32(format[8:]))
			at, n = at+16, n-16
		case "data":
			if rest := max(size-at, 0); n == 0 || n > rest {
				n = rest
			}
			if rate <= 0 {
				return 0, fmt.Errorf("byte rate of a WAV file: %w", ErrFormat)
			}
			// In seconds first: the product would overflow.
			return min(time.Duration(n/rate)*time.Second+time.Duration(n%rate)*time.Second/time.Duration(rate), maxWAV), nil
		}
		n += n & 1 // chunks are padded
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			break
		}
		at += n
	}
	return 0, fmt.Errorf("a WAV file without sound: %w", ErrFormat)
}
