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

type decisionBody struct {
	ID            string          `json:"id"`
	CallCID       string          `json:"call_cid"`
	SessionID     string          `json:"session_id"`
	UserID        string          `json:"user_id"`
	Rule          string          `json:"rule"`
	PolicyVersion string          `json:"policy_version"`
	Action        string          `json:"action"`
	Labels        []string        `json:"labels"`
	Score         float64         `json:"score"`
	Evidence      json.RawMessage `json:"evidence"`
	At            time.Time       `json:"at"`
	Actions       []actionBody    `json:"actions"`
}

type actionBody struct {
	ID          string     `json:"id"`
	DecisionID  string     `json:"decision_id"`
	Kind        string     `json:"kind"`
	CallCID     string     `json:"call_cid"`
	UserID      string     `json:"user_id"`
	UserName    string     `json:"user_name"`
	ByUserID    string     `json:"by_user_id"`
	Reason      string     `json:"reason"`
	State       string     `json:"state"`
	Attempts    int        `json:"attempts"`
	RequestedAt time.Time  `json:"requested_at"`
	CapturedAt  *time.Time `json:"captured_at,omitempty"`
	ConfirmedAt *time.Time `json:"confirmed_at,omitempty"`
	// CapturedToConfirmedMS is from the deciding frame's last packet to the
	// confirmation; absent before it and for orders without a frame.
	CapturedToConfirmedMS *float64 `json:"captured_to_confirmed_ms,omitempty"`
}

// listDecisions gives what the policy made of the verdicts, newest first.
func (s *Server) listDecisions(c echo.Context) error {
	p, err := queryPage(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	var rows []db.DecisionRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows), "at")
	if err := whereGiven(q, map[string]string{"cid": c.QueryParam("cid"), "user_id": c.QueryParam("user_id")}).Scan(ctx); err != nil {
		return fmt.Errorf("read decisions: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.DecisionRow) cursor { return cursor{r.At.UnixNano(), r.ID} })
	actions, err := s.actionsOf(ctx, rows)
	if err != nil {
		return err
	}
	decisions := []decisionBody{}
	for _, r := range rows {
		d := decisionBody{
			ID: r.ID, CallCID: r.CID, SessionID: r.SessionID, UserID: r.UserID, Rule: r.Rule, PolicyVersion: r.PolicyVersion,
			Action: r.Action, Labels: r.Labels.V, Score: r.Score, Evidence: jsonOr(r.Evidence.V, "[]"), At: r.At.Time,
			Actions: actions[r.ID],
		}
		if d.Labels == nil {
			d.Labels = []string{}
		}
		if d.Actions == nil {
			d.Actions = []actionBody{}
		}
		decisions = append(decisions, d)
	}
	return s.ok(c, reply{"decisions": decisions, "next": next})
}

// listActions gives what was ordered by policy or people, newest first.
func (s *Server) listActions(c echo.Context) error {
	p, err := queryPage(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	var rows []db.ActionRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows), "requested_at")
	if err := whereGiven(q, map[string]string{"cid": c.QueryParam("cid"), "user_id": c.QueryParam("user_id")}).Scan(ctx); err != nil {
		return fmt.Errorf("read actions: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.ActionRow) cursor { return cursor{r.RequestedAt.UnixNano(), r.ID} })
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.UserID)
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", ids...)
	if err != nil {
		return err
	}
	actions := []actionBody{}
	for _, r := range rows {
		b := actionBodyOf(r)
		b.UserName = users[r.UserID].Name
		actions = append(actions, b)
	}
	return s.ok(c, reply{"actions": actions, "next": next})
}

func (s *Server) actionsOf(ctx context.Context, decisions []db.DecisionRow) (map[string][]actionBody, error) {
	out := map[string][]actionBody{}
	if len(decisions) == 0 {
		return out, nil
	}
	ids := make([]string, len(decisions))
	for i, d := range decisions {
		ids[i] = d.ID
	}
	var rows []db.ActionRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("decision_id IN (?)", bun.List(ids)).Order("requested_at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read actions of decisions: %w", err)
	}
	for _, r := range rows {
		out[r.DecisionID] = append(out[r.DecisionID], actionBodyOf(r))
	}
	return out, nil
}

func actionBodyOf(r db.ActionRow) actionBody {
	b := actionBody{
		ID: r.ID, DecisionID: r.DecisionID, Kind: r.Kind, CallCID: r.CID, UserID: r.UserID, ByUserID: r.ByUserID,
		Reason: r.Reason, State: r.State, Attempts: r.Attempts, RequestedAt: r.RequestedAt.Time,
	}
	var order event.ActionRequested
	if json.Unmarshal(r.Payload.V, &order) == nil && !order.CapturedAt.IsZero() {
		b.CapturedAt = &order.CapturedAt
	}
	if !r.ConfirmedAt.IsZero() {
		b.ConfirmedAt = &r.ConfirmedAt.Time
		b.CapturedToConfirmedMS = between(b.CapturedAt, *b.ConfirmedAt)
	}
	return b
}

// between is the time from a frame to its action's effect, in milliseconds.
func between(captured *time.Time, confirmed time.Time) *float64 {
	if captured == nil || captured.IsZero() {
		return nil
	}
	ms := float64(confirmed.Sub(*captured).Microseconds()) / 1000
	return &ms
}
