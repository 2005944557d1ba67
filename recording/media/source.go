package media

import (
	"iter"
	"time"

	"stillwatch/recording/raw"
)

// Source is a session's folder as raw.Reader reads it.
type Source interface {
	Session() raw.SessionInfo
	Entries() []raw.Entry
	Streams() []raw.StreamInfo
	// Packets are in order of arrival. Data is valid until the next.
	Packets(streamID string) iter.Seq2[raw.Packet, error]
	Length() time.Duration
}

// seeker is a Source that need not read a stream from its start.
type seeker interface {
	// PacketsFrom gives all packets that arrived at the moment or later, in
	// order of arrival, and maybe some before them.
	PacketsFrom(streamID string, at time.Duration) iter.Seq2[raw.Packet, error]
}

func packetsFrom(src Source, id string, at time.Duration) iter.Seq2[raw.Packet, error] {
	if s, ok := src.(seeker); ok && at > 0 {
		return s.PacketsFrom(id, at)
	}
	return src.Packets(id)
}
