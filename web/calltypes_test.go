package web

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"stillwatch/internal/event"
)

const typesURL = "/api/v2/video/calltypes"

func TestCallTypes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	golden(t, "calltype_list", b.server(http.StatusOK, "GET", typesURL, nil))
	golden(t, "calltype_created", b.server(http.StatusCreated, "POST", typesURL, `{"name":"show","grants":{"user":["StartFrameRecording"]},"settings":{"frame_recording":{"mode":"disabled"}}}`))
	b.server(http.StatusConflict, "POST", typesURL, `{"name":"show"}`)
	b.server(http.StatusBadRequest, "POST", typesURL, `{"name":"a b"}`)
	b.server(http.StatusBadRequest, "POST", typesURL, `{"name":"x","external_storage":"s3"}`)

	// The sample of the public documentation, word for word.
	sample := `{"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":5,"quality":"720p"}}}`
	golden(t, "calltype_updated", b.server(http.StatusOK, "PUT", typesURL+"/default", sample))
	kept := b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{"video":{"enabled":false}},"grants":{"user":[]}}`)
	if fr := fmt.Sprint(kept.body["settings"].(map[string]any)["frame_recording"]); fr != "map[capture_interval_in_seconds:5 mode:auto-on quality:720p]" {
		t.Errorf("an update of video changed frame_recording to %s", fr)
	}
	b.server(http.StatusNotFound, "PUT", typesURL+"/nope", `{}`)
	b.server(http.StatusNotFound, "GET", typesURL+"/nope", nil)

	b.server(http.StatusOK, "DELETE", typesURL+"/show", nil)
	b.server(http.StatusNotFound, "DELETE", typesURL+"/show", nil)
	b.server(http.StatusBadRequest, "DELETE", typesURL+"/default", nil)
}

func TestFrameSettingsMatrix(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, q := range []string{"360p", "420p", "480p", "720p", "1080p", "1440p"} {
		for _, n := range []int{2, 5, 60} {
			a := b.server(http.StatusOK, "PUT", typesURL+"/default",
				fmt.Sprintf(`{"settings":{"frame_recording":{"mode":"available","capture_interval_in_seconds":%d,"quality":%q}}}`, n, q))
			fr := a.body["settings"].(map[string]any)["frame_recording"].(map[string]any)
			if fr["quality"] != q || fr["capture_interval_in_seconds"] != float64(n) {
				t.Errorf("%s at %d s became %v", q, n, fr)
			}
		}
	}
	const interval, quality, mode = "settings.frame_recording.capture_interval_in_seconds", "settings.frame_recording.quality", "settings.frame_recording.mode"
	for body, want := range map[string]struct{ field, text string }{
		`{"mode":"available","capture_interval_in_seconds":1}`:    {interval, "2 to 60"},
		`{"mode":"available","capture_interval_in_seconds":0}`:    {interval, "2 to 60"},
		`{"mode":"available","capture_interval_in_seconds":-1}`:   {interval, "2 to 60"},
		`{"mode":"available","capture_interval_in_seconds":61}`:   {interval, "2 to 60"},
		`{"mode":"available","capture_interval_in_seconds":2.5}`:  {interval, "integer"},
		`{"mode":"available","capture_interval_in_seconds":"5"}`:  {interval, "integer"},
		`{"mode":"available","capture_interval_in_seconds":1e99}`: {interval, "integer"},
		`{"mode":"available","quality":"999p"}`:                   {quality, "420p"},
		`{"mode":"available","quality":""}`:                       {quality, "1440p"},
		`{"mode":"on"}`:                                           {mode, "auto-on"},
		`{"mode":""}`:                                             {mode, "auto-on"},
		`{"quality":"720p"}`:                                      {mode, "required"},
		`{}`:                                                      {mode, "required"},
	} {
		a := b.server(http.StatusBadRequest, "PUT", typesURL+"/default", `{"settings":{"frame_recording":`+body+`}}`)
		fields := a.body["exception_fields"].(map[string]any)
		if got, _ := fields[want.field].(string); !strings.Contains(got, want.text) {
			t.Errorf("%s: exception_fields %v, want %s with %q", body, fields, want.field, want.text)
		}
		if a.body["code"] != float64(CodeInput) {
			t.Errorf("%s: code %v", body, a.body["code"])
		}
	}
}

func TestSettingsAreFrozenAtCreation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":9}}}`)
	on, _, frames, err := CallFrames(t.Context(), b.db, "default:abc")
	if err != nil || on || frames.CaptureIntervalInSeconds != DefaultInterval || frames.Mode != ModeAvailable {
		t.Errorf("an older call took the new settings: on %v, %+v, %v", on, frames, err)
	}
	b.server(http.StatusCreated, "POST", "/api/v2/video/call/default/new", `{"data":{"created_by_id":"alice"}}`)
	on, _, frames, err = CallFrames(t.Context(), b.db, "default:new")
	if err != nil || !on || frames.CaptureIntervalInSeconds != 9 {
		t.Errorf("a new call has on %v, %+v, %v", on, frames, err)
	}
}

func TestSeedMode(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.DefaultMode = ModeAutoOn })
	a := b.server(http.StatusOK, "GET", typesURL+"/default", nil)
	if m := a.body["settings"].(map[string]any)["frame_recording"].(map[string]any)["mode"]; m != ModeAutoOn {
		t.Errorf("mode %v", m)
	}
	if err := Seed(t.Context(), b.db, ModeDisabled); err != nil {
		t.Fatal(err)
	}
	if again := b.server(http.StatusOK, "GET", typesURL+"/default", nil); fmt.Sprint(again.body["settings"]) != fmt.Sprint(a.body["settings"]) {
		t.Error("seeding again changed the call type")
	}
	if err := Seed(t.Context(), b.db, "sometimes"); err == nil {
		t.Error("an unknown mode was taken")
	}
}

func TestOneCallFromManyRequests(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.DefaultMode = ModeAutoOn })
	var mu sync.Mutex
	created := 0
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			a := b.do(b.auth.ServerToken(), "POST", callURL, fmt.Sprintf(`{"data":{"created_by_id":"u%d"}}`, i))
			mu.Lock()
			defer mu.Unlock()
			if a.body["created"] == true {
				created++
			}
			if a.status >= 300 {
				t.Errorf("status %d: %s", a.status, a.raw)
			}
		})
	}
	wg.Wait()
	if n := len(b.sent(event.TopicPublic)); created != 1 || n != 2 {
		t.Errorf("created %d times, %d events", created, n)
	}
}
