package media

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// matroska hands Opus with exact timestamps to ffmpeg: each packet in a
// cluster of its own (RFC 9559). Ogg would not do, since ffmpeg takes a packet
// behind a jump of the granule position to begin where the one before ended.
type matroska struct {
	w   io.Writer
	buf []byte
}

// matroskaRate is what timestamps count in, in Hz.
const matroskaRate = 1_000_000

// element appends an EBML element: id, size in eight bytes, data.
func element(b []byte, id uint32, data ...byte) []byte {
	n := 4
	for n > 1 && id>>(8*(n-1)) == 0 {
		n--
	}
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(id>>(8*i)))
	}
	b = binary.BigEndian.AppendUint64(b, 1<<56|uint64(len(data)))
	return append(b, data...)
}

func newMatroska(w io.Writer, channels int) (*matroska, error) {
	be := binary.BigEndian
	head := element(nil, 0x1a45dfa3, element(nil, 0x4282, []byte("matroska")...)...)
	head = append(head, 0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // segment of unknown size
	head = element(head, 0x1549a966, element(nil, 0x2ad7b1, be.AppendUint32(nil, 1_000_000_000/matroskaRate)...)...)
	sound := element(nil, 0xb5, be.AppendUint64(nil, math.Float64bits(48000))...)
	sound = element(sound, 0x9f, byte(channels))
	track := element(nil, 0xd7, 1)                    // number
	track = element(track, 0x73c5, 1)                 // UID
	track = element(track, 0x83, 2)                   // sound
	track = element(track, 0x9c, 0)                   // no lacing
	track = element(track, 0x86, []byte("A_OPUS")...) // codec
	track = element(track, 0x63a2, opusHead(channels)...)
	track = element(track, 0xe1, sound...)
	head = element(head, 0x1654ae6b, element(nil, 0xae, track...)...)
	if _, err := w.Write(head); err != nil {
		return nil, fmt.Errorf("write Matroska header: %w", err)
	}
	return &matroska{w: w}, nil
}

func (m *matroska) write(pts int64, data []byte) error {
	block := append(make([]byte, 0, len(data)+32), 0x81, 0, 0, 0x80) // track 1, at the cluster's time, keyframe
	block = append(block, data...)
	cluster := element(nil, 0xe7, binary.BigEndian.AppendUint64(nil, uint64(pts))...)
	cluster = element(cluster, 0xa3, block...)
	m.buf = element(m.buf[:0], 0x1f43b675, cluster...)
	if _, err := m.w.Write(m.buf); err != nil {
		return fmt.Errorf("write Matroska cluster: %w", err)
	}
	return nil
}
