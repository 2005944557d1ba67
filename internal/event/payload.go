package event

import "time"

// Codec is a video codec by its RTP encoding name.
type Codec string

// The codecs a frame can come from.
const (
	VP8  Codec = "VP8"
	VP9  Codec = "VP9"
	H264 Codec = "H264"
	AV1  Codec = "AV1"
)

// TrackType says what a track shows or sounds.
type TrackType string

// Track types, as they stand in public events.
const (
	TrackVideo            TrackType = "TRACK_TYPE_VIDEO"
	TrackAudio            TrackType = "TRACK_TYPE_AUDIO"
	TrackScreenShare      TrackType = "TRACK_TYPE_SCREEN_SHARE"
	TrackScreenShareAudio TrackType = "TRACK_TYPE_SCREEN_SHARE_AUDIO"
)

// FrameReady tells that a frame was captured and stored. It carries no pixels.
type FrameReady struct {
	FrameID   string    `json:"frame_id"`
	CID       string    `json:"cid"`
	CallType  string    `json:"call_type"`
	SessionID string    `json:"session_id"`
	EgressID  string    `json:"egress_id"`
	UserID    string    `json:"user_id"`
	TrackID   string    `json:"track_id"`
	TrackType TrackType `json:"track_type"`
	Codec     Codec     `json:"codec"`
	// CapturedAt is when the keyframe's last packet arrived.
	CapturedAt time.Time `json:"captured_at"`
	// ObjectKey names the JPEG in the object store.
	ObjectKey string `json:"object_key"`
	// SHA256 is the hex digest of the JPEG's bytes, taken before storage.
	SHA256 string `json:"sha256"`
	// PHash is the 64-bit perceptual hash in hex.
	PHash  string `json:"phash"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Bytes  int    `json:"bytes"`
	// Node is where the frame's tensor waits in memory.
	Node string `json:"node"`
}

// GapReason says why a due frame was not looked at.
type GapReason string

// Reasons of a gap in the coverage ledger.
const (
	GapMuted       GapReason = "muted"
	GapBlack       GapReason = "black"
	GapFrozen      GapReason = "frozen"
	GapNoKeyframe  GapReason = "no_keyframe"
	GapUndecodable GapReason = "undecodable"
	GapCrashed     GapReason = "decoder_crashed"
	GapOverload    GapReason = "overload"
	GapStorage     GapReason = "storage"
	GapClassifier  GapReason = "classifier"
)

// FrameGap tells that frames were due and not captured or not classified.
// It is the coverage ledger's entry as well.
type FrameGap struct {
	CID       string    `json:"cid"`
	SessionID string    `json:"session_id"`
	UserID    string    `json:"user_id"`
	TrackID   string    `json:"track_id"`
	TrackType TrackType `json:"track_type"`
	Reason    GapReason `json:"reason"`
	Detail    string    `json:"detail,omitempty"`
	// From and To bound the gap; Due is how many frames were missed in it.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Due  int       `json:"due"`
}

// Score is one label's probability, 0 to 1.
type Score struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// VerdictState says how far a verdict can be believed.
type VerdictState string

// A verdict is either known or unknown, never silently clean.
const (
	VerdictKnown   VerdictState = "known"
	VerdictUnknown VerdictState = "unknown"
)

// ModelScores are the scores one model gave, labels in the model's order.
type ModelScores struct {
	Model   string  `json:"model"`
	Version string  `json:"version"`
	SHA256  string  `json:"sha256"`
	Scores  []Score `json:"scores"`
	// TensorSHA256 is the digest of the exact input bytes.
	TensorSHA256 string  `json:"tensor_sha256,omitempty"`
	MS           float64 `json:"ms"`
}

// Verdict is what the models made of a frame.
type Verdict struct {
	VerdictID string       `json:"verdict_id"`
	Frame     FrameReady   `json:"frame"`
	State     VerdictState `json:"state"`
	// Reason says why a verdict is unknown.
	Reason string `json:"reason,omitempty"`
	// Scores are the combined scores that the policy reads.
	Scores []Score `json:"scores"`
	// Models are the scores of each model that looked.
	Models []ModelScores `json:"models"`
	// Reused is set when an unchanged picture took its predecessor's verdict.
	Reused bool `json:"reused,omitempty"`
	// Source is SourceOutside for a verdict that the backend pushed. Its Frame
	// names no picture of ours, and its scores do not add up: each label
	// stands for itself.
	Source string    `json:"source,omitempty"`
	At     time.Time `json:"at"`
}

// SourceOutside marks the verdict of a classifier that is not ours.
const SourceOutside = "outside"

// ActionKind is what is done about a participant.
type ActionKind string

// The actions.
const (
	ActionFlag    ActionKind = "flag"
	ActionWarn    ActionKind = "warn"
	ActionBlur    ActionKind = "blur"
	ActionMute    ActionKind = "mute"
	ActionKick    ActionKind = "kick"
	ActionBan     ActionKind = "ban"
	ActionEndCall ActionKind = "end_call"
)

// ActionRequested asks an executor to act. The action's row is already in
// the database in state "requested".
type ActionRequested struct {
	ActionID   string     `json:"action_id"`
	DecisionID string     `json:"decision_id,omitempty"`
	Kind       ActionKind `json:"kind"`
	CID        string     `json:"cid"`
	SessionID  string     `json:"session_id,omitempty"`
	UserID     string     `json:"user_id"`
	// ByUserID is the moderator, or "system".
	ByUserID string `json:"by_user_id"`
	Reason   string `json:"reason"`
	// Labels, Score, FrameID and CapturedAt describe the deciding frame.
	Labels     []string  `json:"labels,omitempty"`
	Score      float64   `json:"score,omitempty"`
	FrameID    string    `json:"frame_id,omitempty"`
	ObjectKey  string    `json:"object_key,omitempty"`
	CapturedAt time.Time `json:"captured_at,omitzero"`
	// Recommend is what a flag advises a moderator to do; empty: to look.
	Recommend ActionKind `json:"recommend,omitempty"`
	// ExpiresAt ends a ban, a blur, or a mute that holds for a time: until then the
	// user's next tracks are muted as well. Zero means a ban for ever, and a
	// mute of what is published now.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Tracks are the kinds of tracks that a mute is about.
	Tracks []TrackType `json:"tracks,omitempty"`
	// Message is what a warning says to the participant.
	Message string `json:"message,omitempty"`
	// Told says that the public event went out when the action was asked for.
	Told bool `json:"told,omitempty"`
	// BanCID limits a ban to one call; empty means everywhere.
	BanCID string `json:"ban_cid,omitempty"`
	// Shadow makes a ban that keeps nobody out.
	Shadow bool `json:"shadow,omitempty"`
	// ReviewQueueItemID is the review item on which it was decided, if any.
	ReviewQueueItemID string `json:"review_queue_item_id,omitempty"`
	// Order tells the same order, given twice, from another one.
	Order string `json:"order,omitempty"`
}

// ActionConfirmed tells that an action has taken effect.
type ActionConfirmed struct {
	ActionRequested
	ConfirmedAt time.Time `json:"confirmed_at"`
}

// ControlKind is an order to capture nodes.
type ControlKind string

// The orders.
const (
	// ControlDisconnect closes every connection of the user in the call, or
	// in every call when CID is empty.
	ControlDisconnect ControlKind = "disconnect"
	// ControlFrameRecording turns frame recording of a call on or off.
	ControlFrameRecording ControlKind = "frame_recording"
	// ControlSettings tells that a call's effective settings changed.
	ControlSettings ControlKind = "settings"
	// ControlEndCall closes every connection of the call.
	ControlEndCall ControlKind = "end_call"
	// ControlMute drops the user's tracks of the given types: those that live
	// now, and with Until set also those to come before then.
	ControlMute ControlKind = "mute"
)

// Control is an order to every capture node. The node that holds the media
// carries it out and answers with ControlDone under the same ControlID.
type Control struct {
	ControlID string      `json:"control_id"`
	ActionID  string      `json:"action_id,omitempty"`
	Kind      ControlKind `json:"kind"`
	CID       string      `json:"cid,omitempty"`
	UserID    string      `json:"user_id,omitempty"`
	Reason    string      `json:"reason,omitempty"`
	// On is for ControlFrameRecording.
	On bool `json:"on,omitempty"`
	// EgressID identifies the run of frame recording.
	EgressID string `json:"egress_id,omitempty"`
	// Tracks and Until are for ControlMute.
	Tracks []TrackType `json:"tracks,omitempty"`
	Until  time.Time   `json:"until,omitzero"`
}

// ControlDone tells that a node carried an order out: for a disconnect, that
// no media of the user is accepted or forwarded any more.
type ControlDone struct {
	ControlID string    `json:"control_id"`
	ActionID  string    `json:"action_id,omitempty"`
	Node      string    `json:"node"`
	Affected  int       `json:"affected"`
	At        time.Time `json:"at"`
}
