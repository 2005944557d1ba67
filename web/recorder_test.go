package web

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// rowRecorder keeps runs, holds and files in the rows that the API reads, as a
// recorder does, and records nothing.
type rowRecorder struct {
	db  *db.DB
	now clock

	mu     sync.Mutex
	orders []RecordingOrder
	// fails is what every order is refused with.
	fails error
}

func (r *rowRecorder) refuses() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fails
}

func (r *rowRecorder) taken() []RecordingOrder {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.orders)
}

func (r *rowRecorder) on(ctx context.Context, tx bun.IDB, cid, kind string) (row db.RecordingRow, err error) {
	err = tx.NewSelect().Model(&row).Where("cid = ?", cid).Where("type = ?", kind).Where("state = ?", db.RecordingOn).Scan(ctx)
	return row, err
}

// Start implements Recorder.
func (r *rowRecorder) Start(ctx context.Context, o RecordingOrder) (id string, err error) {
	r.mu.Lock()
	r.orders = append(r.orders, o)
	r.mu.Unlock()
	if err := r.refuses(); err != nil {
		return "", err
	}
	err = r.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if row, err := r.on(ctx, tx, o.CID, o.Type); err == nil {
			id = row.ID
			return nil
		} else if !db.IsNotFound(err) {
			return err
		}
		var call db.CallRow
		if err := tx.NewSelect().Model(&call).Where("cid = ?", o.CID).Scan(ctx); err != nil {
			return err
		}
		plan, err := PlanOf(call.Settings.V, call.RecordingDecision.V)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(plan)
		if err != nil {
			return err
		}
		at := db.At(r.now())
		row := db.RecordingRow{
			ID: event.NewID(), CID: o.CID, SessionID: call.CurrentSessionID, Type: o.Type, Lane: db.LaneBusiness, State: db.RecordingOn,
			Plan: db.JSON[json.RawMessage]{V: raw}, Storage: o.Storage, Custom: db.JSON[map[string]any]{V: o.Custom}, RequestedBy: o.By,
			Mandatory: db.Bool(call.RecordingDecision.V.Mandatory), StartedAt: at, CreatedAt: at, UpdatedAt: at,
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		id = row.ID
		return r.tell(ctx, tx, event.CallRecordingStarted, row)
	})
	return id, err
}

func (r *rowRecorder) tell(ctx context.Context, tx bun.IDB, typ string, row db.RecordingRow) error {
	now := r.now()
	body := event.RecordingState{Type: typ, CreatedAt: now.UTC(), CallCID: row.CID, EgressID: row.ID, RecordingType: row.Type}
	return db.Enqueue(ctx, tx, event.TopicPublic, event.New(typ, row.CID, now, body))
}

// Stop implements Recorder.
func (r *rowRecorder) Stop(ctx context.Context, cid, kind, _ string) error {
	if err := r.refuses(); err != nil {
		return err
	}
	return r.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := r.on(ctx, tx, cid, kind)
		if db.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		row.State, row.StoppedAt = db.RecordingProcessing, db.At(r.now())
		if _, err := tx.NewUpdate().Model(&row).WherePK().Exec(ctx); err != nil {
			return err
		}
		return r.tell(ctx, tx, event.CallRecordingStopped, row)
	})
}

func (r *rowRecorder) made(ctx context.Context, cid, by string, custom map[string]any) (string, error) {
	if err := r.refuses(); err != nil {
		return "", err
	}
	at := db.At(r.now())
	row := db.RecordingRow{
		ID: event.NewID(), CID: cid, Type: recording.TypeComposite, Lane: db.LaneBusiness, State: db.RecordingProcessing,
		Custom: db.JSON[map[string]any]{V: custom}, RequestedBy: by, StartedAt: at, StoppedAt: at, CreatedAt: at, UpdatedAt: at,
	}
	_, err := r.db.NewInsert().Model(&row).Exec(ctx)
	return row.ID, err
}

// Splice implements Recorder.
func (r *rowRecorder) Splice(ctx context.Context, o SpliceOrder) (string, error) {
	return r.made(ctx, o.CID, o.By, map[string]any{"files": len(o.Files)})
}

// Trim implements Recorder.
func (r *rowRecorder) Trim(ctx context.Context, o TrimOrder) (string, error) {
	return r.made(ctx, "default:abc", o.By, map[string]any{"cut": fmt.Sprint(o.From, " ", o.To)})
}

// Hold implements Recorder.
func (r *rowRecorder) Hold(ctx context.Context, id, reason, by string) error {
	if err := r.refuses(); err != nil {
		return err
	}
	row := db.RecordingHoldRow{ID: event.NewID(), RecordingID: id, Reason: reason, PlacedBy: by, PlacedAt: db.At(r.now())}
	if _, err := r.db.NewInsert().Model(&row).Exec(ctx); err != nil {
		return err
	}
	return r.mark(ctx, id, true)
}

func (r *rowRecorder) mark(ctx context.Context, id string, held bool) error {
	_, err := r.db.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("hold = ?", db.Bool(held)).Where("recording_id = ?", id).Exec(ctx)
	return err
}

// Release implements Recorder.
func (r *rowRecorder) Release(ctx context.Context, id, by string) (bool, error) {
	var rows []db.RecordingHoldRow
	if err := r.db.NewSelect().Model(&rows).Where("recording_id = ?", id).Where("released_at = 0").Scan(ctx); err != nil {
		return false, err
	}
	if len(rows) == 0 {
		return false, fmt.Errorf("release %s: %w", id, recording.ErrNotHeld)
	}
	released := false
	for _, row := range rows {
		switch row.ReleaseAskedBy {
		case "":
			row.ReleaseAskedBy, row.ReleaseAskedAt = by, db.At(r.now())
		case by:
			return false, recording.ErrSamePerson
		default:
			row.ReleasedBy, row.ReleasedAt, released = by, db.At(r.now()), true
		}
		if _, err := r.db.NewUpdate().Model(&row).WherePK().Exec(ctx); err != nil {
			return false, err
		}
	}
	if released {
		return true, r.mark(ctx, id, false)
	}
	return false, nil
}

// Retry implements Recorder.
func (r *rowRecorder) Retry(ctx context.Context, id string) error {
	if err := r.refuses(); err != nil {
		return err
	}
	res, err := r.db.NewUpdate().Model((*db.RecordingRow)(nil)).Set("state = ?", db.RecordingProcessing).
		Where("id = ?", id).Where("state = ?", db.RecordingFailed).Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("retry %s: %w", id, recording.ErrNotFailed)
	}
	return nil
}

// Delete implements Recorder.
func (r *rowRecorder) Delete(ctx context.Context, id, _ string) error {
	if err := r.refuses(); err != nil {
		return err
	}
	_, err := r.db.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("deleted_at = ?", db.At(r.now())).Where("id = ?", id).Exec(ctx)
	return err
}
