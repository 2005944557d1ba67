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
	// Violation is set when a rule of the API decided. Action is empty then if
	// the violation is only counted.
	Violation *Violation
	// Message is what a warning says; Tracks are those of a mute; Lasting is
	// how long a mute or a blur lasts, 0 without an end.
	Message string
	Tracks  []event.TrackType
	Lasting time.Duration
}

// Violation is one time that a rule of the API was met by a participant.
type Violation struct {
	Rule CallRule
	// Number is 1 for the first in the call.
	Number int
	// Actions are all that is done about it, in the words of the API.
	Actions []string
	// CapturedAt is of the frame that completed it.
	CapturedAt time.Time
}

// Same tells whether two decisions of a participant are one.
func (d Decision) Same(o Decision) bool {
	if d.Frame.FrameID != o.Frame.FrameID || d.Rule != o.Rule || d.Action != o.Action || (d.Violation == nil) != (o.Violation == nil) {
		return false
	}
	return d.Violation == nil || d.Violation.Rule.ID == o.Violation.Rule.ID && d.Violation.Number == o.Violation.Number &&
		d.Evidence.Wanted == o.Evidence.Wanted
}

// Evidence says what a decision stands on, enough to repeat it. Frames are
// the whole window, oldest first, those that did not count as well.
type Evidence struct {
	PolicyVersion string `json:"policy_version"`
	// Rule holds the thresholds as they were.
	Rule Rule `json:"rule"`
	// CallRule is the whole rule when it is one of the API, and Violation the
	// number that it was.
	CallRule  *CallRule `json:"call_rule,omitempty"`
	Violation int       `json:"violation,omitempty"`
	// TrackID is set when the window was that of one track alone.
	TrackID string `json:"track_id,omitempty"`
	// Braked is set when the rule wanted the participant gone and the flood
	// brake made it a flag; Wanted is what it wanted, empty for a ban.
	Braked bool             `json:"braked,omitempty"`
	Wanted event.ActionKind `json:"wanted,omitempty"`
	Frames []EvidenceFrame  `json:"frames"`
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
