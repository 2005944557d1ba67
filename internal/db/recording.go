package db

import (
	"encoding/json"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// States of a recording.
const (
	// RecordingOn is a run that takes packets.
	RecordingOn = "recording"
	// RecordingProcessing is a run that has ended and whose files are made.
	RecordingProcessing = "processing"
	// RecordingReady is a run whose files are stored.
	RecordingReady = "ready"
	// RecordingFailed is a run without files, or not with all. Its raw packets
	// are kept.
	RecordingFailed = "failed"
	// RecordingDiscarded is a run that nothing asked to keep: its packets are
	// gone.
	RecordingDiscarded = "discarded"
)

// Lanes of a recording.
const (
	LaneBusiness = "business"
	LaneEvidence = "evidence"
)

// RecordingRow is a row of recordings: one run of one recording type. Plan is
// recording.Plan as JSON.
type RecordingRow struct {
	bun.BaseModel `bun:"table:recordings,alias:rec"`
	ID            string `bun:",pk"`
	CID           string `bun:"cid"`
	SessionID     string
	Node          string
	Type          string
	Lane          string
	State         string
	Plan          JSON[json.RawMessage]
	Storage       string
	Custom        JSON[map[string]any]
	RequestedBy   string
	Mandatory     Bool
	Flagged       Bool
	ErrorCode     int
	Error         string
	// ArmedUntil is, of an order whose session ended, until when the next one
	// takes it on; zero where it waits as long as the call does.
	ArmedUntil Time
	StartedAt  Time
	StoppedAt  Time
	FinishedAt Time
	CreatedAt  Time
	UpdatedAt  Time
}

// RecordingFileRow is a row of recording_files.
type RecordingFileRow struct {
	bun.BaseModel `bun:"table:recording_files,alias:rf"`
	ID            string `bun:",pk"`
	RecordingID   string
	CID           string `bun:"cid"`
	SessionID     string
	Type          string
	Lane          string
	// Kind is movie, audio, video, raw, metadata, manifest, thumbnail or sheet.
	Kind     string
	Format   string
	Filename string
	Storage  string
	// ObjectKey is the first of Items: what a player opens.
	ObjectKey string
	Items     JSON[[]event.RecordingItem]
	Size      int64
	UserID    string
	TrackType string
	Encrypted Bool
	Media     JSON[event.MediaInfo]
	SHA256    string `bun:"sha256"`
	StartedAt Time
	EndedAt   Time
	// ExpiresAt unset is never.
	ExpiresAt Time
	Hold      Bool
	CreatedAt Time
	DeletedAt Time
}

// States of a recording job.
const (
	JobWaiting = "waiting"
	JobRunning = "running"
	JobDone    = "done"
	JobFailed  = "failed"
)

// RecordingJobRow is a row of recording_jobs.
type RecordingJobRow struct {
	bun.BaseModel `bun:"table:recording_jobs,alias:rj"`
	ID            string `bun:",pk"`
	RecordingID   string
	Kind          string
	N             int
	State         string
	Payload       JSON[json.RawMessage]
	Result        JSON[json.RawMessage]
	Worker        string
	Token         int64
	Attempts      int
	Error         string
	LeaseUntil    Time
	NotBefore     Time
	CreatedAt     Time
	UpdatedAt     Time
}

// States of a handover.
const (
	// HandoverPutting is one whose packets are on their way to the store.
	HandoverPutting = "putting"
	// HandoverReady is one whose steps any machine may do.
	HandoverReady = "ready"
	// HandoverEnding is one that nobody needs any more: its key is gone, and
	// what lies in the store is being deleted.
	HandoverEnding = "ending"
)

// RecordingHandoverRow is a row of recording_handovers: a session whose files
// are made by several machines. Key is the packets', sealed with the master
// key; Files are handover.File as JSON.
type RecordingHandoverRow struct {
	bun.BaseModel `bun:"table:recording_handovers,alias:rho"`
	SessionID     string `bun:",pk"`
	Node          string
	State         string
	Key           string
	Files         JSON[json.RawMessage]
	Size          int64
	CreatedAt     Time
	UpdatedAt     Time
}

// RecordingHoldRow is a row of recording_holds.
type RecordingHoldRow struct {
	bun.BaseModel  `bun:"table:recording_holds,alias:rh"`
	ID             string `bun:",pk"`
	RecordingID    string
	Reason         string
	PlacedBy       string
	PlacedAt       Time
	ReleaseAskedBy string
	ReleaseAskedAt Time
	ReleasedBy     string
	ReleasedAt     Time
}

// RecordingDropRow is a row of recording_drops: packets of a session that were
// given up, or not written, for want of room.
type RecordingDropRow struct {
	bun.BaseModel `bun:"table:recording_drops,alias:rd"`
	SessionID     string `bun:",pk"`
	CID           string `bun:"cid"`
	Node          string
	// StartedAt is the session's start, DroppedAt when it was last given up.
	StartedAt Time
	DroppedAt Time
	// Bytes were destroyed; Reason says which bound was reached.
	Bytes  int64
	Reason string
}
