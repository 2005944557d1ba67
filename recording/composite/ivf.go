package composite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// ticks are the units of an IVF file's timestamps in a second.
const ticks = 90_000

// fourCC names the codecs in IVF files.
var fourCC = map[string]string{"VP8": "VP80", "VP9": "VP90", "H264": "H264", "AV1": "AV01"}

// ivf writes coded pictures with their times.
type ivf struct {
	f *os.File
	w *bufio.Writer
}

func createIVF(path, codec string, width, height int) (*ivf, error) {
	cc, ok := fourCC[codec]
	if !ok {
		return nil, fmt.Errorf("write pictures: codec %q is not VP8, VP9, H264 or AV1", codec)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create pictures: %w", err)
	}
	head := make([]byte, 0, 32)
	head = append(head, "DKIF\x00\x00\x20\x00"+cc...)
	head = binary.LittleEndian.AppendUint16(head, uint16(width))
	head = binary.LittleEndian.AppendUint16(head, uint16(height))
	head = binary.LittleEndian.AppendUint32(head, ticks)
	head = binary.LittleEndian.AppendUint32(head, 1)
	head = append(head, make([]byte, 8)...)
	i := &ivf{f: f, w: bufio.NewWriterSize(f, 1<<16)}
	_, err = i.w.Write(head)
	return i, err
}

// write adds a picture; at is not negative.
func (i *ivf) write(data []byte, at time.Duration) error {
	head := binary.LittleEndian.AppendUint32(make([]byte, 0, 12), uint32(len(data)))
	head = binary.LittleEndian.AppendUint64(head, toTicks(at))
	if _, err := i.w.Write(head); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	if _, err := i.w.Write(data); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	return nil
}

func toTicks(d time.Duration) uint64 {
	return uint64((int64(max(d, 0))/1000*ticks + 500_000) / 1_000_000)
}

func (i *ivf) close() error {
	return errors.Join(i.w.Flush(), i.f.Close())
}
