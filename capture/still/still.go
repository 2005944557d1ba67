// Package still says what a still picture is: the request that turns a coded
// keyframe into one, the picture itself, and the ways in which it can fail.
//
// It is pure Go, so that everything that handles stills compiles without cgo;
// capture/picture is the implementation.
package still

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stillwatch/internal/event"
)

// Why a keyframe gave no picture. Every error of an Imager wraps exactly one
// of these, or the error of its context.
var (
	// ErrInvalid: the request itself is wrong (empty keyframe, unknown codec,
	// rotation that is no quarter turn). The caller's fault.
	ErrInvalid = errors.New("invalid still request")
	// ErrUndecodable: the bytes are no whole, undamaged keyframe. The
	// publisher's fault.
	ErrUndecodable = errors.New("keyframe is undecodable")
	// ErrUnsupported: the keyframe is valid, but not 8-bit 4:2:0. The
	// publisher's fault.
	ErrUnsupported = errors.New("keyframe format is unsupported")
	// ErrTooLarge: the keyframe's bytes or pixels exceed the limits. The
	// publisher's fault.
	ErrTooLarge = errors.New("keyframe is too large")
	// ErrCrashed: the worker died while it held this keyframe. It is
	// restarted, and only this picture is lost.
	ErrCrashed = errors.New("picture worker crashed")
	// ErrDeadline: the worker did not finish in time and was killed.
	ErrDeadline = errors.New("picture worker exceeded its deadline")
	// ErrParked: the same bytes have killed two workers before, so they are
	// refused without being looked at.
	ErrParked = errors.New("keyframe is parked")
	// ErrBusy: all workers are busy and the queue is full. Ours.
	ErrBusy = errors.New("picture queue is full")
	// ErrClosed: the imager is not running. Ours.
	ErrClosed = errors.New("picture pool is closed")
	// ErrUnavailable: this program was built without the picture worker
	// (CGO_ENABLED=0). Ours.
	ErrUnavailable = errors.New("picture worker is not built in")
)

// DefaultQuality is the JPEG quality of a request that names none.
const DefaultQuality = 80

// Imager makes pictures of keyframes. It is safe for concurrent use.
type Imager interface {
	// Picture blocks until the picture is made, has failed or ctx ends. The
	// keyframe's bytes may be reused once it has returned.
	Picture(ctx context.Context, req Request) (Picture, error)
}

// Request asks for one picture.
type Request struct {
	Codec event.Codec
	// Keyframe is one whole coded keyframe: a VP8 frame (RFC 6386), a VP9
	// frame or superframe, an H.264 access unit in Annex B form with its SPS
	// and PPS in front, or an AV1 temporal unit of OBUs that have their size
	// fields (the "low-overhead bitstream format", AV1 section 5.2).
	Keyframe []byte
	// MaxHeight bounds the picture's height in lines, after rotation; width
	// follows the aspect ratio. 0 is no bound. A picture is never enlarged.
	MaxHeight int
	// Rotation in degrees clockwise that the receiver has to apply: 0, 90,
	// 180 or 270 (the CVO header extension, 3GPP TS 26.114 section 7.4.5).
	Rotation int
	// Quality of the JPEG, 1 to 100; 0 is DefaultQuality.
	Quality int
}

// Validate answers ErrInvalid with the reason, or nil.
func (r Request) Validate() error {
	switch r.Codec {
	case event.VP8, event.VP9, event.H264, event.AV1:
	default:
		return fmt.Errorf("%w: codec %q", ErrInvalid, r.Codec)
	}
	switch r.Rotation {
	case 0, 90, 180, 270:
	default:
		return fmt.Errorf("%w: rotation %d", ErrInvalid, r.Rotation)
	}
	switch {
	case len(r.Keyframe) == 0:
		return fmt.Errorf("%w: empty keyframe", ErrInvalid)
	case r.MaxHeight < 0:
		return fmt.Errorf("%w: height %d", ErrInvalid, r.MaxHeight)
	case r.Quality < 0 || r.Quality > 100:
		return fmt.Errorf("%w: quality %d", ErrInvalid, r.Quality)
	}
	return nil
}

// Picture is what a keyframe shows.
type Picture struct {
	// JPEG is a baseline JFIF, 4:2:0, full range BT.601 as JFIF demands.
	JPEG []byte
	// Width and Height of the JPEG in pixels, after rotation.
	Width, Height int
	// SourceWidth and SourceHeight of the decoded frame, before rotation.
	SourceWidth, SourceHeight int
	// Tensors holds, for each configured size N, the whole picture, upright,
	// squeezed to N by N with bilinear scaling of aligned corners: RGB, 8
	// bits, interleaved (HWC), N*N*3 bytes. They are of the picture that the
	// JPEG shows, before its loss.
	Tensors map[int][]byte
	// PHash is the 64-bit perceptual hash: see Distance.
	PHash uint64
	// LumaMean and LumaStd are the mean and the standard deviation of full
	// range luma, 0 to 255. A covered camera has both near 0; a plain
	// surface has only LumaStd near 0.
	LumaMean, LumaStd float64
	Timing            Timing
}

// Timing says how long each step took on the worker's clock.
type Timing struct {
	Decode, Scale, Encode, Tensor time.Duration
	// Total is from hand-over to answer, waiting for a worker excluded.
	Total time.Duration
}
