package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// runsOf are the runs of the default call, by the API.
func (b *bench) runsOf(query string) []map[string]any {
	b.t.Helper()
	var out []map[string]any
	for _, r := range b.server(http.StatusOK, "GET", ownPrefix+"recordings"+query, nil).body["recordings"].([]any) {
		out = append(out, r.(map[string]any))
	}
	return out
}

// showsRecording is what the call says of its recordings.
func (b *bench) showsRecording() string {
	b.t.Helper()
	call := b.server(http.StatusOK, "GET", callURL, nil).body["call"].(map[string]any)
	egress := call["egress"].(map[string]any)
	return fmt.Sprintln(call["recording"], egress["composite_recording"], egress["individual_recording"], egress["raw_recording"])
}

func TestRecordingStartStop(t *testing.T) {
	t.Parallel()
	testRecordingStartStop(t, newBench(t))
}

func testRecordingStartStop(t *testing.T, b *bench) {
	b.server(http.StatusCreated, "POST", "/api/v2/external_storage", `{"name":"mine","storage_type":"s3","bucket":"bucket","aws_s3":{"s3_region":"eu-central-1"}}`)
	b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{"raw_recording":{"mode":"on-flag"}}}`)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	const none, running = "false <nil> <nil> <nil>\n", "map[status:running]"
	if got := b.showsRecording(); got != none {
		t.Errorf("before: %s", got)
	}
	order := `{"recording_external_storage":"mine","destination":"https://take.example/in","destination_mode":"stream","custom":{"case":"42"},"user_id":"alice"}`
	b.server(http.StatusOK, "POST", callURL+"/recordings/composite/start", order)
	if got := b.showsRecording(); got != "true <nil> <nil> <nil>\n" {
		t.Errorf("before anybody is there: %s", got)
	}
	b.server(http.StatusOK, "POST", callURL+"/stop_recording", nil)
	if _, err := b.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = 's1'").Where("cid = 'default:abc'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.server(http.StatusOK, "POST", callURL+"/recordings/composite/start", order)
	b.server(http.StatusOK, "POST", callURL+"/start_recording", nil) // it runs
	b.server(http.StatusOK, "POST", callURL+"/recordings/raw/start", `{}`)
	o := b.rec.taken()[0]
	if o.CID != "default:abc" || o.Type != "composite" || o.Storage != "mine" || o.Destination != "https://take.example/in" || o.DestinationMode != "stream" || o.By != "alice" || !o.Server || o.Custom["case"] != "42" {
		t.Errorf("ordered %+v", o)
	}
	if got := b.showsRecording(); got != "true "+running+" <nil> "+running+"\n" {
		t.Errorf("while it runs: %s", got)
	}
	if got := b.server(http.StatusConflict, "DELETE", "/api/v2/external_storage/mine", nil); !strings.Contains(string(got.raw), "default:abc") {
		t.Errorf("the storage in use: %s", got.raw)
	}
	if runs := b.runsOf("?cid=default:abc&recording_type=composite&state=recording"); len(runs) != 1 || runs[0]["state"] != "recording" || runs[0]["requested_by"] != "alice" {
		t.Errorf("runs: %v", runs)
	}
	b.server(http.StatusOK, "POST", callURL+"/stop_recording", nil)
	b.server(http.StatusOK, "POST", callURL+"/recordings/composite/stop", `{}`)
	b.server(http.StatusOK, "POST", callURL+"/recordings/raw/stop", nil)
	if got := b.showsRecording(); got != none {
		t.Errorf("after: %s", got)
	}
	want := "call.created call.recording_started call.recording_stopped call.recording_started call.recording_started call.recording_stopped call.recording_stopped"
	if got := types(b.sent(event.TopicPublic)); got != want {
		t.Errorf("sent %s", got)
	}
	if b.audits("StartRecording") != 4 || b.audits("StopRecording") != 4 {
		t.Errorf("%d starts and %d stops in the audit", b.audits("StartRecording"), b.audits("StopRecording"))
	}
}

func TestRecordingRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.CheckURL = func(u string) error {
			if strings.Contains(u, "10.0.0.1") {
				return errors.New("10.0.0.1 is not public")
			}
			return nil
		}
	})
	b.server(http.StatusOK, "PUT", typesURL+"/default", `{"grants":{"user":[],"host":["StartRecording","StopRecording"]}}`)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"}]}}`)
	hanna, bob := b.user("hanna", ""), b.user("bob", "")
	for _, c := range []struct {
		token, path, body string
		status            int
		says              string
	}{
		{bob, "/start_recording", ``, http.StatusForbidden, ""},
		{bob, "/stop_recording", ``, http.StatusForbidden, ""},
		{hanna, "/recordings/individual/start", ``, http.StatusBadRequest, `StartRecording failed with error: \"individual recording is disabled\"`},
		{hanna, "/recordings/movie/start", ``, http.StatusBadRequest, "recording_type"},
		{hanna, "/start_recording", `{"recording_external_storage":"nope"}`, http.StatusBadRequest, "recording_external_storage"},
		{hanna, "/start_recording", `{"destination":"ftp://x"}`, http.StatusBadRequest, "destination"},
		{hanna, "/start_recording", `{"destination":"http://10.0.0.1/"}`, http.StatusBadRequest, "not public"},
		{hanna, "/start_recording", `{"destination_mode":"sometimes"}`, http.StatusBadRequest, "destination_mode"},
		{hanna, "/start_recording", `{"custom":{"a":"` + strings.Repeat("x", 4100) + `"}}`, http.StatusBadRequest, "custom"},
		{hanna, "/start_recording", `{}`, http.StatusOK, ""},
		{hanna, "/stop_recording", ``, http.StatusOK, ""},
	} {
		if a := b.want(c.status, b.do(c.token, "POST", callURL+c.path, c.body)); !strings.Contains(string(a.raw), c.says) {
			t.Errorf("%s %s: %s", c.path, c.body, a.raw)
		}
	}
	for err, want := range map[error]int{
		recording.ErrUnavailable: http.StatusServiceUnavailable, recording.ErrUnknown: http.StatusNotFound, recording.ErrHeld: http.StatusConflict,
		&recording.FieldError{Field: "destination", Want: "must be reachable"}: http.StatusBadRequest, errors.New("disk"): http.StatusInternalServerError,
	} {
		b.rec.mu.Lock()
		b.rec.fails = fmt.Errorf("start: %w", err)
		b.rec.mu.Unlock()
		b.server(want, "POST", callURL+"/start_recording", nil)
		b.server(want, "POST", callURL+"/stop_recording", nil)
	}
	b.server(http.StatusOK, "POST", callURL+"/mark_ended", nil)
	if a := b.server(http.StatusBadRequest, "POST", callURL+"/start_recording", nil); !strings.Contains(string(a.raw), "has ended") {
		t.Errorf("an ended call: %s", a.raw)
	}
}

func TestRecordingPermissionsBindOrders(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusOK, "PUT", ownURL+"?user_id=alice", permissionJSON("all", "always"))
	b.server(http.StatusOK, "PUT", ownURL+"?user_id=carl", permissionJSON("all", "skip"))
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	if got := b.showsRecording(); !strings.HasPrefix(got, "true <nil>") {
		t.Errorf("a call that is set to be recorded: %s", got)
	}
	ada := b.user("ada", "admin")
	b.want(http.StatusOK, b.do(ada, "POST", callURL+"/start_recording", nil))
	b.want(http.StatusForbidden, b.do(ada, "POST", callURL+"/stop_recording", nil)) // mandatory
	b.server(http.StatusOK, "POST", callURL+"/stop_recording", nil)
	never := videoPrefix + "/call/default/never"
	b.server(http.StatusCreated, "POST", never, `{"data":{"created_by_id":"carl"}}`)
	if a := b.server(http.StatusForbidden, "POST", never+"/start_recording", nil); !strings.Contains(string(a.raw), "recording permissions") {
		t.Errorf("a call that is never recorded: %s", a.raw)
	}
}

func TestNoRecorder(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.Recorder = nil })
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	for _, path := range []string{"/start_recording", "/stop_recording", "/recordings/composite/start"} {
		a := b.server(http.StatusServiceUnavailable, "POST", callURL+path, nil)
		if a.body["code"] != float64(CodeUnavailable) || !strings.Contains(string(a.raw), "no recorder") {
			t.Errorf("%s: %s", path, a.raw)
		}
	}
	b.server(http.StatusOK, "GET", callURL+"/recordings", nil)
}

// file is a movie of the default call, i minutes after the clock's now.
func (b *bench) file(i int) *db.RecordingFileRow {
	from := b.now.Now().Add(time.Duration(i) * time.Minute)
	return &db.RecordingFileRow{
		ID: fmt.Sprint("file", i), RecordingID: "run", CID: "default:abc", SessionID: "s1", Type: "composite", Lane: db.LaneBusiness,
		Kind: "movie", Format: "mp4", Filename: fmt.Sprintf("m%d.mp4", i), ObjectKey: fmt.Sprintf("recordings/default/abc/m%d.mp4", i), Size: 7,
		Items:     db.JSON[[]event.RecordingItem]{V: []event.RecordingItem{{Key: "k", Size: 7, Checksum: event.Checksum{ETag: "e", SHA256: "s"}}}},
		StartedAt: db.At(from), EndedAt: db.At(from.Add(time.Minute)), CreatedAt: db.At(from),
	}
}

// filled adds a run that has four movies, and one of evidence.
func (b *bench) filled() *bench {
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"bob"}]}}`)
	at := db.At(b.now.Now())
	b.insert(
		&db.RecordingRow{ID: "run", CID: "default:abc", SessionID: "s1", Type: "composite", Lane: db.LaneBusiness, State: db.RecordingReady, StartedAt: at, StoppedAt: at, CreatedAt: at, UpdatedAt: at},
		&db.RecordingRow{ID: "proof", CID: "default:abc", SessionID: "s1", Type: "raw", Lane: db.LaneEvidence, State: db.RecordingFailed, Flagged: true, ErrorCode: 12, Error: "the disk is full", StartedAt: at, StoppedAt: at, CreatedAt: at, UpdatedAt: at},
		&db.RecordingJobRow{ID: "job", RecordingID: "run", Kind: "chunk", N: 1, State: db.JobDone, Attempts: 2, CreatedAt: at, UpdatedAt: at},
		&db.ParticipantRow{UserSessionID: "p1", SessionID: "s1", CID: "default:abc", UserID: "dora", Role: "user", JoinedAt: at, LeftAt: at},
	)
	for i := range 4 {
		b.insert(b.file(i))
	}
	proof, sheet, gone := b.file(9), b.file(8), b.file(7)
	proof.RecordingID, proof.Lane = "proof", db.LaneEvidence
	sheet.Kind, sheet.Format, sheet.Filename = "sheet", "jpeg", "sheet.jpg"
	gone.DeletedAt = at
	b.insert(proof, sheet, gone)
	return b
}

// names are the file names of a list, and its cursor.
func names(a answer) (list []string, next string) {
	for _, r := range a.body["recordings"].([]any) {
		list = append(list, r.(map[string]any)["filename"].(string))
	}
	next, _ = a.body["next"].(string)
	return list, next
}

func TestListRecordings(t *testing.T) {
	t.Parallel()
	testListRecordings(t, newBench(t))
}

func testListRecordings(t *testing.T, b *bench) {
	b.filled()
	hls := b.file(-1)
	hls.Format, hls.Filename, hls.ObjectKey, hls.SessionID = "hls", "index.m3u8", "recordings/x/index.m3u8", "s3"
	hls.Items.V = []event.RecordingItem{{Key: hls.ObjectKey}, {Key: "recordings/x/0.ts"}, {Key: "recordings/x/" + recording.PlayName}}
	b.insert(hls)
	played := b.server(http.StatusOK, "GET", callURL+"/recordings?session_id=s3", nil).body["recordings"].([]any)[0].(map[string]any)
	if !strings.Contains(played["url"].(string), "index.m3u8?") || !strings.Contains(played["playback_url"].(string), recording.PlayName+"?") {
		t.Errorf("HLS: %v", played)
	}
	if _, err := b.db.NewDelete().Model(hls).WherePK().Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	list := func(token, query string) (string, string) {
		t.Helper()
		all, next := names(b.want(http.StatusOK, b.do(token, "GET", callURL+"/recordings"+query, nil)))
		return strings.Join(all, " "), next
	}
	server := b.auth.ServerToken()
	moment := func(i int) string {
		return b.now.Now().Add(time.Duration(i) * time.Minute).UTC().Format(time.RFC3339Nano)
	}
	for query, want := range map[string]string{
		"": "m9.mp4 m3.mp4 m2.mp4 m1.mp4 m0.mp4", "?limit=2": "m9.mp4 m3.mp4",
		"?session_id=s2": "", "?session_id=s1&recording_type=raw": "",
		"?since=" + moment(1): "m9.mp4 m3.mp4 m2.mp4 m1.mp4", "?until=" + moment(2): "m1.mp4 m0.mp4",
		"?since=" + moment(2) + "&until=" + moment(3): "m2.mp4",
	} {
		if got, _ := list(server, query); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	for user, want := range map[string]string{
		"alice": "m3.mp4 m2.mp4 m1.mp4 m0.mp4", "bob": "m3.mp4 m2.mp4 m1.mp4 m0.mp4", "dora": "m3.mp4 m2.mp4 m1.mp4 m0.mp4", "eve": "",
	} {
		if got, _ := list(b.user(user, ""), ""); got != want {
			t.Errorf("%s sees %q, want %q", user, got, want)
		}
	}
	var all []string
	for next, n := "", 0; n == 0 || next != ""; n++ {
		var part string
		if part, next = list(server, "?limit=2&next="+next); n > 5 {
			t.Fatal("the pages have no end")
		}
		all = append(all, part)
	}
	if got := strings.Join(all, " "); got != "m9.mp4 m3.mp4 m2.mp4 m1.mp4 m0.mp4" {
		t.Errorf("by pages: %s", got)
	}
	b.server(http.StatusBadRequest, "GET", callURL+"/recordings?since=yesterday", nil)
	b.server(http.StatusNotFound, "GET", videoPrefix+"/call/default/zzz/recordings", nil)
	golden(t, "recordings", b.server(http.StatusOK, "GET", callURL+"/recordings?limit=1&until="+moment(1), nil))
}

func TestRecordingRuns(t *testing.T) {
	t.Parallel()
	testRecordingRuns(t, newBench(t))
}

func testRecordingRuns(t *testing.T, b *bench) {
	b.filled()
	for query, want := range map[string]int{
		"": 2, "?state=failed": 1, "?lane=business": 1, "?cid=default:zzz": 0, "?session_id=s1&recording_type=raw": 1,
		"?until=" + b.now.Now().Add(-time.Hour).UTC().Format(time.RFC3339): 0, "?limit=1": 1,
	} {
		if got := b.runsOf(query); len(got) != want {
			t.Errorf("%q: %d runs, want %d", query, len(got), want)
		}
	}
	proof := b.server(http.StatusOK, "GET", ownPrefix+"recordings/proof", nil).body["recording"].(map[string]any)
	if e := proof["error"].(map[string]any); e["code"] != float64(12) || e["message"] != "the disk is full" {
		t.Errorf("the failed run: %v", proof)
	}
	b.server(http.StatusNotFound, "GET", ownPrefix+"recordings/zzz", nil)
	b.server(http.StatusOK, "POST", ownPrefix+"recordings/run/hold", `{"reason":"case 42","user_id":"mo"}`)
	a := b.server(http.StatusOK, "GET", ownPrefix+"recordings/run", nil)
	if n := len(a.body["files"].([]any)); n != 5 { // the sheet too, not what is deleted
		t.Errorf("%d files", n)
	}
	golden(t, "recording_run", a)
}

// An order that waits for the call's next session says until when.
func TestRunThatWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t).filled()
	until := b.now.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	waits := func(state string) any {
		t.Helper()
		_, err := b.db.NewUpdate().Model((*db.RecordingRow)(nil)).Set("state = ?", state).Set("session_id = ''").Set("armed_until = ?", db.At(until)).
			Where("id = 'run'").Exec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return b.server(http.StatusOK, "GET", ownPrefix+"recordings/run", nil).body["recording"].(map[string]any)["waits_until"]
	}
	got, _ := waits(db.RecordingOn).(string)
	if at, err := time.Parse(time.RFC3339Nano, got); err != nil || !at.Equal(until) {
		t.Errorf("waits until %q, want %v", got, until)
	}
	if got := waits(db.RecordingDiscarded); got != nil {
		t.Errorf("nobody came, yet it waits until %v", got)
	}
}

func TestHeldRecordingStays(t *testing.T) {
	t.Parallel()
	b := newBench(t).filled()
	mo, ada := b.user("mo", "moderator"), b.user("ada", "admin")
	file, hold, release := callURL+"/s1/recordings/m1.mp4", ownPrefix+"recordings/run/hold", ownPrefix+"recordings/run/release"
	b.want(http.StatusForbidden, b.do(mo, "DELETE", file, nil))
	b.server(http.StatusConflict, "POST", release, `{"user_id":"mo"}`)
	b.server(http.StatusBadRequest, "POST", hold, `{}`)
	b.want(http.StatusOK, b.do(mo, "POST", hold, `{"reason":"case 42"}`))
	if a := b.want(http.StatusConflict, b.do(ada, "DELETE", file, nil)); !strings.Contains(string(a.raw), "held") {
		t.Errorf("deleting what is held: %s", a.raw)
	}
	b.server(http.StatusBadRequest, "POST", release, nil) // by whom?
	if a := b.want(http.StatusOK, b.do(mo, "POST", release, nil)); a.body["released"] != false {
		t.Errorf("released by one: %s", a.raw)
	}
	if a := b.want(http.StatusConflict, b.do(mo, "POST", release, `{"user_id":"ada"}`)); !strings.Contains(string(a.raw), "two persons") {
		t.Errorf("released by one twice: %s", a.raw)
	}
	b.want(http.StatusConflict, b.do(ada, "DELETE", file, nil))
	if a := b.want(http.StatusOK, b.do(ada, "POST", release, nil)); a.body["released"] != true {
		t.Errorf("not released by two: %s", a.raw)
	}
	b.want(http.StatusOK, b.do(ada, "DELETE", file, nil))
	b.want(http.StatusNotFound, b.do(ada, "DELETE", file, nil))
	b.server(http.StatusNotFound, "DELETE", callURL+"/s2/recordings/m2.mp4", nil)
}

func TestRetryOfWhatFailed(t *testing.T) {
	t.Parallel()
	b := newBench(t).filled()
	retry := ownPrefix + "recordings/proof/retry"
	b.want(http.StatusForbidden, b.do(b.user("bob", "user"), "POST", retry, nil))
	b.server(http.StatusOK, "POST", retry, nil)
	run := b.server(http.StatusOK, "GET", ownPrefix+"recordings/proof", nil).body["recording"].(map[string]any)
	if run["state"] != "processing" {
		t.Errorf("after the retry: %v", run)
	}
	if a := b.server(http.StatusConflict, "POST", retry, nil); !strings.Contains(string(a.raw), "has not failed") {
		t.Errorf("retried twice: %s", a.raw)
	}
	b.server(http.StatusNotFound, "POST", ownPrefix+"recordings/zzz/retry", nil)
}

func TestSpliceAndTrim(t *testing.T) {
	t.Parallel()
	b := newBench(t).filled()
	other, sound, sealed, hls := b.file(20), b.file(21), b.file(22), b.file(23)
	other.CID, sound.Kind, sealed.Encrypted = "default:other", "audio", true
	hls.Format, hls.Items.V = "hls", make([]event.RecordingItem, 2)
	b.insert(other, sound, sealed, hls)
	splice, trim := ownPrefix+"recordings/splice", ownPrefix+"recordings/trim"
	for _, c := range []struct{ path, body, field string }{
		{splice, `{"cid":"default:abc","files":["file1"]}`, "files"},
		{splice, `{"cid":"default:abc","files":["file1","nope"]}`, "files[1]"},
		{splice, `{"cid":"default:abc","files":["file1","file7"]}`, "files[1]"}, // deleted
		{splice, `{"cid":"default:abc","files":["file8","file1"]}`, "files[0]"}, // a sheet
		{splice, `{"cid":"default:abc","files":["file1","file20"]}`, "files[1]"},
		{splice, `{"cid":"default:abc","files":["file1","file21"]}`, "files[1]"},
		{splice, `{"cid":"default:abc","files":["file22","file1"]}`, "files[0]"},
		{splice, `{"cid":"default:abc","files":["file1","file2"],"filename":"../x"}`, "filename"},
		{splice, `{"cid":"default:abc","files":["file1","file23"]}`, "files[1]"},
		{trim, `{"file":"file23","from_seconds":0,"to_seconds":1}`, "file"},
		{trim, `{"file":"nope","from_seconds":0,"to_seconds":1}`, "file"},
		{trim, `{"file":"file1","from_seconds":5,"to_seconds":5}`, "to_seconds"},
		{trim, `{"file":"file1","from_seconds":60,"to_seconds":61}`, "from_seconds"},
		{trim, `{"file":"file1","from_seconds":-1,"to_seconds":61}`, "from_seconds"},
		{trim, `{"file":"file1","from_seconds":1,"to_seconds":2,"recording_external_storage":"nope"}`, "recording_external_storage"},
	} {
		a := b.server(http.StatusBadRequest, "POST", c.path, c.body)
		if fields := a.body["exception_fields"].(map[string]any); fields[c.field] == nil {
			t.Errorf("%s: %s", c.body, a.raw)
		}
	}
	for path, body := range map[string]string{
		splice: `{"cid":"default:abc","files":["file2","file1","file1"],"filename":"joined","custom":{"a":1}}`,
		trim:   `{"file":"file1","from_seconds":10.5,"to_seconds":1000}`, // past the end
	} {
		id := b.server(http.StatusCreated, "POST", path, body).body["recording_id"].(string)
		run := b.server(http.StatusOK, "GET", ownPrefix+"recordings/"+id, nil).body["recording"].(map[string]any)
		want := map[string]string{splice: "map[files:3]", trim: "map[cut:10.5s 1m0s]"}[path]
		if fmt.Sprint(run["custom"]) != want || run["state"] != "processing" {
			t.Errorf("%s: %v", path, run)
		}
	}
}
