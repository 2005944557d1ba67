package recorder

import (
	"os/exec"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

func TestOrdersBeginAndEndRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeAvailable })
	w.makeCall("order")
	ctx, order := t.Context(), recording.Order{CID: "default:order", Type: recording.TypeComposite, By: "ada", Custom: map[string]any{"case": "7"}}
	armed, err := w.Desk().Start(ctx, order)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.Desk().Start(ctx, order); err != nil || again != armed {
		t.Errorf("a second start is %s, %v; want %s", again, err, armed)
	}
	start := time.Now().Add(-4 * time.Second)
	s := w.session("order", start)
	s.settle()
	if _, err := w.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = ?", s.info.SessionID).Where("cid = ?", "default:order").Exec(ctx); err != nil {
		t.Fatal(err)
	}
	// It was armed: it begins with the session.
	if _, err := w.db.NewUpdate().Model((*db.RecordingRow)(nil)).Set("started_at = ?", db.At(start)).Where("id = ?", armed).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	if on, err := w.Desk().Start(ctx, order); err != nil || on != armed {
		t.Errorf("a start while it runs is %s, %v; want %s", on, err, armed)
	}
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	if err := w.Desk().Stop(ctx, "default:order", recording.TypeComposite, "ada"); err != nil {
		t.Fatal(err)
	}
	// The part is a file while the call goes on.
	run := w.until("default:order", db.RecordingReady, 4*time.Minute)
	movie := w.files(run.ID)[kindMovie]
	if run.ID != armed || len(movie) != 1 {
		t.Fatalf("run %s, want %s; movies %+v", run.ID, armed, movie)
	}
	w.kept(s)
	var body event.RecordingReady
	if all := w.events(event.CallRecordingReady); len(all) != 1 || all[0].Decode(&body) != nil || body.Custom["case"] != "7" {
		t.Errorf("told %+v", body)
	}
	if n := len(w.events(event.CallRecordingStarted)); n != 1 {
		t.Errorf("%d starts told of", n)
	}
	s.end(2 * time.Second)
	w.gone()
}

// What came before a start is kept as far as the pre-roll goes, and no further.
func TestThePreRollIsKeptAndNoMore(t *testing.T) {
	t.Parallel()
	const roll = 2 * time.Second
	w := newWorld(t, func(p *recording.Plan) { p.Composite, p.PreRoll = recording.ModeAvailable, roll })
	const length = 40 * time.Second
	start := time.Now().Add(-length)
	s := w.session("roll", start)
	if _, err := w.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = ?", s.info.SessionID).Where("cid = ?", "default:roll").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := s.enter("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: length + time.Second})
	l := w.Recorder.session(s.info.SessionID)
	do := func(f func()) {
		l.do(f)
		s.settle()
	}
	for _, p := range all {
		if p.at < length {
			p.send(start.Add(p.at))
		}
	}
	w.eventually(func() bool { return l.writer.Stats().Packets >= uint64(len(all)*9/10) }, "packets are written")
	do(l.roll)
	if got := w.oldest(s); got < length/3 || got > length-roll {
		t.Errorf("what is left begins at %s of %s", got, length)
	}
	id, err := w.Desk().Start(t.Context(), recording.Order{CID: "default:roll", Type: recording.TypeComposite, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	var run db.RecordingRow
	if err := w.db.NewSelect().Model(&run).Where("id = ?", id).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	was := w.oldest(s)
	later := time.Minute
	w.Recorder.cfg.Now = func() time.Time { return time.Now().Add(later) }
	do(l.roll) // which leaves a run its packets
	w.Recorder.cfg.Now = time.Now
	if got := w.oldest(s); got != was {
		t.Errorf("what is left begins at %s while it is recorded, %s before", got, was)
	}
	for _, p := range all {
		if p.at >= length {
			p.send(start.Add(p.at))
		}
	}
	s.end(length + time.Second)
	w.until("default:roll", db.RecordingReady, 4*time.Minute)
	movie := w.files(id)[kindMovie]
	if len(movie) != 1 {
		t.Fatalf("movies %+v", movie)
	}
	if ahead := run.StartedAt.Sub(movie[0].StartedAt.Time); ahead < roll-50*time.Millisecond || ahead > roll+50*time.Millisecond {
		t.Errorf("the movie begins %s before the order, want %s", ahead, roll)
	}
	// It shows a picture from its first frame on, not the card.
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", w.path(movie[0].ObjectKey), "-frames:v", "1", "-vf", "scale=1:1,format=gray", "-f", "rawvideo", "-").Output()
	last, err2 := exec.Command("ffmpeg", "-v", "error", "-sseof", "-0.2", "-i", w.path(movie[0].ObjectKey), "-frames:v", "1", "-vf", "scale=1:1,format=gray", "-f", "rawvideo", "-").Output()
	if err != nil || err2 != nil || len(out) != 1 || len(last) != 1 || max(out[0], last[0])-min(out[0], last[0]) > 12 {
		t.Errorf("the first frame is %v, the last %v; %v, %v", out, last, err, err2)
	}
}

// oldest is when the first picture came that is still kept.
func (w *world) oldest(s *scene) time.Duration {
	w.t.Helper()
	reader, err := w.openRaw(s.info.SessionID)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, st := range reader.Streams() {
		if !st.Video() {
			continue
		}
		for p, err := range reader.Packets(st.ID) {
			if err != nil {
				w.t.Fatal(err)
			}
			return p.At
		}
	}
	w.t.Fatal("no picture is left")
	return 0
}

func TestSlicesAndTooManyForAMix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Composite, p.Individual, p.Slice, p.MixLimit = recording.ModeAutoOn, recording.ModeAutoOn, 2*time.Second, 2
	})
	kinds := func(cid string) map[string]map[string][]db.RecordingFileRow {
		t.Helper()
		var rows []db.RecordingRow
		w.eventually(func() bool {
			rows = nil
			err := w.db.NewSelect().Model(&rows).Where("cid = ?", cid).Where("state = ?", db.RecordingReady).Scan(t.Context())
			return err == nil && len(rows) == 2
		}, cid+" is ready")
		out := map[string]map[string][]db.RecordingFileRow{}
		for _, r := range rows {
			out[r.Type] = w.files(r.ID)
		}
		return out
	}
	const length = 5 * time.Second
	s := w.session("slices", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: length})
	s.end(length)
	got := kinds("default:slices")
	movies := got[recording.TypeComposite][kindMovie]
	if len(movies) != 3 {
		t.Fatalf("%d movies, want 3", len(movies))
	}
	for i, want := range []float64{2, 2, 1} {
		if l := lasts(t, movies[i]); l < want-0.1 || l > want+0.1 {
			t.Errorf("movie %d lasts %.2f s, want %g", i, l, want)
		}
	}
	if videos := got[recording.TypeIndividual][kindVideo]; len(videos) < 2 {
		t.Errorf("%d videos of one participant", len(videos))
	} else {
		for _, v := range videos {
			if l := lasts(t, v); l > 3.2 { // a keyframe comes every three seconds
				t.Errorf("%s lasts %.2f s", v.Filename, l)
			}
		}
	}

	w.plan.Slice, w.plan.Individual = 0, recording.ModeDisabled
	s = w.session("crowd", time.Now())
	for _, user := range []string{"ada", "ben", "cem"} {
		s.play(user, actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: time.Second})
	}
	s.end(time.Second)
	run := w.until("default:crowd", db.RecordingReady, 4*time.Minute)
	files := w.files(run.ID)
	if len(files[kindMovie]) != 0 || len(files[kindVideo]) != 3 || len(files[kindAudio]) != 1 {
		t.Errorf("files of three with mix_limit 2: %+v", files)
	}
}
