package recorder

import (
	"encoding/json"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/recording"
)

// What was kept for a flag that never came leaves a receipt, which tells of
// nobody.
func TestDiscardedPacketsLeaveAReceipt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeOnFlag })
	for _, id := range []string{"plain", "flagged"} {
		s := w.session(id, time.Now())
		s.play("ada", actor{tone: w.tone(400), to: time.Second})
		if id == "flagged" {
			w.flag(s.info, "ada")
		}
		s.end(time.Second)
	}
	w.gone()
	var rows []db.AuditRow
	if err := w.db.NewSelect().Model(&rows).Where("verb = ?", VerbDiscard).Scan(t.Context()); err != nil || len(rows) != 1 {
		t.Fatalf("%d receipts, %v", len(rows), err)
	}
	var detail map[string]any
	if err := json.Unmarshal(rows[0].Detail.V, &detail); err != nil || len(detail) != 3 || detail["call_cid"] != "default:plain" ||
		detail["streams"] != 1.0 || detail["bytes"].(float64) < 1000 {
		t.Errorf("receipt %s", rows[0].Detail.V)
	}
}
