package raw

import "time"

// StreamWriter takes the packets of one stream.
type StreamWriter struct {
	w    *Writer
	info StreamInfo
	out  output
}

// Info describes the stream, with the id that it was given.
func (s *StreamWriter) Info() StreamInfo { return s.info }

// Write takes a packet, or the RTCP packet of a sender report, as it arrived
// at that moment. It copies b and returns without waiting for the disk; it may
// be called from several goroutines. Times are kept to the millisecond and
// never go back. While the disk has not taken the last 4 MiB of the stream,
// packets are counted as lost; so are those beyond 65527 bytes. After End or
// Close nothing is taken.
func (s *StreamWriter) Write(b []byte, rtcp bool, at time.Time) {
	if len(b) == 0 {
		return
	}
	if len(b) > maxPacket {
		s.w.lost.Add(1)
		return
	}
	ms := toMS(s.w.At(at))
	q := &s.out.queue
	q.mu.Lock()
	if q.ended {
		q.mu.Unlock()
		return
	}
	q.last = max(q.last, ms)
	ms = q.last
	c, wake := q.roomLocked(recordHead+len(b), ms)
	if c != nil {
		c.b = appendRecord(c.b, b, rtcp, ms)
	} else {
		wake = q.lost.packets == 0
		q.lost.add(1, ms)
		s.w.lost.Add(1)
	}
	q.mu.Unlock()
	if wake {
		s.w.nudge()
	}
}

// End tells that the stream is over: what was taken is written, the file is
// closed, and its memory given back, soon after.
func (s *StreamWriter) End() { s.out.end() }
