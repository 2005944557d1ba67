// Package codec reads the headers of VP8, VP9, H.264 and AV1 pictures, and of
// the RTP payloads that they come in, as far as whole pictures need it. It
// trusts no byte: what cannot be read is told, and nothing is decoded.
package codec

// Header is what the start of a VP8 or VP9 frame tells of it.
type Header struct {
	// Key says that it is a keyframe that is shown; the rest is of those alone.
	Key bool
	// Width and Height are in pixels, before scaling hints and rotation.
	Width, Height int
	// Profile, 0 to 3, and BitDepth, 8, 10 or 12, are of VP9; BitDepth is 0
	// when the header does not tell.
	Profile, BitDepth int
}
