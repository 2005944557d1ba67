package web

import (
	"context"
	"encoding/json"
	"fmt"

	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// ListDeliveries gives a hook's deliveries, newest first.
func (s *Server) ListDeliveries(ctx context.Context, req api.ListDeliveriesRequestObject) (api.ListDeliveriesResponseObject, error) {
	in := req.Params
	p, err := newPage(in.Limit, in.Next)
	if err != nil {
		return nil, err
	}
	known, err := s.cfg.DB.NewSelect().Model((*db.HookRow)(nil)).Where("id = ?", req.ID).Exists(ctx)
	if err != nil {
		return nil, fmt.Errorf("read hook: %w", err)
	}
	if !known {
		return nil, notFound("hook", req.ID)
	}
	var rows []db.DeliveryRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows).Where("hook_id = ?", req.ID), "created_at")
	if in.State != "" {
		q = q.Where("state = ?", string(in.State))
	}
	if in.EventType != "" {
		q = q.Where("event_type = ?", in.EventType)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.DeliveryRow) cursor { return cursor{r.CreatedAt.UnixNano(), r.ID} })
	out := api.ListDeliveries200JSONResponse{Deliveries: []api.Delivery{}, Next: next}
	for _, row := range rows {
		out.Deliveries = append(out.Deliveries, deliveryBody(row))
	}
	return out, nil
}

func deliveryBody(row db.DeliveryRow) api.Delivery {
	d := api.Delivery{
		ID: row.ID, HookID: row.HookID, EventID: row.EventID, EventType: row.EventType, State: row.State, Attempts: row.Attempts,
		LastStatus: row.LastStatus, LastError: row.LastError, CreatedAt: row.CreatedAt.UTC(), DoneAt: instant(row.DoneAt),
	}
	if row.State == db.DeliveryPending {
		d.NextAt = instant(row.NextAt)
	}
	return d
}

// maxAttempts is how many of a delivery's last attempts are shown.
const maxAttempts = 100

// GetDelivery gives a delivery with the event's body and its last attempts.
func (s *Server) GetDelivery(ctx context.Context, req api.GetDeliveryRequestObject) (api.GetDeliveryResponseObject, error) {
	var row db.DeliveryRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("id = ?", req.ID).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, notFound("delivery", req.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read delivery: %w", err)
	}
	var attempts []db.AttemptRow
	err = s.cfg.DB.NewSelect().Model(&attempts).Where("delivery_id = ?", row.ID).Order("attempt DESC").Limit(maxAttempts).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	body, err := s.deliveredBody(ctx, row)
	if err != nil {
		return nil, err
	}
	out := api.GetDelivery200JSONResponse{Delivery: deliveryBody(row), Attempts: []api.Attempt{}, Body: body}
	for i := len(attempts) - 1; i >= 0; i-- {
		a := attempts[i]
		out.Attempts = append(out.Attempts, api.Attempt{
			Attempt: a.Attempt, At: a.At.UTC(), Status: a.Status, Error: a.Error, Response: a.Response,
			LatencyMs: float32(a.LatencyNS) / 1e6,
		})
	}
	return out, nil
}

// deliveredBody is the event's body as it was made, before the hook's style.
func (s *Server) deliveredBody(ctx context.Context, row db.DeliveryRow) (map[string]any, error) {
	raw := row.Body
	if raw == "" {
		err := s.cfg.DB.NewSelect().Model((*db.PublicEventRow)(nil)).Column("body").Where("id = ?", row.EventID).Scan(ctx, &raw)
		if err != nil && !db.IsNotFound(err) {
			return nil, fmt.Errorf("read event %s: %w", row.EventID, err)
		}
	}
	body := map[string]any{}
	if raw == "" {
		return body, nil
	}
	if err := json.Unmarshal([]byte(raw), &body); err != nil {
		return nil, fmt.Errorf("read body of %s: %w", row.EventID, err)
	}
	return body, nil
}
