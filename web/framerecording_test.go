package web

import (
	"fmt"
	"net/http"
	"testing"

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
	control, public := b.sent(event.TopicControl), b.sent(event.TopicPublic)
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
	b.server(http.StatusBadRequest, "POST", startURL, `{"recording_external_storage":"mine"}`)
}

func TestFrameRecordingPermissions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"}]}}`)
	for _, tc := range []struct {
		grants            string
		canStart, canStop bool
	}{
		{`[]`, false, false},
		{`["start-frame-record-call"]`, true, false},
		{`["StopFrameRecording"]`, false, true},
		{`["StartFrameRecording","stop-frame-record-call"]`, true, true},
	} {
		b.server(http.StatusOK, "PUT", typesURL+"/default", `{"grants":{"user":`+tc.grants+`,"host":["StartFrameRecording"]}}`)
		for url, can := range map[string]bool{startURL: tc.canStart, stopURL: tc.canStop} {
			want := http.StatusForbidden
			if can {
				want = http.StatusOK
			}
			if a := b.do(b.user("bob", ""), "POST", url, nil); a.status != want {
				t.Errorf("grants %s: %s answers %d, want %d: %s", tc.grants, url, a.status, want, a.raw)
			}
			if a := b.do(b.user("bob", "", "default:other"), "POST", url, nil); a.status != http.StatusForbidden {
				t.Errorf("grants %s: a token for another call may %s: %d", tc.grants, url, a.status)
			}
		}
	}
	if a := b.do(b.user("hanna", ""), "POST", startURL, nil); a.status != http.StatusOK {
		t.Errorf("the role as a member does not count: %s", a.raw)
	}
	a := b.want(http.StatusOK, b.do(b.user("hanna", ""), "GET", callURL, nil))
	if caps := fmt.Sprint(a.body["own_capabilities"]); caps != "[start-frame-record-call stop-frame-record-call]" {
		t.Errorf("hanna's capabilities: %s", caps)
	}
}
