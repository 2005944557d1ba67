package web

import (
	"context"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// SendCallEvent tells backends an event of the application's own, in the
// caller's name; a server token says in whose.
func (s *Server) SendCallEvent(ctx context.Context, req api.SendCallEventRequestObject) (api.SendCallEventResponseObject, error) {
	in := orZero(req.Body)
	call, err := s.callAt(ctx, req.Type, req.ID, CapSendEvent)
	if err != nil {
		return nil, err
	}
	if err := refuseEnded(call); err != nil {
		return nil, err
	}
	fields := map[string]string{}
	if checkCustom(fields, "custom", in.Custom); len(fields) > 0 {
		return nil, badFields(fields)
	}
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return nil, err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		user, err := s.cfg.DB.UserIn(ctx, by, call.CID)
		if err != nil {
			return err
		}
		now := s.cfg.Now()
		body := event.Custom{
			Type: event.CustomEvent, CreatedAt: now.UTC(), CallCID: call.CID, User: user, Custom: orEmptyMap(in.Custom),
		}
		if err := db.Enqueue(ctx, tx, event.TopicPublic, event.New(body.Type, call.CID, now, body)); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "call.send_event", call.CID, map[string]any{"user_id": by})
	})
	return api.SendCallEvent200JSONResponse{}, err
}
