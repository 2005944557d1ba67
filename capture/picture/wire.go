//go:build cgo && linux

package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// The layouts of worker.h. Both ends are one binary, so they cross the socket
// as they lie in memory.

const (
	opPicture = 1
	opFloor   = 2
)

// padding is AV_INPUT_BUFFER_PADDING_SIZE: decoders read past the end.
const padding = 64

const helloMagic = 0x73746c77

type request struct {
	Seq, Op, Codec, Length               uint32
	MaxHeight, Rotation, Quality, Rounds uint32
}

type response struct {
	Seq, Status                                        uint32
	JPEGLength, Width, Height                          uint32
	SourceWidth, SourceHeight, Frames                  uint32
	PHash                                              uint64
	LumaMean, LumaStd                                  float64
	DecodeNS, ScaleNS, EncodeNS, TensorNS, ProcessorNS uint64
	Reason                                             [64]byte
}

// allCodecs is hello.Codecs where no decoder is missing.
const allCodecs = 1<<4 - 1

// hello is the worker's greeting; Landlock is the interface's version and
// Seccomp 1, or each minus the error number that kept it out.
type hello struct {
	Magic, Codecs     uint32
	Landlock, Seccomp int32
}

func encode(r *request) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))
}

func decode[T response | hello](b []byte, v *T) error {
	if len(b) != binary.Size(v) {
		return fmt.Errorf("message of %d bytes, want %d", len(b), binary.Size(v))
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)), b)
	return nil
}

// codecNumber is the bit of a codec in hello.Codecs, and its name in requests.
func codecNumber(c event.Codec) uint32 {
	switch c {
	case event.VP8:
		return 0
	case event.VP9:
		return 1
	case event.H264:
		return 2
	default:
		return 3
	}
}

// err translates the worker's status.
func (r *response) err() error {
	var class error
	switch r.Status {
	case 0:
		return nil
	case 1:
		class = still.ErrUndecodable
	case 2:
		class = still.ErrUnsupported
	case 3:
		class = still.ErrTooLarge
	default:
		class = still.ErrCrashed
	}
	reason, _, _ := bytes.Cut(r.Reason[:], []byte{0})
	return fmt.Errorf("%w: %q", class, reason)
}
