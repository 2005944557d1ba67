package recorder

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/raw"
)

// startAuto begins what the plan starts by itself, once; again: what was to
// begin before and could not be written. A call counts from its second
// participant on, unless the plan says from the first.
func (l *live) startAuto(again bool) {
	at := l.info.StartedAt
	if !l.plan.RecordAlone {
		if at = l.second; at.IsZero() {
			return
		}
	}
	for typ, mode := range modes(l.plan) {
		id := event.DeriveID("recording", l.info.SessionID, typ)
		if mode != recording.ModeAutoOn || l.began[id] || l.due[id] != again || l.records(typ) {
			continue
		}
		if l.startRun(id, typ, db.LaneBusiness, at, nil) {
			l.began[id] = true
			delete(l.due, id)
			continue
		}
		if l.due[id] = true; !again && l.writer != nil {
			// The session may end before the database takes it; see addDue.
			if err := l.writer.Note(raw.Entry{Kind: raw.Due, At: l.offset(at), RecordingID: id}); err != nil {
				l.onLost(err)
			}
		}
	}
}

// records tells whether a run of the type was ordered and is on.
func (l *live) records(typ string) bool {
	for _, run := range l.runs {
		if run.Type == typ && run.Lane == db.LaneBusiness {
			return true
		}
	}
	return false
}

// modes are a plan's, by type.
func modes(p recording.Plan) map[string]string {
	return map[string]string{
		recording.TypeComposite: p.Composite, recording.TypeIndividual: p.Individual, recording.TypeRaw: p.Raw,
	}
}

// addDue begins the runs of a session that is over which were to begin by
// themselves while the database took nothing, as the journal says. One that
// was ordered since stands for them.
func (r *Recorder) addDue(ctx context.Context, tx bun.Tx, reader *raw.Reader) error {
	info := reader.Session()
	for _, e := range reader.Entries() {
		if e.Kind != raw.Due {
			continue
		}
		call, plan, err := r.planOf(ctx, tx, info.CID)
		if err != nil || call == nil {
			return err
		}
		for typ, mode := range modes(plan) {
			if mode != recording.ModeAutoOn || e.RecordingID != event.DeriveID("recording", info.SessionID, typ) {
				continue
			}
			there, err := tx.NewSelect().Model((*db.RecordingRow)(nil)).Where("session_id = ?", info.SessionID).
				Where("type = ?", typ).Where("lane = ?", db.LaneBusiness).Exists(ctx)
			if err != nil {
				return fmt.Errorf("read runs of session %s: %w", info.SessionID, err)
			}
			if there {
				continue
			}
			run, err := newRun(e.RecordingID, info.CID, info.SessionID, r.cfg.Node, typ, db.LaneBusiness, plan, info.StartedAt.Add(e.At))
			if err != nil {
				return err
			}
			if _, err := r.insertRun(ctx, tx, run); err != nil {
				return err
			}
		}
	}
	return nil
}
