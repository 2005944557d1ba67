package composite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// errFragments is for a file that is no fragmented MP4.
var errFragments = errors.New("not a fragmented MP4")

// fragment is a moof and its mdat; at is its first decoding time.
type fragment struct {
	data []byte
	at   time.Duration
}

// box is a part of an MP4 file (ISO/IEC 14496-12, 4.2).
type box struct {
	kind string
	all  []byte // with its header
	body []byte
}

// nextBox takes the first box of data.
func nextBox(data []byte) (b box, rest []byte, err error) {
	if len(data) < 8 {
		return b, nil, errFragments
	}
	size, head := uint64(binary.BigEndian.Uint32(data)), uint64(8)
	if size == 1 && len(data) >= 16 {
		size, head = binary.BigEndian.Uint64(data[8:]), 16
	}
	if size < head || size > uint64(len(data)) {
		return b, nil, errFragments
	}
	return box{string(data[4:8]), data[:size], data[head:size]}, data[size:], nil
}

// find gives the body of the first box along a path of kinds.
func find(data []byte, path ...string) ([]byte, bool) {
	for len(data) > 0 {
		b, rest, err := nextBox(data)
		if err != nil {
			return nil, false
		}
		if b.kind == path[0] {
			if len(path) == 1 {
				return b.body, true
			}
			return find(b.body, path[1:]...)
		}
		data = rest
	}
	return nil, false
}

// fragments splits a fragmented MP4 with one track into what initialises a
// player and its fragments.
func fragments(data []byte) (init []byte, parts []fragment, err error) {
	var moof []byte
	var scale uint32
	for len(data) > 0 {
		b, rest, err := nextBox(data)
		if err != nil {
			return nil, nil, err
		}
		data = rest
		switch b.kind {
		case "ftyp", "moov":
			init = append(init, b.all...)
			if mdhd, ok := find(b.body, "trak", "mdia", "mdhd"); ok && b.kind == "moov" {
				scale = timescale(mdhd)
			}
		case "moof":
			moof = b.all
		case "mdat":
			tfdt, ok := find(moof, "moof", "traf", "tfdt")
			if !ok || scale == 0 {
				return nil, nil, errFragments
			}
			at, err := decodeTime(tfdt, scale)
			if err != nil {
				return nil, nil, err
			}
			parts = append(parts, fragment{data: append(bytes.Clone(moof), b.all...), at: at})
		}
	}
	if init == nil || parts == nil {
		return nil, nil, errFragments
	}
	return init, parts, nil
}

func timescale(mdhd []byte) uint32 {
	at := 12
	if len(mdhd) > 0 && mdhd[0] == 1 {
		at = 20
	}
	if len(mdhd) < at+4 {
		return 0
	}
	return binary.BigEndian.Uint32(mdhd[at:])
}

func decodeTime(tfdt []byte, scale uint32) (time.Duration, error) {
	var v uint64
	switch {
	case len(tfdt) >= 12 && tfdt[0] == 1:
		v = binary.BigEndian.Uint64(tfdt[4:])
	case len(tfdt) >= 8:
		v = uint64(binary.BigEndian.Uint32(tfdt[4:]))
	default:
		return 0, errFragments
	}
	return time.Duration(float64(v) / float64(scale) * float64(time.Second)), nil
}

// avcName is the codec's name for playlists, from the avcC box (RFC 6381).
func avcName(init []byte) string {
	i := bytes.Index(init, []byte("avcC"))
	if i < 0 || len(init) < i+8 {
		return "avc1.640028"
	}
	return fmt.Sprintf("avc1.%02x%02x%02x", init[i+5], init[i+6], init[i+7])
}
