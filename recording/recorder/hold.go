package recorder

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// Verbs of the audit.
const (
	VerbHold    = "recording.hold"
	VerbAsk     = "recording.release_asked"
	VerbRelease = "recording.release"
	VerbDelete  = "recording.delete"
)

// audit writes an entry in the transaction of what it is about.
func (r *Recorder) audit(ctx context.Context, tx bun.IDB, by, verb, object string, detail map[string]any) error {
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("marshal audit of %s: %w", object, err)
	}
	if by == "" {
		by = "server"
	}
	row := db.AuditRow{
		ID: event.NewID(), At: db.At(r.cfg.Now()), Actor: by, Verb: verb, Object: "recording:" + object, Detail: db.JSON[json.RawMessage]{V: raw},
	}
	if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("audit %s of %s: %w", verb, object, err)
	}
	return nil
}

// hold keeps a recording's files from deletion by whatever path: retention,
// API, erasure.
func (r *Recorder) hold(ctx context.Context, recordingID, reason, by string) error {
	return r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		there, err := tx.NewSelect().Model((*db.RecordingRow)(nil)).Where("id = ?", recordingID).Exists(ctx)
		if err != nil {
			return fmt.Errorf("read recording %s: %w", recordingID, err)
		}
		if !there {
			return recording.ErrUnknown
		}
		hold := db.RecordingHoldRow{ID: event.NewID(), RecordingID: recordingID, Reason: reason, PlacedBy: by, PlacedAt: db.At(r.cfg.Now())}
		if _, err := tx.NewInsert().Model(&hold).Exec(ctx); err != nil {
			return fmt.Errorf("hold %s: %w", recordingID, err)
		}
		if err := setHold(ctx, tx, recordingID, true); err != nil {
			return err
		}
		return r.audit(ctx, tx, by, VerbHold, recordingID, map[string]any{"reason": reason, "hold_id": hold.ID})
	})
}

func setHold(ctx context.Context, tx bun.IDB, recordingID string, on db.Bool) error {
	_, err := tx.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("hold = ?", on).Where("recording_id = ?", recordingID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("mark files of %s: %w", recordingID, err)
	}
	return nil
}

// held tells whether a hold is on a recording.
func held(ctx context.Context, tx bun.IDB, recordingID string) (bool, error) {
	on, err := tx.NewSelect().Model((*db.RecordingHoldRow)(nil)).Where("recording_id = ?", recordingID).Where("released_at = 0").Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("read holds of %s: %w", recordingID, err)
	}
	return on, nil
}

// releaseHolds takes all holds off a recording: the first who asks is noted, and
// somebody else confirms.
func (r *Recorder) releaseHolds(ctx context.Context, recordingID, by string) (released bool, err error) {
	err = r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		released = false
		var holds []db.RecordingHoldRow
		if err := tx.NewSelect().Model(&holds).Where("recording_id = ?", recordingID).Where("released_at = 0").Scan(ctx); err != nil {
			return fmt.Errorf("read holds of %s: %w", recordingID, err)
		}
		if len(holds) == 0 {
			return recording.ErrNotHeld
		}
		now := db.At(r.cfg.Now())
		asked := ""
		for _, h := range holds {
			if !h.ReleaseAskedAt.IsZero() {
				asked = h.ReleaseAskedBy
			}
			if !h.ReleaseAskedAt.IsZero() && h.ReleaseAskedBy == by {
				return recording.ErrSamePerson
			}
		}
		// A hold that was placed after the first asked needs asking again.
		for i := range holds {
			h := &holds[i]
			if h.ReleaseAskedAt.IsZero() {
				h.ReleaseAskedBy, h.ReleaseAskedAt = by, now
			} else {
				h.ReleasedBy, h.ReleasedAt = by, now
			}
			_, err := tx.NewUpdate().Model(h).Column("release_asked_by", "release_asked_at", "released_by", "released_at").WherePK().Exec(ctx)
			if err != nil {
				return fmt.Errorf("release hold %s: %w", h.ID, err)
			}
		}
		still, err := held(ctx, tx, recordingID)
		if err != nil {
			return err
		}
		if still {
			return r.audit(ctx, tx, by, VerbAsk, recordingID, map[string]any{})
		}
		released = true
		if err := setHold(ctx, tx, recordingID, false); err != nil {
			return err
		}
		return r.audit(ctx, tx, by, VerbRelease, recordingID, map[string]any{"asked_by": asked})
	})
	return released, err
}
