package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/raw"
	"stillwatch/recording/stream"
)

// finish is the end of a session: its folder is closed, and once the flags of
// its last moments can be known it is decided what becomes of it.
func (l *live) finish(at time.Time) {
	l.endAllSending(stream.Ended, at)
	l.untap()
	if l.writer != nil {
		l.note(raw.Entry{Kind: raw.Ended, At: l.offset(at)})
		if err := l.writer.Close(); err != nil {
			l.r.log.Error("packets were not all written", "call", l.info.CID, "err", err)
			if l.writer.Stats().Lost > 0 {
				l.tellLost(err) // what waited for room until now
			}
		}
	}
	if l.writer == nil && len(l.runs) == 0 && !l.gap {
		return
	}
	l.r.decideLater(l.info.SessionID, len(l.runs) > 0)
}

// decideLater decides over a session's packets after the grace. If the process
// ends before, the next one decides.
func (r *Recorder) decideLater(sessionID string, runs bool) {
	r.setUndecided(sessionID, true)
	r.tasks.Go(func(ctx context.Context) {
		// What is known to be kept need not wait for what may be.
		if runs {
			if err := r.decide(ctx, sessionID, false); err != nil && ctx.Err() == nil {
				r.log.Warn("runs of a session end later", "session", sessionID, "err", err)
			}
		}
		select {
		case <-time.After(r.cfg.FlagGrace):
		case <-ctx.Done():
			return
		}
		for pause := time.Second; ; pause = min(2*pause, time.Minute) {
			err := r.decide(ctx, sessionID, true)
			if err == nil || ctx.Err() != nil {
				return
			}
			r.log.Error("it is not decided yet whether a session is kept", "session", sessionID, "err", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
	})
}

// takeUp decides over the sessions that an earlier run of this node left.
func (r *Recorder) takeUp(ctx context.Context) error {
	dirs, err := os.ReadDir(filepath.Join(r.cfg.Dir, "raw"))
	if err != nil {
		return fmt.Errorf("look for packets of earlier sessions: %w", err)
	}
	sessions := map[string]bool{}
	for _, d := range dirs {
		sessions[d.Name()] = true
	}
	var on []string
	err = r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).ColumnExpr("DISTINCT session_id").Where("node = ?", r.cfg.Node).
		Where("state = ?", db.RecordingOn).Where("session_id <> ''").Scan(ctx, &on)
	if err != nil {
		return fmt.Errorf("look for runs of earlier sessions: %w", err)
	}
	var lacking []string
	err = r.cfg.DB.NewSelect().Model((*db.RecordingDropRow)(nil)).Column("session_id").Where("node = ?", r.cfg.Node).Scan(ctx, &lacking)
	if err != nil {
		return fmt.Errorf("look for sessions whose packets were given up: %w", err)
	}
	for _, id := range append(on, lacking...) {
		sessions[id] = true
	}
	for id := range sessions {
		r.decideLater(id, true)
	}
	return nil
}

// decide ends the runs of a session that is over, adds those that a flag asks
// for, and destroys the packets when nothing wants them. Deciding again
// changes nothing.
func (r *Recorder) decide(ctx context.Context, sessionID string, last bool) error {
	reader, unreadable := r.openRaw(sessionID)
	gone := errors.Is(unreadable, fs.ErrNotExist) || unreadable != nil && r.noPackets(sessionID)
	var info raw.SessionInfo
	end := r.cfg.Now()
	var lacks *gaveUp
	known := unreadable == nil
	if known {
		info, lacks = reader.Session(), gapIn(reader)
		end = info.StartedAt.Add(reader.Length())
	} else if !gone {
		// What cannot be read can be decided over all the same where the database
		// knows the session: nobody needs what was not flagged, and what was, is
		// kept as of a recording that fails.
		var err error
		if info, end, known, err = r.sessionOf(ctx, sessionID); err != nil {
			return err
		}
	}
	var cid string
	err := r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if gone {
			// Whoever flags a call whose packets were given up is told.
			d, there, err := r.drop(ctx, tx, sessionID)
			if err != nil {
				return err
			}
			if there {
				info := raw.SessionInfo{CID: d.CID, SessionID: sessionID, StartedAt: d.StartedAt.Time}
				if err := r.addFlagged(ctx, tx, info, end, nil); err != nil {
					return err
				}
			}
		}
		// Without its key a folder cannot be read by anybody: it was being made,
		// or being destroyed. Runs that were on fail then, in their first step,
		// as they do where the key is another's.
		if known {
			if err := r.addFlagged(ctx, tx, info, end, lacks); err != nil {
				return err
			}
		}
		if reader != nil {
			if err := r.addDue(ctx, tx, reader); err != nil {
				return err
			}
		}
		cid = ""
		var on []db.RecordingRow
		if err := tx.NewSelect().Model(&on).Where("session_id = ?", sessionID).Where("state = ?", db.RecordingOn).Scan(ctx); err != nil {
			return fmt.Errorf("read runs of session %s: %w", sessionID, err)
		}
		for i := range on {
			if err := r.endRun(ctx, tx, &on[i], end); err != nil {
				return err
			}
			if err := r.armAgain(ctx, tx, on[i], end); err != nil {
				return err
			}
			cid = on[i].CID
		}
		return nil
	})
	if err != nil {
		return err
	}
	if cid != "" {
		r.syncCall(cid) // they may be back by now
	}
	r.poke()
	if !known && !gone {
		return unreadable // whether it was flagged is not known: nothing is destroyed
	}
	if !last {
		return nil
	}
	r.setUndecided(sessionID, false)
	return r.release(ctx, sessionID)
}

// sessionOf is what the database knows of a session that is over.
func (r *Recorder) sessionOf(ctx context.Context, id string) (info raw.SessionInfo, end time.Time, known bool, err error) {
	var row db.SessionRow
	err = r.cfg.DB.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if db.IsNotFound(err) {
		return info, r.cfg.Now(), false, nil
	}
	if err != nil {
		return info, end, false, fmt.Errorf("read session %s: %w", id, err)
	}
	if end = row.EndedAt.Time; row.EndedAt.IsZero() {
		end = r.cfg.Now()
	}
	return raw.SessionInfo{CID: row.CID, SessionID: id, StartedAt: row.StartedAt.Time}, end, true, nil
}

// noPackets tells that a folder holds none: whoever made it was killed before
// the first came.
func (r *Recorder) noPackets(sessionID string) bool {
	entries, err := os.ReadDir(r.rawDir(sessionID))
	return err == nil && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".rtp" })
}

func (r *Recorder) setUndecided(sessionID string, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.undecided[sessionID] = true
	} else {
		delete(r.undecided, sessionID)
	}
}

// busy tells whether a session still writes, or may yet be flagged.
func (r *Recorder) busy(sessionID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.undecided[sessionID] || r.sessions[sessionID] != nil
}

// planOf reads a call and how it is recorded by its settings now; nil if there
// is no such call any more.
func (r *Recorder) planOf(ctx context.Context, tx bun.IDB, cid string) (*db.CallRow, recording.Plan, error) {
	var call db.CallRow
	err := tx.NewSelect().Model(&call).Where("cid = ?", cid).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, recording.Plan{}, nil
	}
	if err != nil {
		return nil, recording.Plan{}, fmt.Errorf("read call %s: %w", cid, err)
	}
	plan, err := r.cfg.Plan(call.Settings.V, call.RecordingDecision.V)
	return &call, plan, err
}

// addFlagged begins the runs that a flag asks for, if the call was flagged in
// this session. lacks is what the session's packets lack, nil if nothing.
func (r *Recorder) addFlagged(ctx context.Context, tx bun.Tx, info raw.SessionInfo, end time.Time, lacks *gaveUp) error {
	call, plan, err := r.planOf(ctx, tx, info.CID)
	if err != nil || call == nil {
		return err
	}
	flags, err := r.flagsOf(ctx, tx, info, end)
	if err != nil || len(flags) == 0 {
		return err
	}
	o, against := recording.Against(call.RecordingDecision.V)
	at := info.StartedAt
	if lacks != nil {
		at = lacks.before
	}
	for _, f := range flaggedRuns(info, plan) {
		run, err := newRun(f.id, info.CID, info.SessionID, r.cfg.Node, f.typ, f.lane, plan, at)
		if err != nil {
			return err
		}
		run.Flagged = true
		begun, err := r.insertRun(ctx, tx, run)
		if err == nil && begun && lacks != nil {
			err = r.tellFailed(ctx, tx, run, fmt.Errorf("%w: %w", errLost, lacks), r.cfg.Now())
		}
		if err != nil {
			return err
		}
		if f.lane != db.LaneEvidence || !against {
			continue
		}
		for _, a := range flags {
			o.CID, o.SessionID, o.ActionID, o.At = info.CID, info.SessionID, a.ID, a.RequestedAt.Time
			if err := recording.NoteOverride(ctx, tx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// flaggedRun is a run that a flag asks for. Its id follows from the session,
// so that it begins once, whoever sees the flag first.
type flaggedRun struct{ id, typ, lane string }

func flaggedRuns(info raw.SessionInfo, plan recording.Plan) []flaggedRun {
	var out []flaggedRun
	for typ, mode := range modes(plan) {
		if mode == recording.ModeOnFlag {
			out = append(out, flaggedRun{event.DeriveID("recording", info.SessionID, typ), typ, db.LaneBusiness})
		}
	}
	if plan.Evidence == recording.ModeOnFlag {
		out = append(out, flaggedRun{event.DeriveID("evidence", info.SessionID), recording.TypeComposite, db.LaneEvidence})
	}
	return out
}

// flagsOf reads what was done about somebody in the session and not withheld.
func (r *Recorder) flagsOf(ctx context.Context, tx bun.IDB, info raw.SessionInfo, end time.Time) ([]db.ActionRow, error) {
	var rows []db.ActionRow
	err := tx.NewSelect().Model(&rows).Where("cid = ?", info.CID).
		Where("kind IN (?)", bun.List(flagKinds)).Where("state <> ?", db.ActionStateWithheld).
		Where("session_id = ? OR (session_id = '' AND requested_at >= ? AND requested_at <= ?)",
			info.SessionID, db.At(info.StartedAt), db.At(end.Add(r.cfg.FlagGrace))).
		Order("requested_at").Limit(1000).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read flags of session %s: %w", info.SessionID, err)
	}
	return rows, nil
}

// flagKinds are the actions that make a call a flagged one.
var flagKinds = []string{
	string(event.ActionFlag), string(event.ActionWarn), string(event.ActionBlur), string(event.ActionMute),
	string(event.ActionKick), string(event.ActionBan), string(event.ActionEndCall),
}

// release destroys the packets of a session that no run needs any more.
func (r *Recorder) release(ctx context.Context, sessionID string) error {
	if r.busy(sessionID) {
		return nil
	}
	if needed, err := r.needed(ctx, sessionID); err != nil || needed {
		return err
	}
	r.forget(sessionID)
	if err := r.endHandover(ctx, sessionID); err != nil {
		r.log.Warn("what was handed over is deleted later", "session", sessionID, "err", err)
	}
	if r.cfg.WorkerOnly { // whether the call still runs is the server's to know
		return nil
	}
	if err := r.forgetDrop(ctx, sessionID); err != nil {
		return err
	}
	if err := r.receipt(ctx, sessionID); err != nil {
		return err
	}
	if err := raw.Destroy(r.rawDir(sessionID)); err != nil {
		return fmt.Errorf("destroy packets of session %s: %w", sessionID, err)
	}
	r.count.discarded.Add(1)
	r.log.Debug("packets of a session are gone", "session", sessionID)
	return nil
}

// needed tells whether files are made, or may yet be made, of a session's packets.
func (r *Recorder) needed(ctx context.Context, sessionID string) (bool, error) {
	needed, err := r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).Where("session_id = ?", sessionID).
		Where("state IN (?, ?, ?)", db.RecordingOn, db.RecordingProcessing, db.RecordingFailed).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look who needs session %s: %w", sessionID, err)
	}
	return needed, nil
}

// watchFlags begins the runs that a flag asks for while the call still runs,
// so that it shows at once that it is recorded. What is missed here is seen at
// the session's end.
func (r *Recorder) watchFlags(ctx context.Context) {
	err := r.cfg.Bus.Consume(ctx, r.flagSubscription())
	if err != nil && ctx.Err() == nil {
		r.log.Error("flags are seen at the end of calls only", "err", err)
	}
}

// flag begins what a flag asks for.
func (l *live) flag(a event.ActionRequested) {
	if !l.ready || l.writer == nil && !l.gap {
		return
	}
	if len(flaggedRuns(l.info, l.plan)) > 0 {
		l.open() // which is done where nothing was given up
	}
	l.note(raw.Entry{Kind: raw.Flagged, At: l.offset(l.r.cfg.Now()), UserID: a.UserID, Detail: a.ActionID})
	for _, f := range flaggedRuns(l.info, l.plan) {
		if l.runs[f.id] != nil {
			continue
		}
		l.startRun(f.id, f.typ, f.lane, l.begun(), func(ctx context.Context, tx bun.Tx) error {
			if f.lane != db.LaneEvidence || l.against == nil {
				return nil
			}
			o := *l.against
			o.CID, o.SessionID, o.ActionID, o.At = l.info.CID, l.info.SessionID, a.ActionID, l.r.cfg.Now()
			return recording.NoteOverride(ctx, tx, o)
		})
	}
}
