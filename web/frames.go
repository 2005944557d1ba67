package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

type frameBody struct {
	ID         string        `json:"id"`
	CallCID    string        `json:"call_cid"`
	SessionID  string        `json:"session_id"`
	EgressID   string        `json:"egress_id"`
	UserID     string        `json:"user_id"`
	TrackType  string        `json:"track_type"`
	Codec      string        `json:"codec"`
	CapturedAt time.Time     `json:"captured_at"`
	URL        string        `json:"url"`
	SHA256     string        `json:"sha256"`
	Width      int           `json:"width"`
	Height     int           `json:"height"`
	Bytes      int           `json:"bytes"`
	ExpiresAt  time.Time     `json:"expires_at"`
	Hold       bool          `json:"hold"`
	Verdict    *frameVerdict `json:"verdict"`
}

type frameVerdict struct {
	State  string          `json:"state"`
	Reason string          `json:"reason"`
	Scores json.RawMessage `json:"scores"`
	Models json.RawMessage `json:"models"`
	Reused bool            `json:"reused"`
	At     time.Time       `json:"at"`
}

// listFrames gives the frames that still exist, newest first, with the URL
// that opens each until it is deleted.
func (s *Server) listFrames(c echo.Context) error {
	p, err := queryPage(c)
	if err != nil {
		return err
	}
	cid, user := c.QueryParam("cid"), c.QueryParam("user_id")
	if cid == "" && user == "" {
		return badField("cid", "or user_id is required")
	}
	ctx := c.Request().Context()
	var rows []db.FrameRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows).Where("deleted_at = 0"), "captured_at")
	if err := whereGiven(q, map[string]string{"cid": cid, "user_id": user}).Scan(ctx); err != nil {
		return fmt.Errorf("read frames: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.FrameRow) cursor { return cursor{r.CapturedAt.UnixNano(), r.ID} })
	verdicts, err := s.verdictsOf(ctx, rows)
	if err != nil {
		return err
	}
	frames := []frameBody{}
	for _, r := range rows {
		frames = append(frames, s.frameBody(r, verdicts[r.ID]))
	}
	return s.ok(c, reply{"frames": frames, "next": next})
}

// heldURLLife is the life of the URL of a frame that is kept without end.
const heldURLLife = 24 * time.Hour

func (s *Server) frameBody(r db.FrameRow, v *frameVerdict) frameBody {
	until := r.ExpiresAt.Time
	if bool(r.Hold) || until.IsZero() {
		until = s.cfg.Now().Add(heldURLLife)
	}
	return frameBody{
		ID: r.ID, CallCID: r.CID, SessionID: r.SessionID, EgressID: r.EgressID, UserID: r.UserID,
		TrackType: r.TrackType, Codec: r.Codec, CapturedAt: r.CapturedAt.Time, URL: s.cfg.Signer.SignGet(r.ObjectKey, until),
		SHA256: r.SHA256, Width: r.Width, Height: r.Height, Bytes: r.Bytes, ExpiresAt: r.ExpiresAt.Time,
		Hold: bool(r.Hold), Verdict: v,
	}
}

// verdictsOf returns the verdicts of the frames, by frame.
func (s *Server) verdictsOf(ctx context.Context, frames []db.FrameRow) (map[string]*frameVerdict, error) {
	out := map[string]*frameVerdict{}
	if len(frames) == 0 {
		return out, nil
	}
	ids := make([]string, len(frames))
	for i, f := range frames {
		ids[i] = f.ID
	}
	var rows []db.VerdictRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("frame_id IN (?)", bun.List(ids)).Order("at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read verdicts: %w", err)
	}
	for _, r := range rows {
		out[r.FrameID] = &frameVerdict{
			State: r.State, Reason: r.Reason, Scores: jsonOr(r.Scores.V, "[]"), Models: jsonOr(r.Models.V, "[]"),
			Reused: bool(r.Reused), At: r.At.Time,
		}
	}
	return out, nil
}

// whereGiven narrows by the columns whose value is not empty.
func whereGiven(q *bun.SelectQuery, columns map[string]string) *bun.SelectQuery {
	for column, value := range columns {
		if value != "" {
			q = q.Where("? = ?", bun.Ident(column), value)
		}
	}
	return q
}

func jsonOr(raw json.RawMessage, empty string) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage(empty)
	}
	return raw
}

type gapBody struct {
	ID        string    `json:"id"`
	CallCID   string    `json:"call_cid"`
	SessionID string    `json:"session_id"`
	UserID    string    `json:"user_id"`
	TrackID   string    `json:"track_id"`
	TrackType string    `json:"track_type"`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Due       int       `json:"due"`
}

// coverage tells what of a call was not looked at, and how much was.
func (s *Server) coverage(c echo.Context) error {
	p, err := queryPage(c)
	if err != nil {
		return err
	}
	cid := c.QueryParam("cid")
	if _, _, err := splitCID("cid", cid); err != nil {
		return err
	}
	ctx := c.Request().Context()
	var rows []db.GapRow
	if err := p.apply(s.cfg.DB.NewSelect().Model(&rows).Where("cid = ?", cid), "from_at").Scan(ctx); err != nil {
		return fmt.Errorf("read gaps of %s: %w", cid, err)
	}
	rows, next := cut(p, rows, func(r *db.GapRow) cursor { return cursor{r.FromAt.UnixNano(), r.ID} })
	gaps := []gapBody{}
	for _, r := range rows {
		gaps = append(gaps, gapBody{r.ID, r.CID, r.SessionID, r.UserID, r.TrackID, r.TrackType, r.Reason, r.Detail, r.FromAt.Time, r.ToAt.Time, r.Due})
	}
	totals, err := s.coverageTotals(ctx, cid)
	if err != nil {
		return err
	}
	return s.ok(c, reply{"gaps": gaps, "next": next, "totals": totals})
}

type coverageTotals struct {
	// Due is Captured and all that was missed.
	Due      int64            `json:"due"`
	Captured int64            `json:"captured"`
	Missed   map[string]int64 `json:"missed"`
}

func (s *Server) coverageTotals(ctx context.Context, cid string) (coverageTotals, error) {
	t := coverageTotals{Missed: map[string]int64{}}
	var err error
	// Deleted frames count: they were looked at.
	if t.Captured, err = s.cfg.DB.NewSelect().Model((*db.FrameRow)(nil)).Where("cid = ?", cid).Count(ctx); err != nil {
		return t, fmt.Errorf("count frames of %s: %w", cid, err)
	}
	var missed []struct {
		Reason string
		Due    int64
	}
	err = s.cfg.DB.NewSelect().Model((*db.GapRow)(nil)).Column("reason").ColumnExpr("sum(due) AS due").
		Where("cid = ?", cid).Group("reason").Scan(ctx, &missed)
	if err != nil {
		return t, fmt.Errorf("sum gaps of %s: %w", cid, err)
	}
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
