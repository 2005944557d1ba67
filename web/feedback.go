package web

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// SubmitModerationFeedback keeps what a moderator says the labels of an item
// should have been. A moderator has one word on each item, the last.
func (s *Server) SubmitModerationFeedback(ctx context.Context, req api.SubmitModerationFeedbackRequestObject) (api.SubmitModerationFeedbackResponseObject, error) {
	in := orZero(req.Body)
	if in.ItemID == "" { // no body at all
		return nil, badField("item_id", "is missing")
	}
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		item, err := s.cfg.DB.ReviewItem(ctx, in.ItemID, now)
		if db.IsNotFound(err) {
			return notFound("review item", in.ItemID)
		}
		if err != nil {
			return err
		}
		row := db.FeedbackRow{ItemID: item.ID, UserID: by, Notes: in.Notes, CreatedAt: db.At(now), UpdatedAt: db.At(now)}
		row.Labels.V, row.ExpectedLabels.V = labelsOf(item), sortedSet(in.ExpectedLabels)
		q := tx.NewInsert().Model(&row).On("CONFLICT (item_id, user_id) DO UPDATE")
		for _, column := range []string{"labels", "expected_labels", "notes", "updated_at"} {
			q = q.Set("? = EXCLUDED.?", bun.Ident(column), bun.Ident(column))
		}
		if _, err := q.Exec(ctx); err != nil {
			return fmt.Errorf("keep the feedback: %w", err)
		}
		return audit(ctx, tx, now, by, "review.feedback", "review_item:"+item.ID, map[string]any{
			"labels": row.Labels.V, "expected_labels": row.ExpectedLabels.V,
		})
	})
	return api.SubmitModerationFeedback200JSONResponse{}, err
}

// labelsOf are the labels of all flags of an item.
func labelsOf(item event.ReviewItem) []string {
	var all []string
	for _, f := range item.Flags {
		all = append(all, f.Labels...)
	}
	return sortedSet(all)
}

func sortedSet(list []string) []string {
	out := append([]string{}, list...)
	slices.Sort(out)
	return slices.Compact(out)
}
