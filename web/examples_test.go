package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// example reads an example of the API's public documentation, as it stands
// there.
func example(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "examples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// fits tells where got lacks a field of the example, or has it with another
// JSON type. Fields beyond the example are fine, and so is null where the
// example has it.
func fits(path string, example, got any) (wrong []string) {
	switch want := example.(type) {
	case nil:
		return nil
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is a %T", path, got)}
		}
		for key, value := range want {
			if _, ok := have[key]; !ok {
				wrong = append(wrong, path+"."+key+" is missing")
				continue
			}
			wrong = append(wrong, fits(path+"."+key, value, have[key])...)
		}
		return wrong
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) < len(want) {
			return []string{fmt.Sprintf("%s is %v", path, got)}
		}
		for i := range want {
			wrong = append(wrong, fits(fmt.Sprintf("%s[%d]", path, i), want[i], have[i])...)
		}
		return wrong
	}
	if fmt.Sprintf("%T", example) != fmt.Sprintf("%T", got) {
		return []string{fmt.Sprintf("%s is a %T, not a %T", path, got, example)}
	}
	return nil
}

func (b *bench) fits(name string, a answer) {
	b.t.Helper()
	var want any
	if err := json.Unmarshal(example(b.t, name), &want); err != nil {
		b.t.Fatal(err)
	}
	for _, wrong := range fits(name, want, any(a.body)) {
		b.t.Error(wrong)
	}
}

// TestDocumentedSampleConfiguresTheDefaultType: the type exists without being
// made, takes the sample word for word, and shows what was set.
func TestDocumentedSampleConfiguresTheDefaultType(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	types := b.server(http.StatusOK, "GET", typesURL, nil).body["call_types"].(map[string]any)
	if _, ok := types[DefaultCallType]; !ok || len(types) != 1 {
		t.Fatalf("a fresh server has the call types %v", types)
	}
	a := b.server(http.StatusOK, "PUT", typesURL+"/default",
		`{"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":5,"quality":"720p"}}}`)
	b.fits("calltype", a)
	golden(t, "example_calltype", a)
	got := a.body["settings"].(map[string]any)["frame_recording"]
	if fmt.Sprint(got) != "map[capture_interval_in_seconds:5 mode:auto-on quality:720p]" {
		t.Errorf("frame_recording is %v", got)
	}
}

func TestDocumentedCallIsMadeAndShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	made := b.server(http.StatusCreated, "POST", callURL, string(example(t, "call_request")))
	golden(t, "example_call", made)
	// The example shows the call while it goes on.
	b.insert(&db.SessionRow{ID: "s1", CID: "default:abc", StartedAt: db.At(b.now.Now())})
	if _, err := b.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = 's1'").Where("id = 'abc'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := b.server(http.StatusOK, "POST", callURL, string(example(t, "call_request")))
	b.fits("call", a)
	egress := a.body["call"].(map[string]any)["egress"].(map[string]any)
	if fmt.Sprint(egress["frame_recording"]) != "map[status:running]" {
		t.Errorf("egress %v", egress)
	}
}

// TestAutoOnIsForNewCalls: whoever makes them, and for no call that was there
// before, joined before or not.
func TestAutoOnIsForNewCalls(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g := Gatekeeper{DB: b.db, Now: b.now.Now}
	join := func(id string) {
		t.Helper()
		if err := g.Admit(t.Context(), "default", id, "bob", "user"); err != nil {
			t.Fatal(err)
		}
	}
	post := func(id string) {
		t.Helper()
		b.server(http.StatusCreated, "POST", videoPrefix+"/call/default/"+id, `{"data":{"created_by_id":"alice"}}`)
	}
	post("made-before")
	join("joined-before")
	b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":5,"quality":"720p"}}}`)
	join("made-before")
	join("joined-before")
	post("made-after")
	join("joined-after")
	for id, want := range map[string]bool{"made-before": false, "joined-before": false, "made-after": true, "joined-after": true} {
		on, _, frames, err := CallFrames(t.Context(), b.db, "default:"+id)
		if err != nil || on != want || (frames.Mode == ModeAutoOn) != want {
			t.Errorf("%s: recording %t with %+v (%v), want %t", id, on, frames, err, want)
		}
	}
	started := 0
	for _, ev := range b.sent(event.TopicPublic) {
		if ev.Type == event.CallFrameRecordingStarted {
			started++
		}
	}
	if started != 2 {
		t.Errorf("%d calls were told to be recorded, want 2", started)
	}
}

// TestStillsAreStartedAndStoppedFromEitherSide: by the backend, and by a
// participant who may.
func TestStillsAreStartedAndStoppedFromEitherSide(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"},{"user_id":"bob"}]}}`)
	for name, tc := range map[string]struct {
		token string
		want  int
	}{
		"backend": {b.auth.ServerToken(), http.StatusOK},
		"host":    {b.user("hanna", ""), http.StatusOK},
		"user":    {b.user("bob", ""), http.StatusForbidden},
	} {
		for i, path := range []string{"/start_frame_recording", "/stop_frame_recording"} {
			b.want(tc.want, b.do(tc.token, "POST", callURL+path, nil))
			on, _, _, err := CallFrames(t.Context(), b.db, "default:abc")
			if want := i == 0 && tc.want == http.StatusOK; err != nil || on != want {
				t.Errorf("%s %s: recording %t (%v), want %t", name, path, on, err, want)
			}
		}
	}
}

func TestCallTypesArePaged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 4 {
		b.server(http.StatusCreated, "POST", typesURL, fmt.Sprintf(`{"name":"t%d","notification_settings":{"enabled":true},"external_storage":""}`, i))
	}
	var names []string
	next := ""
	for page := 0; page == 0 || next != ""; page++ {
		a := b.server(http.StatusOK, "GET", typesURL+"?limit=2&next="+next, nil)
		for name, ct := range a.body["call_types"].(map[string]any) {
			names = append(names, name)
			if on := ct.(map[string]any)["notification_settings"].(map[string]any)["enabled"]; on != (name != "default") {
				t.Errorf("%s: notification_settings.enabled %v", name, on)
			}
		}
		next, _ = a.body["next"].(string)
	}
	if len(names) != 5 {
		t.Errorf("pages show %v", names)
	}
	if all := b.server(http.StatusOK, "GET", typesURL, nil); len(all.body["call_types"].(map[string]any)) != 5 || all.body["next"] != nil {
		t.Errorf("without a limit: %s", all.raw)
	}
}

func TestCallTypesNameStoragesThatExist(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.insert(&db.ExternalStorageRow{Name: "my-s3", StorageType: "s3", Bucket: "b"})
	a := b.server(http.StatusBadRequest, "PUT", typesURL+"/default", `{"external_storage":"other"}`)
	if fields := a.body["exception_fields"].(map[string]any); fields["external_storage"] == nil {
		t.Errorf("exception_fields %v", fields)
	}
	a = b.server(http.StatusOK, "PUT", typesURL+"/default", `{"external_storage":"my-s3"}`)
	if a.body["external_storage"] != "my-s3" {
		t.Errorf("external_storage %v", a.body["external_storage"])
	}
	a = b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{"video":{"enabled":true}}}`)
	if a.body["external_storage"] != "my-s3" {
		t.Errorf("another change took the storage away: %v", a.body["external_storage"])
	}
	if a = b.server(http.StatusOK, "PUT", typesURL+"/default", `{"external_storage":""}`); a.body["external_storage"] != nil {
		t.Errorf("external_storage %v", a.body["external_storage"])
	}
}
