// Package stream carries a recording to an HTTP endpoint while the call runs:
// the packets of all as they come, and what is known of the conference.
//
// One request goes on for as long as the recording does,
//
//	POST <destination>
//	Content-Type: application/vnd.stillwatch.stream
//	Transfer-Encoding: chunked
//	X-API-KEY: <key>
//	X-SIGNATURE: <lower-case hex HMAC-SHA256 of the preamble>
//
// whose body is the eight bytes of Magic and then records of
//
//	length  4 bytes  of what follows, 1 to MaxRecord
//	kind    1 byte   below
//	payload
//
// with all numbers big-endian. The preamble is the magic and the first record.
// The kinds are
//
//	'H' Header as JSON: once, first.
//	'M' sequence number, 8 bytes; Event as JSON.
//	'P' sequence number, 8 bytes; arrival in ns since the session's start, 8;
//	    number of the stream, 4; an RTP packet (RFC 3550, section 5.1).
//	'C' the same with an RTCP sender report (section 6.4.1).
//	'G' sequence number, 8 bytes; Gap as JSON.
//	'S' HMAC-SHA256, 32 bytes, under the API secret, of all that came before
//	    this record in this body.
//	'E' End as JSON, then one more 'S', then the body's end: the stream is whole.
//
// Sequence numbers begin with 1 and grow by one over all connections, over what
// the sender had to drop too: a number that never comes is something lost. After
// a connection that broke, another request goes on: its header counts
// connections, its events with number 0 tell the state anew unless all comes
// again from number 1 on, and what came last comes again, so that numbers that
// are known already are to be passed over.
// Kinds that a receiver does not know are to be passed over as well.
package stream

import (
	"time"

	"stillwatch/internal/signature"
	"stillwatch/recording/raw"
)

// What both sides agree on.
const (
	Magic       = "SWLIVE\x00\x01"
	ContentType = "application/vnd.stillwatch.stream"
	Version     = 1
	// MaxRecord bounds a record without its length, in bytes; MaxText a header,
	// an event or an end.
	MaxRecord = 1 + 20 + 1<<16
	MaxText   = 64 << 10

	HeaderKey       = signature.HeaderKey
	HeaderSignature = signature.HeaderSignature
)

// Kind is what a record is.
type Kind byte

// The kinds.
const (
	KindHeader    Kind = 'H'
	KindEvent     Kind = 'M'
	KindRTP       Kind = 'P'
	KindRTCP      Kind = 'C'
	KindGap       Kind = 'G'
	KindSignature Kind = 'S'
	KindEnd       Kind = 'E'
)

// Sizes in bytes.
const (
	lengthBytes = 4
	seqBytes    = 8
	mediaHead   = seqBytes + 8 + 4
	sumBytes    = 32
)

// Header is the first record of a connection.
type Header struct {
	Version int `json:"version"`
	// RecordingID names the run whose stream it is, RecordingType what files
	// are made of it besides: composite, individual or raw.
	RecordingID   string         `json:"egress_id"`
	RecordingType string         `json:"recording_type"`
	CallCID       string         `json:"call_cid"`
	CallType      string         `json:"call_type"`
	CallID        string         `json:"call_id"`
	SessionID     string         `json:"session_id"`
	StartedAt     time.Time      `json:"session_started_at"`
	RunStartedAt  time.Time      `json:"recording_started_at"`
	Custom        map[string]any `json:"custom"`
	// Connection counts from 1; above 1 the stream goes on.
	Connection int `json:"connection"`
	// Next is the first sequence number of this connection, 0 aside.
	Next uint64 `json:"next"`
	// SentAt is when the connection was begun. A receiver that checks
	// signatures refuses what is MaxSkew away from its own clock.
	SentAt time.Time `json:"sent_at"`
}

// Session is the session of which the stream is.
func (h Header) Session() raw.SessionInfo {
	return raw.SessionInfo{CID: h.CallCID, CallType: h.CallType, CallID: h.CallID, SessionID: h.SessionID, StartedAt: h.StartedAt}
}

// MaxSkew is how far the clocks of sender and receiver may be apart.
const MaxSkew = 5 * time.Minute

// Speaker is the kind of an Event that tells who has the floor: UserID and
// UserSessionID, "" nobody, and in Streams which streams show them. The other
// kinds are Joined, Left, Added, Removed, Muted and Unmuted of package raw.
const Speaker raw.EntryKind = "speaker"

// Event tells of the conference: an entry of raw's journal, whose times are in
// nanoseconds since the session's start.
type Event struct {
	raw.Entry
	// Number is that of an added stream: media records name it.
	Number uint32 `json:"number,omitempty"`
	// Streams are the numbers of what shows the active speaker: a camera, or a
	// layer of it, each.
	Streams []uint32 `json:"streams,omitempty"`
}

// Gap tells what the sender dropped, since its receiver took no more.
type Gap struct {
	// First to Last are the sequence numbers that do not come.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Packets are RTP packets and reports, Bytes theirs, Events others.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Events  uint64 `json:"events"`
	// From and To are when the first and the last of it came.
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

// End closes a stream that is whole.
type End struct {
	At time.Duration `json:"at"`
	// Reason is "stopped" (the recording), "ended" (the session) or
	// "interrupted" (the server stops).
	Reason string `json:"reason"`
	// Last is the last sequence number. Packets were taken for the stream and
	// Lost of them dropped. Connections it took.
	Last        uint64 `json:"last"`
	Packets     uint64 `json:"packets"`
	Lost        uint64 `json:"lost"`
	Connections int    `json:"connections"`
}

// Reasons of an End.
const (
	Stopped     = "stopped"
	Ended       = "ended"
	Interrupted = "interrupted"
)
