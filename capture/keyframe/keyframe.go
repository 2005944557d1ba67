// Package keyframe makes whole coded keyframes of the RTP packets of a video
// track, and gives none that is not provably whole.
package keyframe

import (
	"errors"
	"fmt"
	"time"

	"stillwatch/internal/event"
)

// Defaults and bounds of Config.
const (
	// DefaultMaxBytes bounds a coded keyframe: 4 MiB is some ten times a 1440p
	// keyframe of high quality.
	DefaultMaxBytes = 4 << 20
	// DefaultWindow is for how many later packets a keyframe waits for a
	// missing one: at 1200 bytes and 2 Mbit/s about two seconds.
	DefaultWindow = 512
	// MaxWindow is the upper bound of Config.Window, and of the packets that a
	// keyframe may have.
	MaxWindow = ringSize / 2
)

// ErrCodec says that the codec has no assembler.
var ErrCodec = errors.New("no keyframe assembler for codec")

// Config says how an Assembler reads its track.
type Config struct {
	// MaxHeight, in lines, is the height that is wanted of a VP9 stream with
	// several spatial layers: the lowest layer that reaches it is taken, with
	// those below it. 0 takes all layers. Other codecs do not heed it.
	MaxHeight int
	// RotationExtID is the id of the header extension
	// urn:3gpp:video-orientation, 0 if it was not negotiated.
	RotationExtID uint8
	// ParameterSets are H.264 SPS and PPS NAL units known from the signalling.
	ParameterSets [][]byte
	// MaxBytes bounds the coded keyframe, and all that is kept of frames that
	// are not whole yet. Default DefaultMaxBytes.
	MaxBytes int
	// Window is how many packets may arrive after a keyframe's last one before
	// the keyframe is given up, 1 to MaxWindow. Default DefaultWindow.
	Window int
}

// Keyframe is one whole coded keyframe.
type Keyframe struct {
	Codec event.Codec
	// Data is a VP8 frame (RFC 6386), a VP9 frame or superframe (VP9 bitstream
	// specification, annex B), an H.264 access unit in Annex B form with its
	// parameter sets in front, or an AV1 temporal unit in the low-overhead
	// bitstream format with delimiter and sequence header. The receiver owns it.
	Data         []byte
	RTPTimestamp uint32
	// Width and Height are the coded picture's in pixels, before rotation; 0
	// when the bitstream did not tell cheaply.
	Width, Height int
	// Rotation in degrees clockwise makes the picture upright: 0, 90, 180, 270.
	Rotation int
	// Layers is how many spatial layers Data holds, at least 1. The picture is
	// the last one that a decoder gives.
	Layers int
	// Packets counts the RTP packets that the keyframe came in.
	Packets int
	// FirstAt and LastAt are the arrivals of the first and the last of them to
	// arrive.
	FirstAt, LastAt time.Time
}

// Stats counts what an Assembler has seen since it was made.
type Stats struct {
	// Packets, of which Duplicates came again and Late came after their
	// window had passed or were out of all sequence.
	Packets, Duplicates, Late uint64
	// Keyframes that were whole.
	Keyframes uint64
	// Incomplete keyframes were given up because packets were missing.
	Incomplete uint64
	// Malformed frames were whole by their packets but are no keyframe that a
	// decoder could use; TooLarge ones exceeded a bound; NoParameters ones
	// lacked an SPS, a PPS or a sequence header.
	Malformed, TooLarge, NoParameters uint64
}

// New makes an Assembler for a codec. It answers ErrCodec for an unknown one.
func New(codec event.Codec, cfg Config) (*Assembler, error) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.Window <= 0 {
		cfg.Window = DefaultWindow
	}
	cfg.Window = min(cfg.Window, MaxWindow)
	a := &Assembler{codec: codec, cfg: cfg}
	switch codec {
	case event.VP8:
		a.format = vp8{}
	case event.VP9:
		a.format = &vp9{maxHeight: cfg.MaxHeight}
	case event.H264:
		a.format = newH264(cfg.ParameterSets)
	case event.AV1:
		a.format = &av1{}
	default:
		return nil, fmt.Errorf("%w %q", ErrCodec, codec)
	}
	return a, nil
}
