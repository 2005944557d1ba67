package event

import "time"

// Types of the events about full recordings. Maps and lists in their bodies
// are never nil.
const (
	CallRecordingStarted = "call.recording_started"
	CallRecordingStopped = "call.recording_stopped"
	CallRecordingFailed  = "call.recording_failed"
	CallRecordingReady   = "call.recording_ready"
	// CallRecordingOverride tells of a use of the evidence lane.
	CallRecordingOverride = "call.recording_override"
)

// Formats of a recording's file.
const (
	RecordingMP4  = "mp4"
	RecordingWebM = "webm"
	RecordingFLV  = "flv"
	RecordingHLS  = "hls"
	RecordingOgg  = "ogg"
	RecordingOpus = "opus" // an Ogg file by another name
	RecordingWAV  = "wav"
	RecordingAAC  = "aac"
	RecordingJSON = "json" // what is known of a run's files
)

// Lanes of a recording.
const (
	LaneBusiness = "business"
	LaneEvidence = "evidence"
)

// RecordType is what of a publisher's media the business lane records.
type RecordType string

// The record types.
const (
	RecordAll   RecordType = "" // pictures and sound
	RecordAudio RecordType = "audio"
	RecordVideo RecordType = "video"
)

// Leaves tells whether pictures, or else sound, are left out.
func (r RecordType) Leaves(video bool) bool {
	return r == RecordAudio && video || r == RecordVideo && !video
}

// RecordingState is the body of CallRecordingStarted and Stopped.
type RecordingState struct {
	Type          string    `json:"type"`
	CreatedAt     time.Time `json:"created_at"`
	CallCID       string    `json:"call_cid"`
	EgressID      string    `json:"egress_id"`
	RecordingType string    `json:"recording_type"`
	// Lane is business, or evidence, which is the moderators' alone.
	Lane string `json:"lane"`
}

// RecordingOverride is the body of CallRecordingOverride: a flagged call is
// recorded as evidence although a permission says that it is not recorded, or
// not all of it.
type RecordingOverride struct {
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	CallCID   string    `json:"call_cid"`
	SessionID string    `json:"session_id"`
	// ActionID is the flag; there is one event for each.
	ActionID string `json:"action_id"`
	// PermissionOf is whose permission it goes against: user, domain or system.
	PermissionOf string `json:"permission_of"`
	// Allowed is what that lets be recorded: none, audio or video.
	Allowed string `json:"allowed"`
}

// RecordingFailed is the body of CallRecordingFailed: the call whose recording
// failed, and why. There is one for each file that was to be made.
type RecordingFailed struct {
	Type          string    `json:"type"`
	CreatedAt     time.Time `json:"created_at"`
	CallCID       string    `json:"call_cid"`
	EgressID      string    `json:"egress_id"`
	RecordingType string    `json:"recording_type"`
	SessionID     string    `json:"session_id"`
	// Format is what the file was to be, RecordingHLS for one; empty where none
	// was thought of yet.
	Format    string         `json:"format"`
	Bucket    string         `json:"bucket"`
	IndexID   string         `json:"index_id"`
	StartTime time.Time      `json:"start_time"`
	EndTime   time.Time      `json:"end_time"`
	Error     RecordingError `json:"error"`
	// Lane is business, or evidence, which is the moderators' alone.
	Lane string `json:"lane"`
	// Custom is what came with the order to record, as it came.
	Custom map[string]any `json:"custom"`
}

// RecordingError says why a recording failed. Code is never 0.
type RecordingError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// RecordingReady is the body of CallRecordingReady, one for each file. Its
// URLs can be played from the moment it is sent.
type RecordingReady struct {
	Type          string         `json:"type"`
	CreatedAt     time.Time      `json:"created_at"`
	CallCID       string         `json:"call_cid"`
	CallRecording CallRecording  `json:"call_recording"`
	EgressID      string         `json:"egress_id"`
	RecordingType string         `json:"recording_type"`
	Custom        map[string]any `json:"custom"`
	// Lane is business, or evidence, which is the moderators' alone.
	Lane string `json:"lane"`
}

// CallRecording is one finished file of a call's recording.
type CallRecording struct {
	Filename      string    `json:"filename"`
	URL           string    `json:"url"`
	StartTime     time.Time `json:"start_time"`
	EndTime       time.Time `json:"end_time"`
	SessionID     string    `json:"session_id"`
	RecordingType string    `json:"recording_type"`
	// Kind is movie, video, audio or raw. UserID is whose file it is, "" of what
	// shows all; TrackType is what of theirs it carries, absent of that.
	Kind      string    `json:"kind"`
	UserID    string    `json:"user_id"`
	TrackType TrackType `json:"track_type,omitempty"`
	// IndexID names the file for good, whatever happens to its URLs.
	IndexID string `json:"index_id"`
	// PlaybackURL is what a player takes: the index of RecordingHLS.
	PlaybackURL string `json:"playback_url"`
	Format      string `json:"format"`
	Bucket      string `json:"bucket"`
	// Size is in bytes, all items together.
	Size  int64     `json:"size"`
	Media MediaInfo `json:"media"`
	// Items are the objects that the file consists of: its index and then
	// its segments, or the one there is.
	Items []RecordingItem `json:"items"`
}

// RecordingItem is one object. Its key has no leading slash.
type RecordingItem struct {
	Key      string   `json:"key"`
	Size     int64    `json:"size"`
	Checksum Checksum `json:"checksum"`
}

// Checksum is of an object's content. ETag is its MD5, both are lower-case
// hexadecimal digits.
type Checksum struct {
	ETag   string `json:"etag"`
	SHA256 string `json:"sha256"`
}

// MediaInfo is what a probe of the file found.
type MediaInfo struct {
	Metadata MediaMetadata `json:"metadata"`
	Streams  []MediaStream `json:"streams"`
	Format   MediaFormat   `json:"format"`
}

// MediaMetadata holds what applies to the whole file. Rotate is in degrees.
type MediaMetadata struct {
	Rotate string `json:"rotate,omitempty"`
}

// MediaStream is one stream of a file. Width and height are in pixels, the
// frame rate is a fraction ("25/1"), the bit rate in bits a second, the sample
// rate in hertz.
type MediaStream struct {
	Index      int    `json:"index"`
	CodecType  string `json:"codec_type"`
	CodecName  string `json:"codec_name"`
	BitRate    int64  `json:"bit_rate"`
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
	FrameRate  string `json:"r_frame_rate,omitempty"`
	Channels   int    `json:"channels,omitempty"`
	SampleRate int    `json:"sample_rate,omitempty"`
}

// MediaFormat is the container. Duration is in seconds, as text; the size in
// bytes, the bit rate in bits a second.
type MediaFormat struct {
	Duration string `json:"duration"`
	Name     string `json:"format_name"`
	Size     int64  `json:"size"`
	BitRate  int64  `json:"bit_rate"`
}
