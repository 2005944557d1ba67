package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// Hooks sends events to hooks; *delivery.Sender is one. An id that there is no
// hook of is actions.ErrNoHook.
type Hooks interface {
	Test(ctx context.Context, hookID, actor string) (actions.HookTest, error)
	RotateSecret(ctx context.Context, hookID, actor string) (secret string, previousUntil time.Time, err error)
	Replay(ctx context.Context, hookID string, r actions.Replay, actor string) (int, error)
}

// hooks is the behaviour of hooks, or why there is none.
func (s *Server) hooks() (Hooks, error) {
	if s.cfg.Hooks == nil {
		return nil, fail(http.StatusServiceUnavailable, CodeUnavailable, "events are not delivered by this process")
	}
	return s.cfg.Hooks, nil
}

func hookError(id string, err error) error {
	switch {
	case errors.Is(err, actions.ErrNoHook):
		return notFound("hook", id)
	case errors.Is(err, actions.ErrReplayTooLarge):
		return badField("since", "opens a range of "+actions.ErrReplayTooLarge.Error())
	}
	return err
}

// actorOf names the caller in the audit.
func actorOf(ctx context.Context) string { return cmp.Or(callerOf(ctx).UserID, systemUser) }

// ListHooks gives every hook with its health and backlog; there are too few
// for pages.
func (s *Server) ListHooks(ctx context.Context, _ api.ListHooksRequestObject) (api.ListHooksResponseObject, error) {
	var rows []db.HookRow
	if err := s.cfg.DB.NewSelect().Model(&rows).Order("created_at", "id").Limit(maxHooks + 1).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read hooks: %w", err)
	}
	counts, err := s.backlog(ctx)
	if err != nil {
		return nil, err
	}
	health, err := s.hookHealth(ctx)
	if err != nil {
		return nil, err
	}
	secrets, err := s.liveSecrets(ctx)
	if err != nil {
		return nil, err
	}
	out := api.ListHooks200JSONResponse{Hooks: []api.HookHealth{}}
	for _, row := range rows {
		h, n := health[row.ID], counts[row.ID]
		target, err := shownTarget(row)
		if err != nil {
			return nil, err
		}
		out.Hooks = append(out.Hooks, api.HookHealth{
			ID: row.ID, HookType: row.HookType, Enabled: bool(row.Enabled), Target: target,
			Pending: n[db.DeliveryPending], Dead: n[db.DeliveryDead], Delivered: n[db.DeliveryDone],
			FailingSince: instant(h.FailingSince), DisabledReason: h.DisabledReason,
			LastStatus: h.LastStatus, LastError: h.LastError, Secrets: secrets[row.ID],
		})
	}
	return out, nil
}

// instant is nil for a time that is not set.
func instant(t db.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	utc := t.UTC()
	return &utc
}

// shownTarget is where a hook sends to, without what may be secret.
func shownTarget(row db.HookRow) (string, error) {
	s, err := row.Details()
	if err != nil {
		return "", err
	}
	raw := cmp.Or(row.WebhookURL, s.SQSQueueURL, s.AMQPURL, s.RedisURL)
	if raw == "" {
		return cmp.Or(s.SNSTopicARN, s.RedisStream), nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", nil // what cannot be read cannot be shown without its secrets
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), nil
}

// backlog counts deliveries by hook and state.
func (s *Server) backlog(ctx context.Context) (map[string]map[string]int, error) {
	var rows []struct {
		HookID string
		State  string
		N      int
	}
	err := s.cfg.DB.NewSelect().Model((*db.DeliveryRow)(nil)).Column("hook_id", "state").ColumnExpr("count(*) AS n").
		Group("hook_id", "state").Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	out := map[string]map[string]int{}
	for _, r := range rows {
		if out[r.HookID] == nil {
			out[r.HookID] = map[string]int{}
		}
		out[r.HookID][r.State] = r.N
	}
	return out, nil
}

func (s *Server) hookHealth(ctx context.Context) (map[string]db.HookHealthRow, error) {
	var rows []db.HookHealthRow
	if err := s.cfg.DB.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read health of hooks: %w", err)
	}
	out := map[string]db.HookHealthRow{}
	for _, r := range rows {
		out[r.HookID] = r
	}
	return out, nil
}

func (s *Server) liveSecrets(ctx context.Context) (map[string]int, error) {
	var ids []string
	err := s.cfg.DB.NewSelect().Model((*db.HookSecretRow)(nil)).Column("hook_id").
		Where("expires_at = 0 OR expires_at > ?", db.At(s.cfg.Now())).Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("count secrets of hooks: %w", err)
	}
	out := map[string]int{}
	for _, id := range ids {
		out[id]++
	}
	return out, nil
}

// TestHook sends an event to a hook and waits for what it answers.
func (s *Server) TestHook(ctx context.Context, req api.TestHookRequestObject) (api.TestHookResponseObject, error) {
	hooks, err := s.hooks()
	if err != nil {
		return nil, err
	}
	got, err := hooks.Test(ctx, req.ID, actorOf(ctx))
	if err != nil {
		return nil, hookError(req.ID, err)
	}
	return api.TestHook200JSONResponse{
		Ok: got.OK, Status: got.Status, Error: got.Error, Response: got.Response, EventID: got.EventID,
		LatencyMs: milliseconds(got.Latency),
	}, nil
}

func milliseconds(d time.Duration) float32 { return float32(d) / float32(time.Millisecond) }

// RotateHookSecret makes a new signing secret. The answer is the only place
// where it is ever shown.
func (s *Server) RotateHookSecret(ctx context.Context, req api.RotateHookSecretRequestObject) (api.RotateHookSecretResponseObject, error) {
	hooks, err := s.hooks()
	if err != nil {
		return nil, err
	}
	secret, until, err := hooks.RotateSecret(ctx, req.ID, actorOf(ctx))
	if err != nil {
		return nil, hookError(req.ID, err)
	}
	return api.RotateHookSecret200JSONResponse{Secret: secret, PreviousValidUntil: until.UTC()}, nil
}

// ReplayHook makes events due again for a hook.
func (s *Server) ReplayHook(ctx context.Context, req api.ReplayHookRequestObject) (api.ReplayHookResponseObject, error) {
	hooks, err := s.hooks()
	if err != nil {
		return nil, err
	}
	in := api.ReplayRequest{}
	if req.Body != nil {
		in = *req.Body
	}
	r := actions.Replay{EventIDs: in.EventIds, EventTypes: in.EventTypes, OnlyMissing: in.OnlyMissing}
	switch {
	case (len(in.EventIds) > 0) == (in.Since != nil):
		return nil, badField("since", "or event_ids is required, and not both")
	case in.Until != nil && in.Since == nil:
		return nil, badField("until", "needs since")
	case in.Until != nil && !in.Until.After(*in.Since):
		return nil, badField("until", "must be after since")
	}
	if in.Since != nil {
		r.Since = *in.Since
	}
	if in.Until != nil {
		r.Until = *in.Until
	}
	n, err := hooks.Replay(ctx, req.ID, r, actorOf(ctx))
	if err != nil {
		return nil, hookError(req.ID, err)
	}
	return api.ReplayHook200JSONResponse{Replayed: n}, nil
}
