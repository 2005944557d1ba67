package node

import (
	"context"
	"fmt"
	"time"

	"stillwatch/capture/call"
	"stillwatch/internal/db"
	"stillwatch/internal/event"

	"github.com/uptrace/bun"
)

// participantEvent is the body of the public joined and left events.
type participantEvent struct {
	Type            string           `json:"type"`
	CreatedAt       time.Time        `json:"created_at"`
	CallCID         string           `json:"call_cid"`
	SessionID       string           `json:"session_id"`
	Participant     participantShape `json:"participant"`
	DurationSeconds *int             `json:"duration_seconds,omitempty"`
	Reason          string           `json:"reason,omitempty"`
}

type participantShape struct {
	User          event.User `json:"user"`
	UserSessionID string     `json:"user_session_id"`
	Role          string     `json:"role"`
	JoinedAt      time.Time  `json:"joined_at"`
}

// ParticipantJoined records a connection. A user who was banned between the
// check at the door and this moment is put out again.
func (n *Node) ParticipantJoined(p call.Participant) {
	n.enqueue(func(ctx context.Context) error {
		if err := n.join(ctx, p); err != nil {
			return err
		}
		cid := p.Session.CID
		ban, banned, err := n.cfg.DB.Banned(ctx, p.UserID, cid, n.cfg.Now())
		if err != nil {
			return fmt.Errorf("check ban of %s: %w", p.UserID, err)
		}
		if banned {
			n.cfg.Calls.Disconnect(cid, p.UserID, "banned: "+ban.Reason)
		}
		return nil
	})
}

// ParticipantLeft closes a connection's row.
func (n *Node) ParticipantLeft(p call.Participant, reason string) {
	n.enqueue(func(ctx context.Context) error { return n.leave(ctx, p, reason) })
}

func (n *Node) join(ctx context.Context, p call.Participant) error {
	if err := n.cfg.DB.SawUser(ctx, p.UserID, p.Role, true, p.JoinedAt); err != nil {
		return fmt.Errorf("note user %s: %w", p.UserID, err)
	}
	return n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := &db.ParticipantRow{UserSessionID: p.UserSessionID, SessionID: p.Session.ID, CID: p.Session.CID, UserID: p.UserID, Role: p.Role, JoinedAt: db.At(p.JoinedAt)}
		if _, err := tx.NewInsert().Model(row).On("CONFLICT (user_session_id) DO NOTHING").Exec(ctx); err != nil {
			return fmt.Errorf("write participant %s: %w", p.UserID, err)
		}
		return n.tell(ctx, tx, event.CallParticipantJoined, p, p.JoinedAt, "")
	})
}

func (n *Node) leave(ctx context.Context, p call.Participant, reason string) error {
	return n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var row db.ParticipantRow
		if err := tx.NewSelect().Model(&row).Where("user_session_id = ?", p.UserSessionID).Scan(ctx); err != nil {
			return fmt.Errorf("read participant %s: %w", p.UserID, err)
		}
		row.LeftAt, row.LeaveReason = db.At(p.LeftAt), reason
		if _, err := tx.NewUpdate().Model(&row).Column("left_at", "leave_reason").WherePK().Exec(ctx); err != nil {
			return fmt.Errorf("update participant %s: %w", p.UserID, err)
		}
		return n.tell(ctx, tx, event.CallParticipantLeft, p, p.LeftAt, reason)
	})
}

func (n *Node) tell(ctx context.Context, tx bun.Tx, typ string, p call.Participant, at time.Time, reason string) error {
	user, err := n.cfg.DB.UserIn(ctx, p.UserID, p.Session.CID)
	if err != nil {
		return fmt.Errorf("read user %s: %w", p.UserID, err)
	}
	body := participantEvent{
		Type: typ, CreatedAt: at.UTC(), CallCID: p.Session.CID, SessionID: p.Session.ID, Reason: reason,
		Participant: participantShape{User: user, UserSessionID: p.UserSessionID, Role: p.Role, JoinedAt: p.JoinedAt.UTC()},
	}
	if typ == event.CallParticipantLeft {
		seconds := int(at.Sub(p.JoinedAt).Seconds())
		body.DurationSeconds = &seconds
	}
	return db.Enqueue(ctx, tx, event.TopicPublic, event.New(typ, p.Session.CID+"/"+p.UserID, at, body))
}
