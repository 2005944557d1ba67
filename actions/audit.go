package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// audit writes one line of the audit in the caller's transaction.
func audit(ctx context.Context, tx bun.IDB, at time.Time, actor, verb, object string, detail map[string]any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit %s: %w", verb, err)
	}
	row := db.AuditRow{
		ID: event.NewID(), At: db.At(at), Actor: actor, Verb: verb, Object: object,
		Detail: db.JSON[json.RawMessage]{V: text},
	}
	if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("audit %s: %w", verb, err)
	}
	return nil
}
