package actions

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Decisions of people, as SubmitAction names them.
const (
	DecideMarkReviewed = "mark_reviewed"
	DecideBan          = "ban"
	DecideUnban        = "unban"
	DecideBlock        = "block"
	DecideUnblock      = "unblock"
	DecideKick         = "kick_user"
	DecideEndCall      = "end_call"
	DecideEscalate     = "escalate"
	DecideDeEscalate   = "de_escalate"
	DecideRestore      = "restore"
	DecideCustom       = "custom"
	DecideRejectAppeal = "reject_appeal"
)

// clearing are the decisions in a participant's favour: in the same session
// the policy does not ban or remove them by itself any more, it asks.
var clearing = []string{DecideMarkReviewed, DecideUnban, DecideUnblock, DecideRestore}

// overruled withholds what the policy wants done to a participant when a
// person's decision stands against it, and puts it to people instead: a flag
// that recommends it.
func (w write) overruled(ctx context.Context) (bool, error) {
	if w.req.DecisionID == "" {
		return false, nil
	}
	cleared, err := w.cleared(ctx)
	if err != nil {
		return false, err
	}
	banned := false
	if w.req.Kind == event.ActionBan {
		if banned, err = w.bannedByPeople(ctx); err != nil {
			return false, err
		}
	}
	if !cleared && !banned {
		return false, nil
	}
	return w.step(ctx, db.ActionStateRequested, db.ActionStateWithheld, func(ctx context.Context) error {
		why := "people have banned the user already"
		if !banned {
			why = "a moderator decided otherwise in this session"
			w.req.Recommend = w.req.Kind
			if _, err := w.flag(ctx); err != nil {
				return err
			}
		}
		return w.audit(ctx, string(w.req.Kind)+".withheld", map[string]any{"why": why})
	})
}

// cleared tells whether somebody decided in the participant's favour, about
// this session or, without naming one, since it began.
func (w write) cleared(ctx context.Context) (bool, error) {
	var began []int64 // nanoseconds since 1970
	err := w.tx.NewSelect().Model((*db.SessionRow)(nil)).Column("started_at").Where("id = ?", w.req.SessionID).Scan(ctx, &began)
	if err != nil {
		return false, fmt.Errorf("read session %s: %w", w.req.SessionID, err)
	}
	since := int64(0)
	if len(began) > 0 {
		since = began[0]
	}
	cleared, err := w.tx.NewSelect().Model((*db.ReviewActionRow)(nil)).Where("target_user_id = ?", w.req.UserID).
		Where("type IN (?)", bun.List(clearing)).
		Where("((session_id <> '' AND session_id = ?) OR (session_id = '' AND cid IN ('', ?) AND at >= ?))", w.req.SessionID, w.req.CID, since).
		Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("read decisions on %s: %w", w.req.UserID, err)
	}
	return cleared, nil
}

// bannedByPeople tells whether a ban holds that a person gave: the policy
// does not lengthen it.
func (w write) bannedByPeople(ctx context.Context) (bool, error) {
	banned, err := w.tx.NewSelect().Model((*db.BanRow)(nil)).Where("b.user_id = ?", w.req.UserID).Where("b.cid IN ('', ?)", w.req.CID).
		Where("b.shadow = 0").Where("b.lifted_at = 0").Where("(b.expires_at = 0 OR b.expires_at > ?)", db.At(w.now)).
		Where("NOT EXISTS (SELECT 1 FROM actions AS a WHERE a.id = b.action_id AND a.decision_id <> '')").Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("read bans of %s: %w", w.req.UserID, err)
	}
	return banned, nil
}
