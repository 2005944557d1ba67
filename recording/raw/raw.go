// Package raw keeps the packets of a call as they arrived: one encrypted,
// append-only file for each stream, and a journal of what happened.
//
// A folder holds one session. Its files are sealed in pieces with keys made
// from the folder's own key, so that destroying the key destroys what was
// written (the packets of a call that nobody flagged). Opened, a stream's file
// is an rtpdump (the format of rtptools, which Wireshark reads).
package raw

import (
	"errors"
	"time"

	"stillwatch/internal/event"
)

// Key encrypts one session's folder.
type Key [32]byte

// SessionInfo is the first thing in the journal.
type SessionInfo struct {
	CID       string    `json:"cid"`
	CallType  string    `json:"call_type"`
	CallID    string    `json:"call_id"`
	SessionID string    `json:"session_id"`
	StartedAt time.Time `json:"started_at"`
}

// StreamInfo describes one RTP stream: a track, or one simulcast layer of it.
type StreamInfo struct {
	// ID names the stream's file, unique in the folder.
	ID      string `json:"id"`
	TrackID string `json:"track_id"`
	// RID is the simulcast layer, "" without; Order its place, 0 the first
	// offered.
	RID   string `json:"rid,omitempty"`
	Order int    `json:"order,omitempty"`
	// UserID is whose it is, UserSessionID which connection of theirs.
	UserID        string          `json:"user_id"`
	UserSessionID string          `json:"user_session_id"`
	Type          event.TrackType `json:"type"`
	// MimeType is as in SDP ("video/VP8", "audio/opus"), ClockRate in Hz.
	MimeType  string `json:"mime_type"`
	ClockRate uint32 `json:"clock_rate"`
	Channels  uint16 `json:"channels,omitempty"`
	Fmtp      string `json:"fmtp,omitempty"`
	// RotationExtID and AudioLevelExtID are ids of RTP header extensions, 0
	// where not negotiated.
	RotationExtID   uint8 `json:"rotation_ext_id,omitempty"`
	AudioLevelExtID uint8 `json:"audio_level_ext_id,omitempty"`
	// ParameterSets are H.264 SPS and PPS from the SDP, without start codes.
	ParameterSets [][]byte `json:"parameter_sets,omitempty"`
	// Record is what of the connection's media the business lane records.
	Record event.RecordType `json:"record,omitempty"`
	// At is since the session's start.
	At time.Duration `json:"at"`
}

// LeftOut tells whether the stream is here for evidence alone.
func (s StreamInfo) LeftOut() bool { return s.Record.Leaves(s.Video()) }

// Video tells whether the stream is a picture.
func (s StreamInfo) Video() bool {
	return s.Type == event.TrackVideo || s.Type == event.TrackScreenShare
}

// RoleMixer is the role of the person that the sound of all is put down to,
// where a mixer recorded it. They are heard and never shown, and nobody counts
// them.
const RoleMixer = "mixer"

// EntryKind says what a journal entry tells.
type EntryKind string

// The kinds.
const (
	Joined  EntryKind = "joined"  // a participant came
	Left    EntryKind = "left"    // and went
	Added   EntryKind = "added"   // a stream began
	Removed EntryKind = "removed" // a track ended
	Muted   EntryKind = "muted"   // packets of a track stopped
	Unmuted EntryKind = "unmuted" // and came again
	Due     EntryKind = "due"     // a run was to begin and is not written yet: RecordingID
	Started EntryKind = "started" // a recording run began: RecordingID
	Stopped EntryKind = "stopped" // and ended
	Flagged EntryKind = "flagged" // the call was flagged because of UserID
	Lost    EntryKind = "lost"    // packets could not be written: Detail says why
	Dropped EntryKind = "dropped" // what was written before was given up
	Ended   EntryKind = "ended"   // the session ended
)

// Entry is a line of the journal. Which fields count depends on Kind.
type Entry struct {
	Kind EntryKind `json:"kind"`
	// At is since the session's start.
	At            time.Duration `json:"at"`
	UserID        string        `json:"user_id,omitempty"`
	UserSessionID string        `json:"user_session_id,omitempty"`
	Name          string        `json:"name,omitempty"`
	Role          string        `json:"role,omitempty"`
	TrackID       string        `json:"track_id,omitempty"`
	Stream        *StreamInfo   `json:"stream,omitempty"`
	RecordingID   string        `json:"recording_id,omitempty"`
	Detail        string        `json:"detail,omitempty"`
}

// Packet is a stored packet. Data is valid until the next one is read.
type Packet struct {
	// At is when it arrived, since the session's start, to the millisecond.
	At time.Duration
	// RTCP tells a sender report from an RTP packet.
	RTCP bool
	Data []byte
}

// Errors of this package. What is returned wraps them with the file and piece
// concerned.
var (
	// ErrKey tells that the folder was sealed with another key.
	ErrKey = errors.New("not the key of this recording")
	// ErrTampered tells that something was changed after it was written. A
	// tail that a crash cut off is no tampering.
	ErrTampered = errors.New("not as it was written")
	// ErrEmpty tells that a folder holds no session: its writer was killed
	// before it had begun, or there never was one.
	ErrEmpty = errors.New("no session was written here")
	// ErrFull tells that Options.MaxBytes is used up.
	ErrFull = errors.New("the folder has reached its bound")
	// ErrSlow tells that packets come faster than the disk takes them.
	ErrSlow = errors.New("the disk is too slow")
	// ErrClosed tells that the writer or the stream was closed.
	ErrClosed = errors.New("closed")
)
