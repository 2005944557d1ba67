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

// audit writes down, in the transaction of the change, who did what to what.
func audit(ctx context.Context, tx bun.IDB, at time.Time, actor, verb, object string, detail any) error {
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("marshal audit of %s: %w", verb, err)
	}
	row := db.AuditRow{ID: event.NewID(), At: db.At(at), Actor: actor, Verb: verb, Object: object, Detail: db.JSON[json.RawMessage]{V: raw}}
	if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("write audit of %s: %w", verb, err)
	}
	return nil
}

// auditAs is audit with the caller as the actor.
func (s *Server) auditAs(c echo.Context, ctx context.Context, tx bun.IDB, verb, object string, detail any) error {
	id := caller(c)
	who := id.UserID
	if who == "" {
		who = systemUser
	}
	return audit(ctx, tx, s.cfg.Now(), who, verb, object, detail)
}
