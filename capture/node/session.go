package node

import (
	"context"
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
		n.notAlone(s.ID)
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
		over := !row.EndedAt.IsZero() || !row.DeletedAt.IsZero()
		on = !over && (row.FrameEgressID != "" || settings.Mode == "auto-on")
		begins := on && row.FrameEgressID == "" // else whoever set the id has told it
		if begins {
			row.FrameEgressID = event.NewID()
		}
		row.CurrentSessionID, row.UpdatedAt = sessionID, db.At(at)
		if _, err := tx.NewUpdate().Model(&row).Column("current_session_id", "frame_egress_id", "updated_at").WherePK().Exec(ctx); err != nil {
			return fmt.Errorf("update call %s: %w", cid, err)
		}
		egress := ""
		if begins {
			egress = row.FrameEgressID
		}
		return n.tellState(ctx, tx, event.CallSessionStarted, event.CallFrameRecordingStarted, cid, sessionID, egress, at)
	})
	if err != nil {
		return err
	}
	if on {
		settings, err := n.cfg.Settings(row.Settings.V)
		if err != nil {
			return err
		}
		if settings.Storage, err = n.storageOf(ctx, n.cfg.DB, row); err != nil {
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
	if err := n.closeAll(ctx, tx, sessionID, at); err != nil {
		return err
	}
	var row db.CallRow
	err := tx.NewSelect().Model(&row).Where("cid = ?", cid).Scan(ctx)
	if db.IsNotFound(err) {
		n.cfg.Sampler.SetRecording(cid, false, "", capture.Settings{})
		return nil // deleted, with all that was known of it
	}
	if err != nil {
		return fmt.Errorf("read call %s: %w", cid, err)
	}
	if row.CurrentSessionID != sessionID {
		return nil // a newer session has begun
	}
	egress := row.FrameEgressID
	n.cfg.Sampler.SetRecording(cid, false, row.FrameEgressID, capture.Settings{})
	row.CurrentSessionID, row.FrameEgressID, row.UpdatedAt = "", "", db.At(at)
	if _, err := tx.NewUpdate().Model(&row).Column("current_session_id", "frame_egress_id", "updated_at").WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("update call %s: %w", cid, err)
	}
	return n.tellState(ctx, tx, event.CallSessionEnded, event.CallFrameRecordingStopped, cid, sessionID, egress, at)
}

// closeAll ends the connections of a session that nobody said the end of: a
// killed run's.
func (n *Node) closeAll(ctx context.Context, tx bun.Tx, sessionID string, at time.Time) error {
	var open []db.ParticipantRow
	if err := tx.NewSelect().Model(&open).Where("session_id = ?", sessionID).Where("left_at = 0").Order("joined_at").Scan(ctx); err != nil {
		return fmt.Errorf("list participants of %s: %w", sessionID, err)
	}
	for _, p := range open {
		err := n.close(ctx, tx, call.Participant{
			Session: call.Session{ID: sessionID, CID: p.CID}, UserID: p.UserID, Role: p.Role,
			UserSessionID: p.UserSessionID, JoinedAt: p.JoinedAt.Time, LeftAt: at,
		}, "connection lost")
		if err != nil {
			return err
		}
	}
	return nil
}

// RecordingFailed tells the outside that a call is no longer looked at.
func (n *Node) RecordingFailed(cid, egressID string, reason event.GapReason, at time.Time) {
	n.log.Error("frame recording fails", "call", cid, "reason", reason)
	n.enqueue(func(ctx context.Context) error {
		return n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			return n.tellState(ctx, tx, "", event.CallFrameRecordingFailed, cid, "", egressID, at)
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

// tellState enqueues what became of a session, if sessionType is given, and of
// frame recording, if there is an egressID; with the call as it is now.
func (n *Node) tellState(ctx context.Context, tx bun.Tx, sessionType, frameType, cid, sessionID, egressID string, at time.Time) error {
	body, err := n.cfg.DB.CallBody(ctx, cid)
	if err != nil {
		return fmt.Errorf("describe call %s: %w", cid, err)
	}
	var evs []event.Envelope
	if sessionType != "" {
		evs = append(evs, event.New(sessionType, cid, at, event.CallSession{
			Type: sessionType, CreatedAt: at.UTC(), CallCID: cid, SessionID: sessionID, Call: body,
		}))
	}
	if egressID != "" {
		evs = append(evs, event.New(frameType, cid, at, event.FrameRecordingState{
			Type: frameType, CreatedAt: at.UTC(), CallCID: cid, Call: body, EgressID: egressID,
		}))
	}
	return db.Enqueue(ctx, tx, event.TopicPublic, evs...)
}
