package event_test

import (
	"encoding/json"
	"testing"

	"stillwatch/internal/event"
)

// TestReadyRecordingNamesItsFile holds what receivers of finished recordings
// read of the file: the catalogue's golden file has all.
func TestReadyRecordingNamesItsFile(t *testing.T) {
	t.Parallel()
	for _, e := range event.Catalogue() {
		if e.Type != event.CallRecordingReady {
			continue
		}
		text, err := json.Marshal(e.Example)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Recording map[string]any `json:"call_recording"`
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"filename", "url", "start_time", "end_time", "session_id", "recording_type", "index_id", "playback_url", "size", "media", "items"} {
			if v := got.Recording[field]; v == nil || v == "" {
				t.Errorf("the recording lacks %s", field)
			}
		}
		return
	}
	t.Error("the catalogue lacks finished recordings")
}
