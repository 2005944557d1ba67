package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

const (
	startURL = callURL + "/start_frame_recording"
	stopURL  = callURL + "/stop_frame_recording"
)

func TestFrameRecordingStartStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusNotFound, "POST", startURL, nil)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	for range 2 { // the second time of each changes nothing
		b.server(http.StatusOK, "POST", startURL, `{}`)
	}
	for range 2 {
		b.server(http.StatusOK, "POST", stopURL, nil)
	}
	control, public := b.sent(event.TopicControl), b.sent(event.TopicPublic)[1:] // without call.created
	if len(control) != 2 || types(public) != "call.frame_recording_started call.frame_recording_stopped" {
		t.Fatalf("enqueued %d orders and %q", len(control), types(public))
	}
	var orders [2]event.Control
	var states [2]event.FrameRecordingState
	for i := range 2 {
		if err := control[i].Decode(&orders[i]); err != nil {
			t.Fatal(err)
		}
		if err := public[i].Decode(&states[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !orders[0].On || orders[1].On || orders[0].CID != "default:abc" || orders[0].Kind != event.ControlFrameRecording {
		t.Errorf("orders %+v", orders)
	}
	egress := orders[0].EgressID
	if egress == "" || orders[1].EgressID != egress || states[0].EgressID != egress || states[1].EgressID != egress {
		t.Errorf("one run has several egress ids: %+v %+v", orders, states)
	}
	golden(t, "event_started", answer{raw: public[0].Data})
	if on, id, _, err := CallFrames(t.Context(), b.db, "default:abc"); err != nil || on || id != "" {
		t.Errorf("after the stop: %v %q %v", on, id, err)
	}
}

func TestFrameRecordingDisabled(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.DefaultMode = ModeDisabled })
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	golden(t, "start_disabled", b.server(http.StatusBadRequest, "POST", startURL, nil))
	b.server(http.StatusOK, "POST", stopURL, nil)
}

// TestWhoMayStartAndStop is the whole matrix: who, which of the two, and in
// which spelling it was given.
func TestWhoMayStartAndStop(t *testing.T) {
	t.Parallel()
	other := map[string]string{"start": "stop", "stop": "start"}
	spell := map[string]map[string]string{
		"start": {"id": CapStartFrames, "name": "StartFrameRecording"},
		"stop":  {"id": CapStopFrames, "name": "StopFrameRecording"},
	}
	urls := map[string]string{"start": startURL, "stop": stopURL}
	b := newBench(t)
	cases := 0
	for does, spellings := range spell {
		for spelling, permission := range spellings {
			for _, who := range []string{"server", "role", "member role", "user grant", "revoked", "none"} {
				cases++
				name := who + ", " + does + " as " + spelling
				callType := fmt.Sprintf("t%d", cases)
				call := videoPrefix + "/call/" + callType + "/abc"
				grants := `{}`
				switch who {
				case "role", "revoked":
					grants = `{"watcher":["` + permission + `"]}`
				case "member role":
					grants = `{"lead":["` + permission + `"]}`
				}
				b.server(http.StatusCreated, "POST", typesURL, `{"name":"`+callType+`","grants":`+grants+`}`)
				b.server(http.StatusCreated, "POST", call, `{"data":{"created_by_id":"alice","members":[{"user_id":"bob","role":"lead"}]}}`)
				switch who {
				case "user grant":
					b.server(http.StatusOK, "POST", call+"/user_permissions", `{"user_id":"bob","grant_permissions":["`+permission+`"]}`)
				case "revoked":
					b.server(http.StatusOK, "POST", call+"/user_permissions", `{"user_id":"bob","revoke_permissions":["`+permission+`"]}`)
				}
				token, may := b.user("bob", "watcher"), who != "revoked" && who != "none"
				own := "[]"
				if may {
					own = "[" + spell[does]["id"] + "]"
				}
				if who == "server" {
					token, own = b.auth.ServerToken(), fmt.Sprint(capabilities)
				}
				a := b.want(http.StatusOK, b.do(token, "GET", call, nil))
				if got := fmt.Sprint(a.body["own_capabilities"]); got != own {
					t.Errorf("%s: own_capabilities %s, want %s", name, got, own)
				}
				for operation, want := range map[string]bool{does: may, other[does]: who == "server"} {
					url := call + strings.TrimPrefix(urls[operation], callURL)
					status := http.StatusForbidden
					if want {
						status = http.StatusOK
					}
					if a := b.do(token, "POST", url, nil); a.status != status {
						t.Errorf("%s: %s answers %d, want %d: %s", name, operation, a.status, status, a.raw)
					}
				}
			}
		}
	}
	if cases != 24 {
		t.Errorf("%d cases, want 24", cases)
	}
}

func TestATokenForAnotherCallMayNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	b.server(http.StatusOK, "POST", callURL+"/user_permissions", `{"user_id":"bob","grant_permissions":["StartFrameRecording"]}`)
	b.want(http.StatusForbidden, b.do(b.user("bob", "", "default:other"), "POST", startURL, nil))
	b.want(http.StatusOK, b.do(b.user("bob", "", "default:abc"), "POST", startURL, nil))
	b.server(http.StatusOK, "POST", callURL+"/block", `{"user_id":"bob"}`)
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "POST", startURL, nil))
}

func TestFrameRecordingStorage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.insert(&db.ExternalStorageRow{Name: "mine", StorageType: "s3", Bucket: "b"}, &db.ExternalStorageRow{Name: "other", StorageType: "s3", Bucket: "b"})
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	storage := func(want string) {
		t.Helper()
		call, err := b.call(t.Context(), "default:abc")
		if err != nil || call.FrameStorage != want {
			t.Errorf("frames go to %q, want %q (%v)", call.FrameStorage, want, err)
		}
	}
	a := b.server(http.StatusBadRequest, "POST", startURL, `{"recording_external_storage":"nope"}`)
	if f := fmt.Sprint(a.body["exception_fields"]); !strings.Contains(f, "recording_external_storage") {
		t.Errorf("exception_fields %s", f)
	}
	b.server(http.StatusOK, "POST", startURL, `{"recording_external_storage":"mine"}`)
	storage("mine")
	b.server(http.StatusOK, "POST", startURL, `{"recording_external_storage":"other"}`) // it runs
	storage("mine")
	b.server(http.StatusOK, "POST", stopURL, nil)
	b.server(http.StatusOK, "POST", startURL, nil)
	storage("")
}
