package web

import (
	"context"
	"fmt"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// GetCoverage tells what of a call was not looked at, and how much was; with
// user_id, of that participant alone.
func (s *Server) GetCoverage(ctx context.Context, req api.GetCoverageRequestObject) (api.GetCoverageResponseObject, error) {
	in := req.Params
	p, err := newPage(in.Limit, in.Next)
	if err != nil {
		return nil, err
	}
	if _, _, err := splitCID("cid", in.Cid); err != nil {
		return nil, err
	}
	var rows []db.GapRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows), "from_at")
	if err := whereGiven(q, in.Cid, in.UserID).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read gaps of %s: %w", in.Cid, err)
	}
	rows, next := cut(p, rows, func(r *db.GapRow) cursor { return cursor{r.FromAt.UnixNano(), r.ID} })
	gaps := []api.Gap{}
	for _, r := range rows {
		gaps = append(gaps, api.Gap{
			ID: r.ID, CallCid: r.CID, SessionID: r.SessionID, UserID: r.UserID, TrackID: r.TrackID, TrackType: r.TrackType,
			Reason: r.Reason, Detail: r.Detail, From: r.FromAt.Time, To: r.ToAt.Time, Due: r.Due,
		})
	}
	totals, err := s.coverageTotals(ctx, in.Cid, in.UserID)
	if err != nil {
		return nil, err
	}
	return api.GetCoverage200JSONResponse{Gaps: gaps, Next: next, Totals: totals}, nil
}

func (s *Server) coverageTotals(ctx context.Context, cid, userID string) (api.CoverageTotals, error) {
	t := api.CoverageTotals{Missed: map[string]int64{}}
	// Deleted frames count: they were looked at.
	captured, err := whereGiven(s.cfg.DB.NewSelect().Model((*db.FrameRow)(nil)), cid, userID).Count(ctx)
	if err != nil {
		return t, fmt.Errorf("count frames of %s: %w", cid, err)
	}
	var missed []struct {
		Reason string
		Due    int64
	}
	q := s.cfg.DB.NewSelect().Model((*db.GapRow)(nil)).Column("reason").ColumnExpr("sum(due) AS due").Group("reason")
	if err := whereGiven(q, cid, userID).Scan(ctx, &missed); err != nil {
		return t, fmt.Errorf("sum gaps of %s: %w", cid, err)
	}
	t.Captured = int64(captured)
	t.Due = t.Captured
	for _, m := range missed {
		t.Missed[m.Reason] = m.Due
		// A frame that was captured and not classified is counted above.
		if event.GapReason(m.Reason) != event.GapClassifier {
			t.Due += m.Due
		}
	}
	return t, nil
}
