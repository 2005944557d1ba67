package db

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Time is an instant stored as nanoseconds since 1970 UTC, 0 when unset.
type Time struct{ time.Time }

// At wraps t.
func At(t time.Time) Time { return Time{t.UTC()} }

// Value implements driver.Valuer.
func (t Time) Value() (driver.Value, error) {
	if t.IsZero() {
		return int64(0), nil
	}
	return t.UnixNano(), nil
}

// Scan implements sql.Scanner.
func (t *Time) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("scan time: %T is not an integer", src)
	}
	if n == 0 {
		t.Time = time.Time{}
		return nil
	}
	t.Time = time.Unix(0, n).UTC()
	return nil
}

// JSON is a value stored as JSON text.
type JSON[T any] struct{ V T }

// Value implements driver.Valuer.
func (j JSON[T]) Value() (driver.Value, error) {
	b, err := json.Marshal(j.V)
	return string(b), err
}

// Scan implements sql.Scanner.
func (j *JSON[T]) Scan(src any) error {
	switch s := src.(type) {
	case string:
		return json.Unmarshal([]byte(s), &j.V)
	case []byte:
		return json.Unmarshal(s, &j.V)
	default:
		return fmt.Errorf("scan json: %T is not text", src)
	}
}

// Bool is stored as 0 or 1.
type Bool bool

// Value implements driver.Valuer.
func (b Bool) Value() (driver.Value, error) {
	if b {
		return int64(1), nil
	}
	return int64(0), nil
}

// Scan implements sql.Scanner.
func (b *Bool) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("scan bool: %T is not an integer", src)
	}
	*b = n != 0
	return nil
}

// UserRow is a row of users.
type UserRow struct {
	bun.BaseModel  `bun:"table:users,alias:u"`
	ID             string `bun:",pk"`
	Name           string
	Image          string
	Role           string
	Language       string
	Teams          JSON[[]string]
	BlockedUserIDs JSON[[]string] `bun:"blocked_user_ids"`
	Custom         JSON[map[string]any]
	Invisible      Bool
	Online         Bool
	LastActive     Time
	CreatedAt      Time
	UpdatedAt      Time
}

// CallTypeRow is a row of call_types. Settings and Policy are JSON texts
// whose shapes belong to their readers.
type CallTypeRow struct {
	bun.BaseModel   `bun:"table:call_types,alias:ct"`
	Name            string `bun:",pk"`
	Settings        JSON[json.RawMessage]
	Grants          JSON[map[string][]string]
	Policy          string
	ExternalStorage string
	// NotificationSettings are kept and returned, without effect.
	NotificationSettings JSON[map[string]any]
	CreatedAt            Time
	UpdatedAt            Time
}

// CallRow is a row of calls.
type CallRow struct {
	bun.BaseModel    `bun:"table:calls,alias:c"`
	CID              string `bun:"cid,pk"`
	Type             string
	ID               string
	CreatedByID      string
	Custom           JSON[map[string]any]
	Settings         JSON[json.RawMessage]
	BlockedUserIDs   JSON[[]string] `bun:"blocked_user_ids"`
	CurrentSessionID string
	FrameEgressID    string
	// FrameStorage names the external storage that frames go to; "" is the call type's.
	FrameStorage      string
	RecordingDecision JSON[RecordingDecision]
	Flagged           Bool
	Team              string
	ChannelCID        string `bun:"channel_cid"`
	CreatedAt         Time
	UpdatedAt         Time
	// StartsAt is when it is planned to start, EndedAt when it was ended for
	// everybody, DeletedAt since when it is hidden. Each may be unset.
	StartsAt  Time
	EndedAt   Time
	DeletedAt Time
}

// SessionRow is a row of sessions.
type SessionRow struct {
	bun.BaseModel `bun:"table:sessions,alias:s"`
	ID            string `bun:",pk"`
	CID           string `bun:"cid"`
	Node          string
	StartedAt     Time
	EndedAt       Time
}

// ParticipantRow is a row of participants: one connection of a user.
type ParticipantRow struct {
	bun.BaseModel `bun:"table:participants,alias:p"`
	UserSessionID string `bun:",pk"`
	SessionID     string
	CID           string `bun:"cid"`
	UserID        string
	Role          string
	JoinedAt      Time
	LeftAt        Time
	LeaveReason   string
}

// FrameRow is a row of frames.
type FrameRow struct {
	bun.BaseModel `bun:"table:frames,alias:f"`
	ID            string `bun:",pk"`
	CID           string `bun:"cid"`
	SessionID     string
	EgressID      string
	UserID        string
	TrackID       string
	TrackType     string
	Codec         string
	CapturedAt    Time
	ObjectKey     string
	SHA256        string `bun:"sha256"`
	PHash         string `bun:"phash"`
	Width         int
	Height        int
	Bytes         int
	ExpiresAt     Time
	Hold          Bool
	DeletedAt     Time
	// Storage is the external storage that holds the object, "" for our own.
	Storage string
	// FallbackFrom is the external storage that did not take it, or "".
	FallbackFrom string
}

// GapRow is a row of gaps, the coverage ledger.
type GapRow struct {
	bun.BaseModel `bun:"table:gaps,alias:g"`
	ID            string `bun:",pk"`
	CID           string `bun:"cid"`
	SessionID     string
	UserID        string
	TrackID       string
	TrackType     string
	Reason        string
	Detail        string
	FromAt        Time
	ToAt          Time
	Due           int
}

// VerdictRow is a row of verdicts.
type VerdictRow struct {
	bun.BaseModel `bun:"table:verdicts,alias:v"`
	ID            string `bun:",pk"`
	FrameID       string
	CID           string `bun:"cid"`
	UserID        string
	State         string
	Reason        string
	Scores        JSON[json.RawMessage]
	Models        JSON[json.RawMessage]
	Reused        Bool
	At            Time
	// Source is event.SourceOutside for a verdict that was pushed; then
	// SessionID is set as well.
	Source    string
	SessionID string
}

// DecisionRow is a row of decisions.
type DecisionRow struct {
	bun.BaseModel `bun:"table:decisions,alias:d"`
	ID            string `bun:",pk"`
	CID           string `bun:"cid"`
	SessionID     string
	UserID        string
	Rule          string
	PolicyVersion string
	Action        string
	Labels        JSON[[]string]
	Score         float64
	Evidence      JSON[json.RawMessage]
	At            Time
}

// States of an action.
const (
	ActionStateRequested = "requested"
	ActionStateSent      = "sent"
	ActionStateConfirmed = "confirmed"
	ActionStateFailed    = "failed"
	// ActionStateWithheld ends what the policy asked for and people had
	// decided against before it was carried out.
	ActionStateWithheld = "withheld"
)

// ActionRow is a row of actions. Payload is the event.ActionRequested.
type ActionRow struct {
	bun.BaseModel `bun:"table:actions,alias:a"`
	ID            string `bun:",pk"`
	DecisionID    string
	Kind          string
	CID           string `bun:"cid"`
	SessionID     string
	UserID        string
	ByUserID      string
	Reason        string
	Payload       JSON[json.RawMessage]
	State         string
	Attempts      int
	RequestedAt   Time
	SentAt        Time
	ConfirmedAt   Time
}

// BanRow is a row of bans.
type BanRow struct {
	bun.BaseModel `bun:"table:bans,alias:b"`
	ID            string `bun:",pk"`
	UserID        string
	CID           string `bun:"cid"`
	ByUserID      string
	Reason        string
	Shadow        Bool
	ActionID      string
	CreatedAt     Time
	ExpiresAt     Time
	LiftedAt      Time
	LiftedBy      string
}

// ConfiguredHookID is the hook that the setting webhook.url makes. It belongs
// to the settings; the API shows it and leaves it alone.
const ConfiguredHookID = "settings"

// HookRow is a row of hooks.
type HookRow struct {
	bun.BaseModel `bun:"table:hooks,alias:h"`
	ID            string `bun:",pk"`
	HookType      string
	Enabled       Bool
	EventTypes    JSON[[]string]
	WebhookURL    string `bun:"webhook_url"`
	TimeoutMS     int    `bun:"timeout_ms"`
	Settings      JSON[json.RawMessage]
	CreatedAt     Time
	UpdatedAt     Time
}

// States of a delivery.
const (
	DeliveryPending = "pending"
	DeliveryDone    = "done"
	DeliveryDead    = "dead"
)

// DeliveryRow is a row of deliveries: one event on its way to one hook. Body
// is empty where the event stands in public_events.
type DeliveryRow struct {
	bun.BaseModel `bun:"table:deliveries,alias:dl"`
	ID            string `bun:",pk"`
	HookID        string
	EventID       string
	EventType     string
	Key           string
	Body          string
	State         string
	Attempts      int
	NextAt        Time
	LastStatus    int
	LastError     string
	CreatedAt     Time
	DoneAt        Time
	// EventSeq and Lane are those of the event in public_events.
	EventSeq int64
	Lane     string
	// Base is how many attempts were made before the last replay.
	Base int
}

// AuditRow is a row of audit.
type AuditRow struct {
	bun.BaseModel `bun:"table:audit,alias:au"`
	ID            string `bun:",pk"`
	At            Time
	Actor         string
	Verb          string
	Object        string
	Detail        JSON[json.RawMessage]
}
