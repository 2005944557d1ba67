// Package recording says how calls are recorded: plans, and the orders about
// recordings. Who is recorded is decided in recording/permission, and
// recording/recorder does it.
package recording

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// VerbOverride is the audit's verb for evidence that is recorded although a
// permission says that the call is not to be recorded.
const VerbOverride = "recording.evidence_override"

// VerbBeyond is that for evidence that keeps more than a permission allows:
// pictures where only sound is to be recorded, or the other way round.
const VerbBeyond = "recording.evidence_beyond_permission"

// Override is a use of the evidence lane against a permission.
type Override struct {
	CID, SessionID string
	// ActionID is the flag that caused it; there is one entry for each.
	ActionID string
	// Source is whose permission it goes against: user, domain or system.
	Source string
	// Allowed is what the permission lets be recorded, audio or video; "" where
	// it denies the recording.
	Allowed string
	At      time.Time
}

// Against is the permission that evidence of a call goes against, if it does.
func Against(d db.RecordingDecision) (o Override, against bool) {
	switch {
	case d.Denied:
		return Override{Source: d.Source}, true
	case d.Record && (d.Type == allowsAudio || d.Type == allowsVideo):
		return Override{Source: d.Source, Allowed: d.Type}, true
	}
	return Override{}, false
}

// Types of a permission that let one half be recorded (permission.Type).
const (
	allowsAudio = "audio"
	allowsVideo = "video"
)

// NoteOverride writes the override down in the transaction that starts the
// recording, and tells of it. Doing so twice is harmless.
func NoteOverride(ctx context.Context, tx bun.IDB, o Override) error {
	verb, about := VerbOverride, map[string]string{"action_id": o.ActionID, "session_id": o.SessionID, "denied_by": o.Source}
	if o.Allowed != "" {
		verb, about = VerbBeyond, map[string]string{"action_id": o.ActionID, "session_id": o.SessionID, "allowed": o.Allowed, "allowed_by": o.Source}
	}
	detail, err := json.Marshal(about)
	if err != nil {
		return fmt.Errorf("marshal override of %s: %w", o.CID, err)
	}
	row := db.AuditRow{
		ID: event.DeriveID(verb, o.CID, o.ActionID), At: db.At(o.At), Actor: "system", Verb: verb,
		Object: "call:" + o.CID, Detail: db.JSON[json.RawMessage]{V: detail},
	}
	res, err := tx.NewInsert().Model(&row).On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("write override of %s: %w", o.CID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return db.Enqueue(ctx, tx, event.TopicPublic, event.New(event.CallRecordingOverride, o.CID, o.At, event.RecordingOverride{
		Type: event.CallRecordingOverride, CreatedAt: o.At.UTC(), CallCID: o.CID, SessionID: o.SessionID, ActionID: o.ActionID,
		PermissionOf: o.Source, Allowed: cmp.Or(o.Allowed, "none"),
	}))
}
