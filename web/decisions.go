package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// ListDecisions gives what the policy made of the verdicts, newest first.
func (s *Server) ListDecisions(ctx context.Context, req api.ListDecisionsRequestObject) (api.ListDecisionsResponseObject, error) {
	in := req.Params
	p, err := newPage(in.Limit, in.Next)
	if err != nil {
		return nil, err
	}
	var rows []db.DecisionRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows), "at")
	if err := whereGiven(q, in.Cid, in.UserID).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read decisions: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.DecisionRow) cursor { return cursor{r.At.UnixNano(), r.ID} })
	actions, err := s.actionsOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	decisions := []api.Decision{}
	for _, r := range rows {
		decisions = append(decisions, api.Decision{
			ID: r.ID, CallCid: r.CID, SessionID: r.SessionID, UserID: r.UserID, Rule: r.Rule, PolicyVersion: r.PolicyVersion,
			Action: r.Action, Labels: orEmpty(r.Labels.V), Score: r.Score, Evidence: jsonOr(r.Evidence.V, "{}"), At: r.At.Time,
			Actions: orEmpty(actions[r.ID]),
		})
	}
	return api.ListDecisions200JSONResponse{Decisions: decisions, Next: next}, nil
}

// ListActions gives what was ordered by policy or people, newest first.
func (s *Server) ListActions(ctx context.Context, req api.ListActionsRequestObject) (api.ListActionsResponseObject, error) {
	in := req.Params
	p, err := newPage(in.Limit, in.Next)
	if err != nil {
		return nil, err
	}
	var rows []db.ActionRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows), "requested_at")
	if err := whereGiven(q, in.Cid, in.UserID).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read actions: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.ActionRow) cursor { return cursor{r.RequestedAt.UnixNano(), r.ID} })
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.UserID)
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", ids...)
	if err != nil {
		return nil, err
	}
	actions := []api.Action{}
	for _, r := range rows {
		b := actionBodyOf(r)
		b.UserName = users[r.UserID].Name
		actions = append(actions, b)
	}
	return api.ListActions200JSONResponse{Actions: actions, Next: next}, nil
}

func (s *Server) actionsOf(ctx context.Context, decisions []db.DecisionRow) (map[string][]api.Action, error) {
	out := map[string][]api.Action{}
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

func actionBodyOf(r db.ActionRow) api.Action {
	b := api.Action{
		ID: r.ID, DecisionID: r.DecisionID, Kind: r.Kind, CallCid: r.CID, UserID: r.UserID, ByUserID: r.ByUserID,
		Reason: r.Reason, State: r.State, Attempts: r.Attempts, RequestedAt: r.RequestedAt.Time,
	}
	var order event.ActionRequested
	if json.Unmarshal(r.Payload.V, &order) == nil && !order.CapturedAt.IsZero() {
		b.CapturedAt = &order.CapturedAt
	}
	if !r.ConfirmedAt.IsZero() {
		b.ConfirmedAt = &r.ConfirmedAt.Time
		b.CapturedToConfirmedMs = between(b.CapturedAt, *b.ConfirmedAt)
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
