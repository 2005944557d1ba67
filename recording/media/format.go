package media

import "errors"

// errMalformed says that a picture whose packets are all there cannot be read.
var errMalformed = errors.New("malformed picture")

// errNoPicture says that packets held no picture, and nothing is missing.
var errNoPicture = errors.New("no picture")

// picture is what a format found in a whole coded picture.
type picture struct {
	key           bool
	width, height int
	// params sums up what a container's header holds of the stream: where it
	// changes, a new file begins. Of keyframes only.
	params uint64
}

// format knows one codec's RTP payloads.
type format interface {
	// starts tells whether the payload, of at least one byte, provably is the
	// first of its picture.
	starts(payload []byte) bool
	// join appends to dst the coded picture of payloads in order, none empty.
	join(dst []byte, payloads [][]byte) ([]byte, picture, error)
	// save returns what a format that begins in the middle of the stream must
	// know; load takes it.
	save() any
	load(any)
}

// Codecs, as Track.Codec has them.
const (
	VP8  = "VP8"
	VP9  = "VP9"
	H264 = "H264"
	AV1  = "AV1"
	Opus = "opus"
	PCMU = "PCMU"
	PCMA = "PCMA"
)

// newFormat returns nil for codecs that are not pictures.
func newFormat(codec string, sets [][]byte) format {
	switch codec {
	case VP8:
		return vp8{}
	case VP9:
		return vp9{}
	case H264:
		return newH264(sets)
	case AV1:
		return &av1{}
	default:
		return nil
	}
}

// stateless is for formats that need nothing of what came before.
type stateless struct{}

func (stateless) save() any { return nil }
func (stateless) load(any)  {}

// mix adds b to the FNV-1a hash h.
func mix(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

const mixBasis = 14695981039346656037
