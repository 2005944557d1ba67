package media

import (
	"encoding/binary"
	"fmt"
	"io"
)

// videoRate is the clock rate of video in what is given to ffmpeg, in Hz, as
// in RTP.
const videoRate = 90000

// IVF writes coded pictures with their timestamps in the IVF container, which
// ffmpeg reads for all four codecs.
type IVF struct {
	w    io.Writer
	head [12]byte
}

// NewIVF writes the header. Timestamps count in 1/90000 s.
func NewIVF(w io.Writer, codec string, width, height int) (*IVF, error) {
	fourcc := map[string]string{VP8: "VP80", VP9: "VP90", AV1: "AV01", H264: "H264"}[codec]
	if fourcc == "" {
		return nil, fmt.Errorf("%w: %s in IVF", ErrFormat, codec)
	}
	h := append([]byte("DKIF"), 0, 0, 32, 0)
	h = append(h, fourcc...)
	h = binary.LittleEndian.AppendUint16(h, uint16(width))
	h = binary.LittleEndian.AppendUint16(h, uint16(height))
	h = binary.LittleEndian.AppendUint32(h, videoRate)
	h = binary.LittleEndian.AppendUint32(h, 1)
	h = append(h, 0, 0, 0, 0, 0, 0, 0, 0)
	if _, err := w.Write(h); err != nil {
		return nil, fmt.Errorf("write IVF header: %w", err)
	}
	return &IVF{w: w}, nil
}

// Write writes a picture.
func (v *IVF) Write(pts int64, data []byte) error {
	binary.LittleEndian.PutUint32(v.head[:], uint32(len(data)))
	binary.LittleEndian.PutUint64(v.head[4:], uint64(pts))
	if _, err := v.w.Write(v.head[:]); err != nil {
		return fmt.Errorf("write IVF frame: %w", err)
	}
	if _, err := v.w.Write(data); err != nil {
		return fmt.Errorf("write IVF frame: %w", err)
	}
	return nil
}
