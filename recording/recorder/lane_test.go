package recorder

import (
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

func TestWhatIsMadeOfEvidenceIsEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite, p.Evidence = recording.ModeAutoOn, recording.ModeOnFlag })
	s := w.session("lanes", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	w.flag(s.info, "ada")
	s.end(2 * time.Second)
	w.idle()
	movies := map[string]db.RecordingFileRow{}
	var runs []db.RecordingRow
	if err := w.db.NewSelect().Model(&runs).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		if files := w.files(run.ID)[kindMovie]; len(files) == 1 {
			movies[run.Lane] = files[0]
		}
	}
	for _, files := range [][]string{
		{movies[db.LaneBusiness].ID, movies[db.LaneEvidence].ID}, {movies[db.LaneEvidence].ID, movies[db.LaneBusiness].ID},
	} {
		id, err := w.Desk().Splice(t.Context(), recording.SpliceOrder{CID: "default:lanes", Files: files})
		if err != nil {
			t.Fatal(err)
		}
		if made := w.made(id); made.Lane != db.LaneEvidence {
			t.Errorf("joined of both lanes it is of %s", made.Lane)
		}
	}
}
