package composite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// ErrTorn is a chunk whose end is missing: ffmpeg is content when the disk
// does not take the last of what it writes.
var ErrTorn = errors.New("the end of the file is missing")

// indexStart begins the index that a NUT file ends with (its specification,
// "index"): "NX" and a number.
const indexStart = 0x4E58DD672F23E64E

// checkNUT tells whether a NUT file has its index: then all before it is there.
func checkNUT(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("look at chunk: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at chunk: %w", err)
	}
	number := func(at int64) uint64 {
		var b [8]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return 0
		}
		return binary.BigEndian.Uint64(b[:])
	}
	// The last are how far back the index begins, and a checksum of four bytes.
	size := info.Size()
	back := number(size - 12)
	if back < 12 || back > uint64(size) || number(size-int64(back)) != indexStart {
		return fmt.Errorf("look at chunk: %w", ErrTorn)
	}
	return nil
}
