package recorder

import (
	"os"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// Where the order names no storage, files go where the call type says: however
// the run began, and those of the evidence too.
func TestFilesGoWhereTheCallTypeSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Individual, p.Raw, p.Composite, p.Evidence = recording.ModeAutoOn, recording.ModeOnFlag, recording.ModeAvailable, recording.ModeOnFlag
	})
	row := db.CallTypeRow{Name: "default", ExternalStorage: "theirs", CreatedAt: db.At(time.Now())}
	row.Settings.V, row.Grants.V, row.NotificationSettings.V = []byte("{}"), map[string][]string{}, map[string]any{}
	_, err := w.db.NewInsert().Model(&row).On("CONFLICT (name) DO UPDATE").Set("external_storage = EXCLUDED.external_storage").Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, order, want string
		runs            int
		live            bool
	}{{"a", "", "theirs", 4, true}, {"b", "elsewhere", "elsewhere", 4, false}} {
		w.makeCall(c.id)
		_, err := w.Desk().Start(t.Context(), recording.Order{CID: "default:" + c.id, Type: recording.TypeComposite, By: "ada", Storage: c.order})
		if err != nil {
			t.Fatal(err)
		}
		s := w.session(c.id, time.Now())
		s.settle()
		s.play("ada", actor{tone: w.tone(400), to: time.Second})
		if c.live { // it is seen at once
			l := w.Recorder.session(s.info.SessionID)
			l.do(func() { l.flag(event.ActionRequested{ActionID: "x", UserID: "ada"}) })
		} else { // or at the end
			w.flag(s.info, "ada")
		}
		s.end(time.Second)
		w.eventually(func() bool { return w.Recorder.session(s.info.SessionID) == nil && !w.busy(s.info.SessionID) }, "it is decided")
		seen := map[string]bool{}
		for _, run := range w.runs("default:" + c.id) {
			want := "theirs"
			if run.RequestedBy != "" {
				want = c.want
			}
			if seen[run.Type+run.Lane] = true; run.Storage != want {
				t.Errorf("%s %s of %s goes to %q, want %q", run.Lane, run.Type, c.id, run.Storage, want)
			}
		}
		if len(seen) != c.runs {
			t.Errorf("runs %v", seen)
		}
	}
}

// What lies with somebody else is theirs when its retention is over; orders and
// erasure delete there too.
func TestRetentionLeavesTheStoragesOfOthers(t *testing.T) {
	t.Parallel()
	for _, both := range []bool{false, true} {
		w := newWorld(t, oneMovie, func(c *Config) { c.DeleteExternal = both })
		files := map[string]db.RecordingFileRow{}
		for _, id := range []string{"expired", "erased", "ordered"} {
			files[id] = w.movie(id, time.Second)
		}
		w.idle()
		asked := map[string]bool{}
		w.objects.fail(func(ref string) error { asked[ref] = true; return os.ErrPermission })
		for id, f := range files {
			expires := map[string]db.Time{"expired": db.At(time.Now().Add(-time.Hour)), "erased": overdue}[id]
			_, err := w.db.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("storage = ?", id).Set("expires_at = ?", expires).Where("id = ?", f.ID).Exec(t.Context())
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = w.Sweep(t.Context())
		if err := w.Desk().Delete(t.Context(), files["ordered"].ID, "ada"); err == nil {
			t.Error("an order did not ask the store")
		}
		w.objects.fail(nil)
		if len(asked) != 2 && !both || len(asked) != 3 && both {
			t.Errorf("asked to delete %v", asked)
		}
		var f db.RecordingFileRow
		if err := w.db.NewSelect().Model(&f).Where("id = ?", files["expired"].ID).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if gone := f.DeletedAt.After(time.Unix(1, 0)); gone == both {
			t.Errorf("listed no longer: %v", gone)
		}
	}
}
