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

// ParticipantJoined records a connection. A user who was banned between the
// check at the door and this moment is put out again, and so is everybody
// when the call was ended or deleted.
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
		open, err := n.cfg.DB.NewSelect().Model((*db.CallRow)(nil)).Where("cid = ?", cid).
			Where("ended_at = 0").Where("deleted_at = 0").Exists(ctx)
		if err != nil {
			return fmt.Errorf("check the end of %s: %w", cid, err)
		}
		if !open {
			n.cfg.Calls.EndCall(cid, "the call has ended")
		}
		if err := n.lookTogether(ctx, cid, p.Session.ID); err != nil {
			return err
		}
		return n.muteAgain(ctx, cid, p.UserID)
	})
}

// ParticipantLeft closes a connection's row.
func (n *Node) ParticipantLeft(p call.Participant, reason string) {
	n.enqueue(func(ctx context.Context) error {
		if err := n.leave(ctx, p, reason); err != nil {
			return err
		}
		return n.lookAlone(ctx, p.Session.CID, p.Session.ID)
	})
}

func (n *Node) join(ctx context.Context, p call.Participant) error {
	if err := n.cfg.DB.SawUser(ctx, p.UserID, true, p.JoinedAt); err != nil {
		return fmt.Errorf("note user %s: %w", p.UserID, err)
	}
	return n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := &db.ParticipantRow{UserSessionID: p.UserSessionID, SessionID: p.Session.ID, CID: p.Session.CID, UserID: p.UserID, Role: p.Role, JoinedAt: db.At(p.JoinedAt)}
		res, err := tx.NewInsert().Model(row).On("CONFLICT (user_session_id) DO NOTHING").Exec(ctx)
		if err != nil {
			return fmt.Errorf("write participant %s: %w", p.UserID, err)
		}
		if k, err := res.RowsAffected(); err != nil || k == 0 {
			return err
		}
		who, err := n.participant(ctx, p)
		if err != nil {
			return err
		}
		joined := event.ParticipantJoined{
			Type: event.CallParticipantJoined, CreatedAt: p.JoinedAt.UTC(), CallCID: p.Session.CID, SessionID: p.Session.ID, Participant: who,
		}
		return n.tell(ctx, tx, joined.Type, p, p.JoinedAt, joined)
	})
}

func (n *Node) leave(ctx context.Context, p call.Participant, reason string) error {
	return n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error { return n.close(ctx, tx, p, reason) })
}

// close notes the end of a connection, unless that was done.
func (n *Node) close(ctx context.Context, tx bun.Tx, p call.Participant, reason string) error {
	res, err := tx.NewUpdate().Model((*db.ParticipantRow)(nil)).Set("left_at = ?", db.At(p.LeftAt)).Set("leave_reason = ?", reason).
		Where("user_session_id = ?", p.UserSessionID).Where("left_at = 0").Exec(ctx)
	if err != nil {
		return fmt.Errorf("update participant %s: %w", p.UserID, err)
	}
	if k, err := res.RowsAffected(); err != nil || k == 0 {
		return err
	}
	_, err = tx.NewUpdate().Model((*db.UserRow)(nil)).Set("online = 0").Set("last_active = ?", db.At(p.LeftAt)).Where("id = ?", p.UserID).
		Where("NOT EXISTS (SELECT 1 FROM participants AS p WHERE p.user_id = ? AND p.left_at = 0)", p.UserID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("note that %s went: %w", p.UserID, err)
	}
	who, err := n.participant(ctx, p)
	if err != nil {
		return err
	}
	left := event.ParticipantLeft{
		Type: event.CallParticipantLeft, CreatedAt: p.LeftAt.UTC(), CallCID: p.Session.CID, SessionID: p.Session.ID, Participant: who,
		DurationSeconds: max(0, int(p.LeftAt.Sub(p.JoinedAt).Seconds())), Reason: reason,
	}
	return n.tell(ctx, tx, left.Type, p, p.LeftAt, left)
}

// participant is the connection as events show it.
func (n *Node) participant(ctx context.Context, p call.Participant) (event.Participant, error) {
	user, err := n.cfg.DB.UserIn(ctx, p.UserID, p.Session.CID)
	if err != nil {
		return event.Participant{}, fmt.Errorf("read user %s: %w", p.UserID, err)
	}
	return event.Participant{User: user, UserSessionID: p.UserSessionID, Role: p.Role, JoinedAt: p.JoinedAt.UTC()}, nil
}

// tell enqueues that somebody came or went, and how many are there now.
func (n *Node) tell(ctx context.Context, tx bun.Tx, typ string, p call.Participant, at time.Time, body any) error {
	cid := p.Session.CID
	var counts []struct {
		Role string
		N    int
	}
	err := tx.NewSelect().Model((*db.ParticipantRow)(nil)).Column("role").ColumnExpr("count(*) AS n").
		Where("session_id = ?", p.Session.ID).Where("left_at = 0").Group("role").Scan(ctx, &counts)
	if err != nil {
		return fmt.Errorf("count participants of %s: %w", cid, err)
	}
	now := event.ParticipantCount{
		Type: event.CallParticipantCount, CreatedAt: at.UTC(), CallCID: cid, SessionID: p.Session.ID, CountByRole: map[string]int{},
	}
	for _, c := range counts {
		now.CountByRole[c.Role] = c.N
	}
	return db.Enqueue(ctx, tx, event.TopicPublic,
		event.New(typ, cid+"/"+p.UserID, at, body), event.New(now.Type, cid, at, now))
}
