package recorder

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/mjr"
)

// mjrStart is when the imported calls were: long before any retention.
var mjrStart = time.UnixMilli(1_590_392_549_126).UTC()

// mjrFile writes what an actor sends, from the start on, as Janus would.
func (w *world) mjrFile(dir, name string, a actor) {
	w.t.Helper()
	head, f := map[string]any{"t": "v", "c": "", "s": mjrStart.UnixMicro(), "u": mjrStart.Add(a.from).UnixMicro()}, &fakeTrack{}
	f.info.TrackID = name
	var all []timed
	if a.clip != nil {
		head["c"] = strings.ToLower(string(a.clip.Codec))
		all = f.pictures(w.t, a)
	} else {
		head["t"], head["c"] = "a", "opus"
		all = f.sound(a)
	}
	text, err := json.Marshal(head)
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("MJR00002")
	_ = binary.Write(&b, binary.BigEndian, uint16(len(text)))
	b.Write(text)
	f.packets = taps{1: func(p []byte, at time.Time) {
		b.WriteString("MEET")
		_ = binary.Write(&b, binary.BigEndian, uint32(at.Sub(mjrStart.Add(a.from)).Milliseconds()))
		_ = binary.Write(&b, binary.BigEndian, uint16(len(p)))
		b.Write(p)
	}}
	for _, p := range all {
		p.send(mjrStart.Add(p.at))
	}
	if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// callType writes the call type that imported calls are of.
func (w *world) callType(name string) {
	w.t.Helper()
	row := db.CallTypeRow{Name: name, Settings: db.JSON[json.RawMessage]{V: json.RawMessage("{}")}}
	row.Grants.V, row.NotificationSettings.V = map[string][]string{}, map[string]any{}
	if _, err := w.db.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Exec(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// janus makes the files of a call: two cameras, one microphone, and a mixer's
// sound of all.
func (w *world) janus() string {
	w.t.Helper()
	dir := w.t.TempDir()
	at := fmt.Sprint(mjrStart.UnixMicro())
	w.mjrFile(dir, "videoroom-77-user-ann-"+at+"-video-0.mjr", actor{clip: w.clip("neutral", event.VP8), to: 3 * time.Second})
	w.mjrFile(dir, "videoroom-77-user-ann-"+at+"-audio-1.mjr", actor{tone: w.tone(400), to: 3 * time.Second})
	w.mjrFile(dir, "videoroom-77-user-bob-"+at+"-video-0.mjr", actor{clip: w.clip("drawing", event.H264), from: time.Second, to: 3 * time.Second})
	out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=600:sample_rate=16000:duration=3", filepath.Join(dir, "recording-77.wav")).CombinedOutput()
	if err != nil {
		w.t.Fatalf("make the mixer's sound: %v %s", err, out)
	}
	return dir
}

func TestImportedFilesOfJanusBecomeRecordings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.RecordAlone = false })
	w.callType("default")
	dir := w.janus()
	o := ImportOrder{Paths: []string{dir}, Types: []string{recording.TypeComposite, recording.TypeIndividual}, By: "ada"}
	res, err := w.Import(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Problems) != 0 || len(res.Tracks) != 4 || len(res.Recordings) != 2 || res.Session.CID != "default:77" {
		t.Fatalf("imported %+v", res)
	}
	if _, err := w.Import(t.Context(), o); !errors.Is(err, ErrImported) || !strings.Contains(err.Error(), res.Recordings[0].ID) {
		t.Errorf("a second time: %v", err)
	}
	runs := map[string]db.RecordingRow{}
	for _, r := range res.Recordings {
		runs[r.Type] = w.state(r.ID, db.RecordingReady, time.Minute)
	}
	files := w.files(runs[recording.TypeComposite].ID)
	if len(files[kindMovie]) != 1 {
		t.Fatalf("files of the composite: %+v", files)
	}
	movie := files[kindMovie][0]
	if !movie.StartedAt.Equal(mjrStart) || time.Until(movie.ExpiresAt.Time) < 6*24*time.Hour {
		t.Errorf("the movie begins %v and is kept until %v", movie.StartedAt, movie.ExpiresAt)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "stream=codec_name,nb_frames:format=duration", "-of", "csv=p=0", w.path(movie.ObjectKey)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "h264,76\n") || !strings.Contains(string(out), "aac,") || !strings.Contains(string(out), "\n3.") {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
	if got := w.tiles(runs[recording.TypeComposite].ID); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("tiles by chunk: %v; want ann's, then bob's besides, and none of the mixer", got)
	}
	// The mixer's 600 Hz are heard, not ann's 400 Hz besides.
	if loud, faint := w.level(movie, 600), w.level(movie, 400); loud < faint+20 {
		t.Errorf("the mixer is at %.0f dB, ann at %.0f dB", loud, faint)
	}
	files = w.files(runs[recording.TypeIndividual].ID)
	if len(files[kindVideo]) != 2 || len(files[kindAudio]) != 1 || files[kindAudio][0].UserID != "" {
		t.Errorf("individual files: %+v", files)
	}
	var people []db.ParticipantRow
	if err := w.db.NewSelect().Model(&people).Where("cid = ?", "default:77").Order("user_id").Scan(t.Context()); err != nil || len(people) != 2 || people[1].UserID != "bob" {
		t.Errorf("participants %+v, %v", people, err)
	}
	w.gone()
}

// state waits for a run to come to a state.
func (w *world) state(id, state string, within time.Duration) db.RecordingRow {
	w.t.Helper()
	var cid string
	if err := w.db.NewSelect().Model((*db.RecordingRow)(nil)).Column("cid").Where("id = ?", id).Scan(w.t.Context(), &cid); err != nil {
		w.t.Fatal(err)
	}
	deadline := time.Now().Add(within)
	for {
		row := w.until(cid, state, time.Until(deadline))
		if err := w.db.NewSelect().Model(&row).Where("id = ?", id).Where("state = ?", state).Scan(w.t.Context()); err == nil {
			return row
		}
		select {
		case <-w.t.Context().Done():
			w.t.Fatal("the test ended")
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("recording %s is not %s", id, state)
		}
	}
}

// tiles are how many a movie shows, where that changes.
func (w *world) tiles(id string) []int {
	w.t.Helper()
	rows, err := w.queue.Of(w.t.Context(), w.db, id, stepPlan)
	if err != nil || len(rows) != 1 {
		w.t.Fatalf("plan step: %v, %v", rows, err)
	}
	var m movies
	if err := json.Unmarshal(rows[0].Result.V, &m); err != nil || len(m.Movies) != 1 {
		w.t.Fatalf("plan: %v, %v", m, err)
	}
	var out []int
	for _, c := range m.Movies[0].Chunks {
		out = append(out, len(c.Tiles))
	}
	return slices.Compact(out)
}

// level is the mean loudness of a movie's sound around a frequency, in dBFS.
func (w *world) level(movie db.RecordingFileRow, hz int) float64 {
	w.t.Helper()
	filter := fmt.Sprintf("bandpass=f=%d:width_type=h:w=20,bandpass=f=%d:width_type=h:w=20,volumedetect", hz, hz)
	out, err := exec.Command("ffmpeg", "-hide_banner", "-nostats", "-i", w.path(movie.ObjectKey), "-vn", "-af", filter, "-f", "null", "-").CombinedOutput()
	_, text, ok := strings.Cut(string(out), "mean_volume: ")
	if err != nil || !ok {
		w.t.Fatalf("measure sound: %v\n%s", err, out)
	}
	var db float64
	if _, err := fmt.Sscan(text, &db); err != nil {
		w.t.Fatal(err)
	}
	return db
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {})
	dir := w.t.TempDir()
	w.mjrFile(dir, "ann-audio.mjr", actor{tone: w.tone(400), to: 100 * time.Millisecond})
	denied := db.CallRow{CID: "closed:denied", Type: "closed", ID: "denied"}
	denied.Settings.V, denied.Custom.V, denied.BlockedUserIDs.V = json.RawMessage("{}"), map[string]any{}, []string{}
	denied.RecordingDecision.V = db.RecordingDecision{Denied: true, Source: "user"}
	if _, err := w.db.NewInsert().Model(&denied).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	composite := []string{recording.TypeComposite}
	for name, o := range map[string]ImportOrder{
		"no type":           {Paths: []string{dir}},
		"a type twice":      {Paths: []string{dir}, Types: []string{"raw", "raw"}},
		"no such call type": {Paths: []string{dir}, Types: composite, CallType: "nowhere"},
		"denied":            {Paths: []string{dir}, Types: composite, CallType: "closed", CallID: "denied"},
	} {
		var field *recording.FieldError
		if _, err := w.Import(t.Context(), o); !errors.As(err, &field) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Import(t.Context(), ImportOrder{Paths: []string{t.TempDir()}, Types: composite}); !errors.Is(err, mjr.ErrFormat) {
		t.Errorf("an empty folder: %v", err)
	}
	if left := w.left(); len(left) != 0 {
		t.Errorf("refused imports left %v", left)
	}
}

func TestSweepDropsWhatAKilledImportLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {})
	old, young := filepath.Join(w.dir, "recordings", "import", "old"), filepath.Join(w.dir, "recordings", "import", "young")
	for _, dir := range []string{old, young} {
		if err := os.MkdirAll(filepath.Join(dir, "session"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * importAge)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if err := w.sweepImports(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "recordings", "import", "*")); len(left) != 1 || left[0] != young {
		t.Errorf("left %v", left)
	}
}

func TestDumpWritesWhatWasSentWhileItIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {}, func(c *Config) { c.WorkerOnly = true })
	w.callType("default")
	if err := w.Close(); err != nil { // nobody works: the packets stay
		t.Fatal(err)
	}
	res, err := w.Import(t.Context(), ImportOrder{Paths: []string{w.janus()}, Types: []string{recording.TypeRaw}, Again: true, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "dump")
	all, err := w.Dump(t.Context(), DumpOrder{RecordingID: res.Recordings[0].ID, Dir: to, By: "ada"})
	if err != nil || len(all) != 4 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, d := range all {
		b, err := os.ReadFile(filepath.Join(to, d.File))
		if err != nil || !bytes.HasPrefix(b, []byte("#!rtpplay1.0 ")) || len(b) < 1000 {
			t.Errorf("%+v: %d bytes, %v", d, len(b), err)
		}
	}
	if i := slices.IndexFunc(all, func(d Dumped) bool { return strings.HasSuffix(d.File, "-bob-video.rtpdump") }); i < 0 {
		t.Errorf("files %+v", all)
	}
	var entry db.AuditRow
	if err := w.db.NewSelect().Model(&entry).Where("verb = ?", VerbDump).Scan(t.Context()); err != nil || entry.Actor != "ada" {
		t.Errorf("audit %+v, %v", entry, err)
	}
	if _, err := w.Dump(t.Context(), DumpOrder{RecordingID: "nothing", Dir: to, By: "ada"}); !errors.Is(err, recording.ErrUnknown) {
		t.Errorf("of no recording: %v", err)
	}
}

// A dump is of the recording, not of all that lies in its session's folder,
// unless that is asked for.
func TestADumpIsOfTheRecording(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Raw, p.Evidence, p.Omit = recording.ModeAutoOn, recording.ModeOnFlag, []string{"bob"}
	})
	s := w.session("dump", time.Now())
	run := func(lane string) (row db.RecordingRow) {
		t.Helper()
		if err := w.db.NewSelect().Model(&row).Where("lane = ?", lane).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		return row
	}
	for i, user := range []string{"ada", "bob", "cleo"} {
		s.play(user, actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400 + 100*i), to: 6 * time.Second, record: []event.RecordType{"", "", event.RecordAudio}[i]})
	}
	w.flag(s.info, "ada")
	// As if it had been made of what came from the second to the fourth second.
	at := func(d time.Duration) db.Time { return db.At(s.info.StartedAt.Add(d)) }
	business := run(db.LaneBusiness)
	business.ID, business.State, business.StartedAt, business.StoppedAt = "part", db.RecordingFailed, at(2*time.Second), at(4*time.Second)
	if _, err := w.db.NewInsert().Model(&business).Exec(t.Context()); err != nil { // whose packets are kept
		t.Fatal(err)
	}
	s.end(6 * time.Second)
	w.idle()
	dumped := func(id string, whole bool) (users []string, size int64) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "dump")
		all, err := w.Dump(t.Context(), DumpOrder{RecordingID: id, Dir: dir, By: "ada", Whole: whole})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			info, err := os.Stat(filepath.Join(dir, d.File))
			if err != nil {
				t.Fatal(err)
			}
			users, size = append(users, d.UserID+" "+strings.TrimPrefix(d.Track, "TRACK_TYPE_")), size+info.Size()
		}
		slices.Sort(users)
		return users, size
	}
	some, small := dumped("part", false)
	if want := []string{"ada AUDIO", "ada VIDEO", "cleo AUDIO"}; !slices.Equal(some, want) {
		t.Errorf("of the recording %v, want %v", some, want)
	}
	all, large := dumped("part", true)
	if len(all) != 6 || large < 2*small {
		t.Errorf("of the session %v, %d bytes; of the recording %d", all, large, small)
	}
	if evidence, _ := dumped(run(db.LaneEvidence).ID, false); len(evidence) != 6 {
		t.Errorf("of the evidence %v", evidence)
	}
	var rows []db.AuditRow
	if err := w.db.NewSelect().Model(&rows).Where("verb = ?", VerbDump).Order("at").Scan(t.Context()); err != nil || len(rows) != 3 {
		t.Fatal(len(rows), err)
	}
	if first, second := string(rows[0].Detail.V), string(rows[1].Detail.V); !strings.Contains(first, `"from_ms":2000`) || !strings.Contains(second, `"whole":true`) {
		t.Errorf("audit %s, %s", first, second)
	}
}
