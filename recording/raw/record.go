package raw

import (
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"time"
)

// A record of rtpdump is a packet behind 8 bytes: the record's length, the
// packet's length (0 for RTCP), and milliseconds since the start (rtptools,
// rtpdump.h).
const (
	recordHead = 8
	// maxPacket is the largest packet that fits, in bytes.
	maxPacket = 1<<16 - 1 - recordHead
)

func appendRecord(dst, b []byte, rtcp bool, ms uint32) []byte {
	size := uint16(len(b))
	if rtcp {
		size = 0
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b)+recordHead))
	dst = binary.BigEndian.AppendUint16(dst, size)
	dst = binary.BigEndian.AppendUint32(dst, ms)
	return append(dst, b...)
}

// nextRecord takes the first record off b.
func nextRecord(b []byte) (p Packet, rest []byte, err error) {
	if len(b) < recordHead {
		return p, nil, fmt.Errorf("record: %w", ErrTampered)
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < recordHead || n > len(b) {
		return p, nil, fmt.Errorf("record: %w", ErrTampered)
	}
	p.RTCP = binary.BigEndian.Uint16(b[2:]) == 0
	p.At = fromMS(binary.BigEndian.Uint32(b[4:]))
	p.Data = b[recordHead:n:n]
	return p, b[n:], nil
}

func fromMS(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }

// toMS clamps to what a record can say: 49 days.
func toMS(d time.Duration) uint32 {
	return uint32(min(max(d/time.Millisecond, 0), 1<<32-1))
}

// dumpSource is what a dump says of where its packets came from. Programs
// refuse a file that names no address.
var dumpSource = struct {
	ip   net.IP
	port uint16
}{net.IPv4(127, 0, 0, 1).To4(), 5004}

// dumpHead is the beginning of an rtpdump file.
func dumpHead(at time.Time) []byte {
	out := []byte("#!rtpplay1.0 " + dumpSource.ip.String() + "/" + strconv.Itoa(int(dumpSource.port)) + "\n")
	out = binary.BigEndian.AppendUint32(out, uint32(at.Unix()))
	out = binary.BigEndian.AppendUint32(out, uint32(at.Nanosecond()/1000))
	out = append(out, dumpSource.ip...)
	out = binary.BigEndian.AppendUint16(out, dumpSource.port)
	return append(out, 0, 0)
}
