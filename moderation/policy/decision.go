package policy

import (
	"time"

	"stillwatch/internal/event"
)

// Decision is what the policy made of a participant's verdicts.
type Decision struct {
	CID       string
	SessionID string
	UserID    string
	Rule      string
	// Reason is what people are told.
	Reason string
	Action event.ActionKind
	// Labels are the rule's labels, the deciding frame's strongest first.
	Labels []string
	// Score is the deciding frame's combined score, 0 to 1.
	Score float64
	// Frame is the deciding frame: the one that completed the window.
	Frame event.FrameReady
	// ExpiresAt ends a ban; zero means never.
	ExpiresAt time.Time
	At        time.Time
	Evidence  Evidence
	// Verdicts are the whole verdicts of the evidence's frames.
	Verdicts []event.Verdict
}

// Evidence says what a decision stands on, enough to repeat it. Frames are
// the whole window, oldest first, those that did not count as well.
type Evidence struct {
	PolicyVersion string `json:"policy_version"`
	// Rule holds the thresholds as they were.
	Rule Rule `json:"rule"`
	// TrackID is set when the window was that of one track alone.
	TrackID string `json:"track_id,omitempty"`
	// Braked is set when the rule wanted a ban and the flood brake made it
	// a flag.
	Braked bool            `json:"braked,omitempty"`
	Frames []EvidenceFrame `json:"frames"`
}

// EvidenceFrame is one frame of the window.
type EvidenceFrame struct {
	FrameID    string             `json:"frame_id"`
	VerdictID  string             `json:"verdict_id"`
	SHA256     string             `json:"sha256"`
	CapturedAt time.Time          `json:"captured_at"`
	State      event.VerdictState `json:"state"`
	Scores     []event.Score      `json:"scores"`
	// Score is the combined score that was held against the threshold.
	Score  float64 `json:"score"`
	Hit    bool    `json:"hit"`
	Reused bool    `json:"reused,omitempty"`
}
