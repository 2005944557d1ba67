// Package recording says how calls are recorded: plans, and the orders about
// recordings. Who is recorded is decided in recording/permission, and
// recording/recorder does it.
package recording

import (
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

// Override is a use of the evidence lane against a permission.
type Override struct {
	CID, SessionID string
	// ActionID is the flag that caused it; there is one entry for each.
	ActionID string
	// Source is what denied the recording: user, domain or system.
	Source string
	At     time.Time
}

// NoteOverride writes the override down in the transaction that starts the
// recording. Writing it twice is harmless.
func NoteOverride(ctx context.Context, tx bun.IDB, o Override) error {
	detail, err := json.Marshal(map[string]string{"action_id": o.ActionID, "session_id": o.SessionID, "denied_by": o.Source})
	if err != nil {
		return fmt.Errorf("marshal override of %s: %w", o.CID, err)
	}
	row := db.AuditRow{
		ID: event.DeriveID(VerbOverride, o.CID, o.ActionID), At: db.At(o.At), Actor: "system", Verb: VerbOverride,
		Object: "call:" + o.CID, Detail: db.JSON[json.RawMessage]{V: detail},
	}
	if _, err := tx.NewInsert().Model(&row).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
		return fmt.Errorf("write override of %s: %w", o.CID, err)
	}
	return nil
}
