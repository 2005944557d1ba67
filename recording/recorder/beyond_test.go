package recorder

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/archive"
)

// Evidence blurs bystanders in its movie alone, and says so; and where a
// permission lets only sound be recorded, its pictures are in the audit.
func TestWhatEvidenceShowsBesides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Evidence, p.BlurBystanders, p.AudioOnly = recording.ModeOnFlag, true, true })
	w.makeCall("besides")
	decided := db.JSON[db.RecordingDecision]{V: db.RecordingDecision{Record: true, Type: "audio", Source: "domain"}}
	if _, err := w.db.NewUpdate().Model(&db.CallRow{CID: "default:besides", RecordingDecision: decided}).Column("recording_decision").WherePK().Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.session("besides", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), to: 2 * time.Second})
	s.play("bob", actor{clip: w.clip("drawing", event.VP8), to: 2 * time.Second})
	w.flag(s.info, "bob")
	s.end(2 * time.Second)
	run := w.until("default:besides", db.RecordingReady, 4*time.Minute)
	files := w.files(run.ID)
	text, err := os.ReadFile(w.path(files[kindMetadata][0].ObjectKey))
	if err != nil {
		t.Fatal(err)
	}
	var side archive.Sidecar
	if err := json.Unmarshal(text, &side); err != nil || len(side.Videos) != 3 {
		t.Fatalf("%s, %v", text, err)
	}
	for _, v := range side.Videos { // the movie is nobody's, and blurred
		if v.Unblurred != (v.UserID == "ada") {
			t.Errorf("of %s the metadata says %v", v.UserID, v.Unblurred)
		}
	}
	manifest, err := os.ReadFile(w.path(files[kindManifest][0].ObjectKey))
	if err != nil || strings.Count(string(manifest), `"unblurred": true`) != 1 {
		t.Errorf("manifest %s, %v", manifest, err)
	}
	var rows []db.AuditRow
	if err := w.db.NewSelect().Model(&rows).Where("object = ?", "call:default:besides").Where("verb IN (?, ?)", recording.VerbBeyond, recording.VerbOverride).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0].Verb != recording.VerbBeyond || !strings.Contains(string(rows[0].Detail.V), `"allowed":"audio","allowed_by":"domain"`) {
		t.Errorf("audit %+v", rows)
	}
}
