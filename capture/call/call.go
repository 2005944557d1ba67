// Package call holds the live calls of this node: who is in, which tracks they
// publish, who watches, and the enforcement that ends all of it at once.
//
// A session of a call starts when the first participant is connected and ends
// when the last has left and the grace has passed. A user may be in a call
// several times; each connection is a user session of its own.
package call

import (
	"errors"
	"time"

	"stillwatch/capture"
)

// Errors of taking part.
var (
	// ErrFull tells that the node has no room for another connection.
	ErrFull = errors.New("call: the node is full")
	// ErrTooMany tells that the user has too many connections.
	ErrTooMany = errors.New("call: too many connections of this user")
	// ErrRemoved tells that the user was disconnected while joining.
	ErrRemoved = errors.New("call: the user was disconnected")
	// ErrClosed tells that the registry was closed.
	ErrClosed = errors.New("call: the registry is closed")
)

// Session is one live run of a call.
type Session struct {
	CID, CallType, CallID string
	// ID is the session's id.
	ID        string
	StartedAt time.Time
	// EndedAt is zero while the session lives.
	EndedAt time.Time
}

// Participant is one connection of a user who publishes in a session.
type Participant struct {
	Session Session
	UserID  string
	Role    string
	// UserSessionID identifies the connection.
	UserSessionID string
	JoinedAt      time.Time
	// LeftAt is zero while the participant is in.
	LeftAt time.Time
}

// TrackObserver is told of tracks, in the order in which things happen. Its
// methods are called from one goroutine and do not block for long.
type TrackObserver interface {
	TrackAdded(t capture.Track)
	TrackRemoved(id string)
	// TrackMuted tells that packets stopped, or came again.
	TrackMuted(id string, muted bool)
}

// LayerObserver is a TrackObserver that is told of simulcast layers too: of
// those whose first packet came after that of the track. A layer may be told
// of that Track.RIDs had already when TrackAdded was.
type LayerObserver interface {
	LayerAdded(trackID, rid string)
}

// SessionObserver is told of sessions and participants, on the same terms.
type SessionObserver interface {
	SessionStarted(s Session)
	SessionEnded(s Session)
	ParticipantJoined(p Participant)
	ParticipantLeft(p Participant, reason string)
}

// Conn is a connection of a user, as enforcement sees it.
type Conn interface {
	// Cut drops all media of the connection at once, without waiting.
	Cut()
	// End closes the connection and leaves the call, and returns when both
	// are done. It may be called several times; each call waits.
	End(reason string)
}

// Live is a snapshot of a live session.
type Live struct {
	Session      Session
	Participants []Participant
	Tracks       []capture.TrackInfo
	Viewers      int
}

// Codec is what was negotiated for a track, as SDP names it.
type Codec struct {
	// MimeType is "video/VP8", "audio/opus" and so on.
	MimeType string
	// ClockRate is the RTP clock in Hz.
	ClockRate uint32
	// Channels is 0 for video.
	Channels uint16
	// Fmtp is the line of format parameters.
	Fmtp string
}
