package recorder

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/raw"
	"stillwatch/recording/stream"
)

// writeTimeout bounds one try to write.
const writeTimeout = 5 * time.Second

// retry tries f until it succeeds, five times at most with a pause that grows.
// The database may be busy or away for a moment.
func (r *Recorder) retry(f func(ctx context.Context) error) error {
	var err error
	for try := range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
		err = f(ctx)
		cancel()
		if err == nil || db.IsNotFound(err) {
			return err
		}
		<-time.After(time.Duration(try+1) * 100 * time.Millisecond)
	}
	return err
}

// newRun describes a run that begins.
func newRun(id, cid, sessionID, node, typ, lane string, plan recording.Plan, at time.Time) (db.RecordingRow, error) {
	raw, err := json.Marshal(plan)
	if err != nil {
		return db.RecordingRow{}, fmt.Errorf("marshal plan of %s: %w", cid, err)
	}
	return db.RecordingRow{
		ID: id, CID: cid, SessionID: sessionID, Node: node, Type: typ, Lane: lane, State: db.RecordingOn,
		Plan: db.JSON[json.RawMessage]{V: raw}, Custom: db.JSON[map[string]any]{V: map[string]any{}},
		StartedAt: db.At(at), CreatedAt: db.At(at), UpdatedAt: db.At(at),
	}, nil
}

// insertRun writes a run and tells of it; false if it is there already. Its
// files go where the call type says, if nothing else was named.
func (r *Recorder) insertRun(ctx context.Context, tx bun.Tx, run db.RecordingRow) (bool, error) {
	if run.Storage == "" {
		typ, _, _ := strings.Cut(run.CID, ":")
		err := tx.NewSelect().Model((*db.CallTypeRow)(nil)).Column("external_storage").Where("name = ?", typ).Scan(ctx, &run.Storage)
		if err != nil && !db.IsNotFound(err) {
			return false, fmt.Errorf("read storage of call type %s: %w", typ, err)
		}
	}
	res, err := tx.NewInsert().Model(&run).On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("write run %s of %s: %w", run.ID, run.CID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	return true, tellState(ctx, tx, event.CallRecordingStarted, run, run.StartedAt.Time)
}

// tellState enqueues that a run began or ended.
func tellState(ctx context.Context, tx bun.Tx, typ string, run db.RecordingRow, at time.Time) error {
	return db.Enqueue(ctx, tx, event.TopicPublic, event.New(typ, run.CID, at, event.RecordingState{
		Type: typ, CreatedAt: at.UTC(), CallCID: run.CID, EgressID: run.ID, RecordingType: run.Type, Lane: run.Lane,
	}))
}

// startRun writes a run of this session and lets packets flow. It is false if
// the run could not be written.
func (l *live) startRun(id, typ, lane string, at time.Time, with func(ctx context.Context, tx bun.Tx) error) bool {
	run, err := newRun(id, l.info.CID, l.info.SessionID, l.r.cfg.Node, typ, lane, l.plan, at)
	if err != nil {
		l.r.log.Error("a run is not begun", "call", l.info.CID, "err", err)
		return false
	}
	run.Flagged = db.Bool(lane == db.LaneEvidence || with != nil)
	err = l.r.retry(func(ctx context.Context) error {
		return l.r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			begun, err := l.r.insertRun(ctx, tx, run)
			if err == nil && begun && bool(run.Flagged) && !l.from.IsZero() {
				err = l.r.tellFailed(ctx, tx, run, fmt.Errorf("%w: %w", errLost, &gaveUp{l.from}), l.r.cfg.Now())
			}
			if err != nil || with == nil {
				return err
			}
			return with(ctx, tx)
		})
	})
	if err != nil {
		l.r.log.Error("a run is not begun", "call", l.info.CID, "type", typ, "err", err)
		return false
	}
	l.follow(run)
	return true
}

// follow is for a run whose row is written.
func (l *live) follow(run db.RecordingRow) {
	if l.runs[run.ID] != nil {
		return
	}
	l.runs[run.ID] = &run
	if l.tapped {
		l.keyframes() // what it begins with
	} else {
		l.open()
	}
	l.send(run)
	l.note(raw.Entry{Kind: raw.Started, At: l.offset(run.StartedAt.Time), RecordingID: run.ID})
	l.r.log.Info("recording started", "call", l.info.CID, "type", run.Type, "lane", run.Lane, "recording", run.ID)
}

// startArmed takes on the runs that were ordered before anybody was there.
func (l *live) startArmed() { l.sync() }

// sync brings the session to what the call's settings and its runs' rows say.
// What cannot be read is looked at again; see roll.
func (l *live) sync() {
	if !l.ready {
		return
	}
	l.behind = !l.replan()
	var rows []db.RecordingRow
	err := l.r.retry(func(ctx context.Context) error {
		rows = nil
		return l.r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			now := db.At(l.r.cfg.Now())
			if err := l.tellAgain(ctx, tx, now); err != nil {
				return err
			}
			_, err := tx.NewUpdate().Model((*db.RecordingRow)(nil)).
				Set("session_id = ?", l.info.SessionID).Set("node = ?", l.r.cfg.Node).Set("started_at = ?", now).Set("updated_at = ?", now).Set("armed_until = 0").
				Where("cid = ?", l.info.CID).Where("session_id = ''").Where("state = ?", db.RecordingOn).
				Where("(armed_until = 0 OR armed_until > ?)", now).Exec(ctx)
			if err != nil {
				return fmt.Errorf("take on armed runs: %w", err)
			}
			return tx.NewSelect().Model(&rows).Where("session_id = ?", l.info.SessionID).Where("state = ?", db.RecordingOn).Scan(ctx)
		})
	})
	if err != nil {
		l.behind = true
		l.r.log.Error("orders to record are not seen yet", "call", l.info.CID, "err", err)
		return
	}
	on := map[string]bool{}
	for _, row := range rows {
		on[row.ID] = true
		l.follow(row)
	}
	for id := range l.runs {
		if !on[id] {
			delete(l.runs, id)
			l.endSending(id, stream.Stopped, l.r.cfg.Now())
			l.note(raw.Entry{Kind: raw.Stopped, At: l.offset(l.r.cfg.Now()), RecordingID: id})
		}
	}
	if len(l.runs) == 0 && !l.plan.Spools() && !l.plan.PreRolls() {
		l.untap()
		return
	}
	l.retap()
}

// order begins a run by order, or arms the recorder for the call's next
// session. A second start of a type returns the run that is on.
func (r *Recorder) order(ctx context.Context, o recording.Order) (string, error) {
	var id string
	now := r.cfg.Now()
	err := r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var call db.CallRow
		if err := tx.NewSelect().Model(&call).Where("cid = ?", o.CID).Scan(ctx); err != nil {
			if db.IsNotFound(err) {
				return recording.ErrUnknown
			}
			return fmt.Errorf("read call %s: %w", o.CID, err)
		}
		err := tx.NewSelect().Model((*db.RecordingRow)(nil)).Column("id").Where("cid = ?", o.CID).Where("type = ?", o.Type).
			Where("lane = ?", db.LaneBusiness).Where("state = ?", db.RecordingOn).Where("session_id IN ('', ?)", call.CurrentSessionID).
			Where("armed_until = 0").Limit(1).Scan(ctx, &id)
		if err == nil || !db.IsNotFound(err) {
			return err
		}
		plan, err := r.cfg.Plan(call.Settings.V, call.RecordingDecision.V)
		if err != nil {
			return err
		}
		if o.Destination != "" {
			plan.Destination = o.Destination
		}
		if o.DestinationMode != "" {
			plan.DestinationMode = o.DestinationMode
		}
		if err := plan.CheckStream(); err != nil {
			return err
		}
		node, err := r.nodeOf(ctx, tx, call.CurrentSessionID)
		if err != nil {
			return err
		}
		id = event.NewID()
		run, err := newRun(id, o.CID, call.CurrentSessionID, node, o.Type, db.LaneBusiness, plan, now)
		if err != nil {
			return err
		}
		run.Storage, run.RequestedBy, run.Mandatory = o.Storage, o.By, db.Bool(call.RecordingDecision.V.Mandatory)
		if o.Custom != nil {
			run.Custom.V = o.Custom
		}
		if err := r.dropAgain(ctx, tx, o.CID, o.Type); err != nil {
			return err
		}
		_, err = r.insertRun(ctx, tx, run)
		return err
	})
	if err != nil {
		return "", err
	}
	r.syncCall(o.CID)
	return id, nil
}

// nodeOf is the node that a session runs on, where its packets will lie; this
// one if that is not known.
func (r *Recorder) nodeOf(ctx context.Context, tx bun.Tx, sessionID string) (node string, err error) {
	err = tx.NewSelect().Model((*db.SessionRow)(nil)).Column("node").Where("id = ?", sessionID).Scan(ctx, &node)
	if err != nil && !db.IsNotFound(err) {
		return "", fmt.Errorf("read session %s: %w", sessionID, err)
	}
	if node == "" {
		node = r.cfg.Node
	}
	return node, nil
}

// stop ends the runs of a type that were ordered or began by themselves. Runs
// of the evidence lane are the policy's.
func (r *Recorder) stop(ctx context.Context, cid, recordingType, _ string) error {
	now := r.cfg.Now()
	err := r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		// A session that begins may take one on between the two: it is read anew.
		for range 3 {
			var on []db.RecordingRow
			err := tx.NewSelect().Model(&on).Where("cid = ?", cid).Where("type = ?", recordingType).
				Where("lane = ?", db.LaneBusiness).Where("state = ?", db.RecordingOn).Scan(ctx)
			if err != nil {
				return fmt.Errorf("read runs of %s: %w", cid, err)
			}
			if len(on) == 0 {
				break
			}
			for i := range on {
				if err := r.endRun(ctx, tx, &on[i], now); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.syncCall(cid)
	return nil
}

// syncCall has the call's live session look at its runs.
func (r *Recorder) syncCall(cid string) {
	if l := r.byCall(cid); l != nil {
		l.do(l.sync)
	}
}

// settle is how long after a run's end its first step waits, so that the
// packets of the last moment, and their retransmissions, are on disk.
const settle = 2 * time.Second

// endRun ends a run that is on, and orders its files to be made. A run that
// was armed and never began is discarded. One that has ended, or that a session
// took on since it was read, stays as it is.
func (r *Recorder) endRun(ctx context.Context, tx bun.Tx, run *db.RecordingRow, at time.Time) error {
	run.StoppedAt, run.UpdatedAt, run.State = db.At(at), db.At(r.cfg.Now()), db.RecordingProcessing
	if run.SessionID == "" {
		run.State, run.FinishedAt, run.Error = db.RecordingDiscarded, db.At(at), "nobody came to the call before it was stopped or over"
	}
	res, err := tx.NewUpdate().Model(run).Column("stopped_at", "updated_at", "state", "finished_at", "error").WherePK().Where("state = ?", db.RecordingOn).
		Where("session_id = ?", run.SessionID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end run %s: %w", run.ID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if !run.ArmedUntil.IsZero() {
		return nil // nobody was told that it began
	}
	if err := tellState(ctx, tx, event.CallRecordingStopped, *run, at); err != nil {
		return err
	}
	if run.State != db.RecordingProcessing {
		return nil
	}
	return r.queue.AddAt(ctx, tx, run.ID, stepPlan, 0, struct{}{}, r.cfg.Now().Add(settle))
}
