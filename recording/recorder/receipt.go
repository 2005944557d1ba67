package recorder

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// VerbDiscard is in the audit once for each session whose packets are destroyed
// without anything having been made of them.
const VerbDiscard = "recording.discard"

// receipt notes how much is destroyed of a session that no run was about: of
// which call, and nothing of who was in it. It is noted once.
func (r *Recorder) receipt(ctx context.Context, sessionID string) error {
	about, err := r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).Where("session_id = ?", sessionID).Exists(ctx)
	if err != nil {
		return fmt.Errorf("look what was made of session %s: %w", sessionID, err)
	}
	entries, err := os.ReadDir(r.rawDir(sessionID))
	if about || err != nil {
		return nil // their own audit tells, or there is nothing
	}
	streams, size := 0, int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && filepath.Ext(e.Name()) == ".rtp" {
			streams++
			size += info.Size()
		}
	}
	reader, err := r.openRaw(sessionID)
	if err != nil || streams == 0 {
		return nil // what cannot be read is no call's
	}
	detail, err := json.Marshal(map[string]any{"call_cid": reader.Session().CID, "streams": streams, "bytes": size})
	if err != nil {
		return fmt.Errorf("marshal receipt: %w", err)
	}
	row := db.AuditRow{
		ID: event.DeriveID("recording discard", sessionID), At: db.At(r.cfg.Now()), Actor: "system", Verb: VerbDiscard,
		Object: "session:" + sessionID, Detail: db.JSON[json.RawMessage]{V: detail},
	}
	if _, err := r.cfg.DB.NewInsert().Model(&row).On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("note what is destroyed of session %s: %w", sessionID, err)
	}
	return nil
}
