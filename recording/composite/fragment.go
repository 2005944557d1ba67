package composite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// errFragments is for a file that is no fragmented MP4.
var errFragments = errors.New("not a fragmented MP4")

// fragment is a moof and its mdat; at is its first decoding time in units of
// the timescale.
type fragment struct {
	data []byte
	at   uint64
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
func fragments(data []byte) (*fragmented, error) {
	f := new(fragmented)
	var moof []byte
	for len(data) > 0 {
		b, rest, err := nextBox(data)
		if err != nil {
			return nil, err
		}
		data = rest
		switch b.kind {
		case "ftyp", "moov":
			f.init = append(f.init, b.all...)
			if mdhd, ok := find(b.body, "trak", "mdia", "mdhd"); ok && b.kind == "moov" {
				f.scale = timescale(mdhd)
			}
		case "moof":
			moof = b.all
		case "mdat":
			tfdt, ok := find(moof, "moof", "traf", "tfdt")
			if !ok || f.scale == 0 {
				return nil, errFragments
			}
			at, err := decodeTime(tfdt)
			if err != nil {
				return nil, err
			}
			f.parts = append(f.parts, fragment{data: append(bytes.Clone(moof), b.all...), at: at})
		}
	}
	if f.init == nil || f.parts == nil {
		return nil, errFragments
	}
	return f, nil
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

// decodeTime reads a tfdt box (8.8.12) in units of the timescale.
func decodeTime(tfdt []byte) (uint64, error) {
	switch {
	case len(tfdt) >= 12 && tfdt[0] == 1:
		return binary.BigEndian.Uint64(tfdt[4:]), nil
	case len(tfdt) >= 8:
		return uint64(binary.BigEndian.Uint32(tfdt[4:])), nil
	}
	return 0, errFragments
}

// composition is by how much later than decoded the first picture is shown
// (trun box, 8.8.8), in units of the timescale.
func composition(moof []byte) int64 {
	trun, ok := find(moof, "moof", "traf", "trun")
	if !ok || len(trun) < 8 {
		return 0
	}
	flags, at := binary.BigEndian.Uint32(trun)&0xffffff, 8
	if flags&0x800 == 0 {
		return 0
	}
	for _, field := range []uint32{0x1, 0x4, 0x100, 0x200, 0x400} {
		if flags&field != 0 {
			at += 4
		}
	}
	if len(trun) < at+4 {
		return 0
	}
	return int64(int32(binary.BigEndian.Uint32(trun[at:])))
}

// fragmented is a fragmented MP4 with one track.
type fragmented struct {
	init  []byte
	scale uint32 // units of time in a second
	parts []fragment
}

// move lets the first fragment's first picture, or sound, begin at a time; the
// others keep their distance.
func (f *fragmented) move(to time.Duration) error {
	if len(f.parts) == 0 {
		return errFragments
	}
	units := int64(math.Round(to.Seconds() * float64(f.scale)))
	by := units - int64(f.parts[0].at) - composition(f.parts[0].data)
	for i := range f.parts {
		p := &f.parts[i]
		at := int64(p.at) + by
		tfdt, ok := find(p.data, "moof", "traf", "tfdt")
		if !ok || at < 0 {
			return errFragments
		}
		p.at = uint64(at)
		if tfdt[0] == 1 {
			binary.BigEndian.PutUint64(tfdt[4:], p.at)
			continue
		}
		if at > math.MaxUint32 {
			return errFragments
		}
		binary.BigEndian.PutUint32(tfdt[4:], uint32(at))
	}
	return nil
}

// length is from fragment i to the next, or to the end when it is the last.
func (f *fragmented) length(i int, whole time.Duration) time.Duration {
	if i+1 < len(f.parts) {
		return f.time(f.parts[i+1].at - f.parts[i].at)
	}
	return max(whole-f.time(f.parts[i].at-f.parts[0].at), 0)
}

func (f *fragmented) time(units uint64) time.Duration {
	return time.Duration(float64(units) / float64(f.scale) * float64(time.Second))
}

// avcName is the codec's name for playlists, from the avcC box (RFC 6381).
func avcName(init []byte) string {
	i := bytes.Index(init, []byte("avcC"))
	if i < 0 || len(init) < i+8 {
		return "avc1.640028"
	}
	return fmt.Sprintf("avc1.%02x%02x%02x", init[i+5], init[i+6], init[i+7])
}
