package node

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

// reasonAlone is that of call.ended, and of the connections that are closed.
const reasonAlone = "alone in the call"

// lookAlone begins to wait where somebody has left who was one of the last two,
// if the call is to end then.
func (n *Node) lookAlone(ctx context.Context, cid, sessionID string) error {
	after, err := n.aloneAfter(ctx, cid, sessionID)
	if err != nil || after == 0 {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.alone[sessionID] != nil {
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		n.enqueue(func(ctx context.Context) error {
			n.mu.Lock()
			due := n.alone[sessionID] == timer
			n.mu.Unlock()
			if !due { // somebody came just now
				return nil
			}
			// What fails is tried again, so it is still waited until then.
			if err := n.endAlone(ctx, cid, sessionID); err != nil {
				return err
			}
			n.notAlone(sessionID)
			return nil
		})
	})
	n.alone[sessionID] = timer
	return nil
}

// lookTogether ends the waiting of lookAlone where somebody else has come.
func (n *Node) lookTogether(ctx context.Context, cid, sessionID string) error {
	if !n.waitsAlone(sessionID) {
		return nil
	}
	after, err := n.aloneAfter(ctx, cid, sessionID)
	if err == nil && after == 0 {
		n.notAlone(sessionID)
	}
	return err
}

func (n *Node) waitsAlone(sessionID string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.alone[sessionID] != nil
}

// notAlone ends the waiting of lookAlone.
func (n *Node) notAlone(sessionID string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.alone[sessionID]; t != nil {
		t.Stop()
		delete(n.alone, sessionID)
	}
}

// aloneAfter is how long the one who is left may stay, by the call's settings as
// they are now; 0 where nobody, or more than one user, is in the session, or
// where nobody else ever was.
func (n *Node) aloneAfter(ctx context.Context, cid, sessionID string) (time.Duration, error) {
	var row db.CallRow
	err := n.cfg.DB.NewSelect().Model(&row).Column("settings").Where("cid = ?", cid).Where("ended_at = 0").Scan(ctx)
	if db.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read call %s: %w", cid, err)
	}
	s, err := n.cfg.Settings(row.Settings.V)
	if err != nil {
		return 0, fmt.Errorf("read settings of %s: %w", cid, err)
	}
	if s.AloneAfter <= 0 {
		return 0, nil
	}
	var users struct{ Here, Ever int }
	err = n.cfg.DB.NewSelect().Model((*db.ParticipantRow)(nil)).Where("session_id = ?", sessionID).
		ColumnExpr("count(DISTINCT user_id) AS ever").ColumnExpr("count(DISTINCT CASE WHEN left_at = 0 THEN user_id END) AS here").Scan(ctx, &users)
	if err != nil {
		return 0, fmt.Errorf("count users of %s: %w", cid, err)
	}
	if users.Here != 1 || users.Ever < 2 {
		return 0, nil
	}
	return s.AloneAfter, nil
}

// endAlone ends the call and hangs up whoever is left, if that is still one who
// is to be.
func (n *Node) endAlone(ctx context.Context, cid, sessionID string) error {
	after, err := n.aloneAfter(ctx, cid, sessionID)
	if err != nil || after == 0 {
		return err
	}
	err = n.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := n.cfg.DB.EndCall(ctx, tx, cid, "", reasonAlone, n.cfg.Now())
		return err
	})
	if err != nil {
		return err
	}
	n.log.Info("the last one is hung up", "call", cid, "session", sessionID)
	n.cfg.Calls.EndCall(cid, reasonAlone)
	return nil
}
