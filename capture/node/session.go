package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/internal/db"
	"stillwatch/internal/event"

	"github.com/uptrace/bun"
)

// SessionStarted records a session and starts frame recording where the
// call's settings say so.
func (n *Node) SessionStarted(s call.Session) {
	n.enqueue(func(ctx context.Context) error { return n.beginSession(ctx, s.CID, s.ID, s.StartedAt) })
}

// SessionEnded closes the session's row and its frame recording.
func (n *Node) SessionEnded(s call.Session) {
	n.enqueue(func(ctx context.Context) error {
		return n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error { return n.endSession(ctx, tx, s.CID, s.ID, s.EndedAt) })
	})
}

func (n *Node) beginSession(ctx context.Context, cid, sessionID string, at time.Time) error {
	var on bool
	var row db.CallRow
	err := n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		on = false
		if err := tx.NewSelect().Model(&row).Where("cid = ?", cid).Scan(ctx); err != nil {
			return fmt.Errorf("read call %s: %w", cid, err)
		}
		session := &db.SessionRow{ID: sessionID, CID: cid, Node: n.cfg.ID, StartedAt: db.At(at)}
		if _, err := tx.NewInsert().Model(session).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
			return fmt.Errorf("write session %s: %w", sessionID, err)
		}
		settings, err := n.cfg.Settings(row.Settings.V)
		if err != nil {
			return fmt.Errorf("read settings of %s: %w", cid, err)
		}
		evs := []event.Envelope{publicState(event.CallSessionStarted, cid, sessionID, "", at)}
		on = row.FrameEgressID != "" || settings.Mode == "auto-on"
		begins := on && row.FrameEgressID == "" // else whoever set the id has told it
		if begins {
			row.FrameEgressID = event.NewID()
		}
		row.CurrentSessionID, row.UpdatedAt = sessionID, db.At(at)
		if _, err := tx.NewUpdate().Model(&row).Column("current_session_id", "frame_egress_id", "updated_at").WherePK().Exec(ctx); err != nil {
			return fmt.Errorf("update call %s: %w", cid, err)
		}
		if begins {
			evs = append(evs, publicState(event.CallFrameRecordingStarted, cid, sessionID, row.FrameEgressID, at))
		}
		return n.enqueuePublic(ctx, tx, cid, evs)
	})
	if err != nil {
		return err
	}
	if on {
		settings, err := n.cfg.Settings(row.Settings.V)
		if err != nil {
			return err
		}
		n.cfg.Sampler.SetRecording(cid, true, row.FrameEgressID, settings.Settings)
	}
	return nil
}

func (n *Node) endSession(ctx context.Context, tx bun.Tx, cid, sessionID string, at time.Time) error {
	if _, err := tx.NewUpdate().Model((*db.SessionRow)(nil)).Set("ended_at = ?", db.At(at)).Where("id = ? AND ended_at = 0", sessionID).Exec(ctx); err != nil {
		return fmt.Errorf("end session %s: %w", sessionID, err)
	}
	if _, err := tx.NewUpdate().Model((*db.ParticipantRow)(nil)).Set("left_at = ?", db.At(at)).Where("session_id = ? AND left_at = 0", sessionID).Exec(ctx); err != nil {
		return fmt.Errorf("end participants of %s: %w", sessionID, err)
	}
	var row db.CallRow
	if err := tx.NewSelect().Model(&row).Where("cid = ?", cid).Scan(ctx); err != nil {
		return fmt.Errorf("read call %s: %w", cid, err)
	}
	if row.CurrentSessionID != sessionID {
		return nil // a newer session has begun
	}
	evs := []event.Envelope{publicState(event.CallSessionEnded, cid, sessionID, "", at)}
	if row.FrameEgressID != "" {
		evs = append(evs, publicState(event.CallFrameRecordingStopped, cid, sessionID, row.FrameEgressID, at))
	}
	n.cfg.Sampler.SetRecording(cid, false, row.FrameEgressID, capture.Settings{})
	row.CurrentSessionID, row.FrameEgressID, row.UpdatedAt = "", "", db.At(at)
	if _, err := tx.NewUpdate().Model(&row).Column("current_session_id", "frame_egress_id", "updated_at").WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("update call %s: %w", cid, err)
	}
	return n.enqueuePublic(ctx, tx, cid, evs)
}

// RecordingFailed tells the outside that a call is no longer looked at.
func (n *Node) RecordingFailed(cid, egressID string, reason event.GapReason, at time.Time) {
	n.log.Error("frame recording fails", "call", cid, "reason", reason)
	n.enqueue(func(ctx context.Context) error {
		return n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			return n.enqueuePublic(ctx, tx, cid, []event.Envelope{publicState(event.CallFrameRecordingFailed, cid, "", egressID, at)})
		})
	})
}

// endLeftovers ends the sessions that a killed run of this node left open.
func (n *Node) endLeftovers(ctx context.Context) error {
	return n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var open []db.SessionRow
		if err := tx.NewSelect().Model(&open).Where("node = ? AND ended_at = 0", n.cfg.ID).Scan(ctx); err != nil {
			return fmt.Errorf("list open sessions: %w", err)
		}
		for _, s := range open {
			if err := n.endSession(ctx, tx, s.CID, s.ID, n.cfg.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// publicState is an event whose "call" object is filled in by enqueuePublic.
func publicState(typ, cid, sessionID, egressID string, at time.Time) event.Envelope {
	body := map[string]any{"type": typ, "created_at": at.UTC(), "call_cid": cid}
	if sessionID != "" {
		body["session_id"] = sessionID
	}
	if egressID != "" {
		body["egress_id"] = egressID
	}
	return event.New(typ, cid, at, body)
}

func (n *Node) enqueuePublic(ctx context.Context, tx bun.Tx, cid string, evs []event.Envelope) error {
	call, err := n.cfg.DB.CallBody(ctx, cid)
	if err != nil {
		return fmt.Errorf("describe call %s: %w", cid, err)
	}
	for i := range evs {
		body := map[string]json.RawMessage{}
		if err := evs[i].Decode(&body); err != nil {
			return err
		}
		body["call"] = call
		if evs[i].Data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	return db.Enqueue(ctx, tx, event.TopicPublic, evs...)
}
