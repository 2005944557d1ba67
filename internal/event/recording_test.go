package event_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/event"
)

// TestRecordingEvents keeps the bodies that a recorder will send. Backends of
// compatible systems read the fields named; the golden files have all.
func TestRecordingEvents(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	to := from.Add(time.Minute)
	const cid, egress, kind, session = "default:abc", "9a1c1f8e-0000-4000-8000-000000000001", "composite", "e48dd421-6281-457e-8995-0ccc463da252"
	custom := map[string]any{"case": "42"}
	state := func(typ string) any {
		return event.RecordingState{Type: typ, CreatedAt: from, CallCID: cid, EgressID: egress, RecordingType: kind}
	}
	item := event.RecordingItem{Key: "recordings/abc.mp4", Size: 7_500_000, Checksum: event.Checksum{
		ETag: "cb1b99f6657c91dac6c1913cd99131a1", SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	}}
	for _, tc := range []struct {
		typ    string
		body   any
		fields []string
	}{
		{event.CallRecordingStarted, state(event.CallRecordingStarted), nil},
		{event.CallRecordingStopped, state(event.CallRecordingStopped), nil},
		{event.CallRecordingFailed, event.RecordingFailed{
			Type: event.CallRecordingFailed, CreatedAt: to, CallCID: cid, EgressID: egress, RecordingType: kind, SessionID: session,
			Format: event.RecordingMP4, Bucket: "media", IndexID: "i1", StartTime: from, EndTime: to,
			Error: event.RecordingError{Code: 12, Message: "the disk is full"}, Custom: custom,
		}, []string{"error", "session_id", "start_time", "end_time", "custom"}},
		{event.CallRecordingReady, event.RecordingReady{
			Type: event.CallRecordingReady, CreatedAt: to, CallCID: cid, EgressID: egress, RecordingType: kind, Custom: custom,
			CallRecording: event.CallRecording{
				Filename: item.Key, URL: "https://host/s/recordings/abc.mp4?exp=1&sig=2", StartTime: from, EndTime: to, SessionID: session, RecordingType: kind,
				IndexID: "i1", PlaybackURL: "https://host/s/recordings/abc.mp4?exp=1&sig=2", Format: event.RecordingMP4, Bucket: "media",
				Size: item.Size, Items: []event.RecordingItem{item},
				Media: event.MediaInfo{
					Streams: []event.MediaStream{{CodecType: "video", CodecName: "h264", BitRate: 936_000, Width: 1280, Height: 720, FrameRate: "25/1"}},
					Format:  event.MediaFormat{Duration: "60", Name: "mp4", Size: item.Size, BitRate: 1_000_000},
				},
			},
		}, []string{"call_recording", "custom"}},
	} {
		text, err := json.MarshalIndent(tc.body, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		for _, field := range append([]string{"type", "created_at", "call_cid", "egress_id", "recording_type"}, tc.fields...) {
			if got[field] == nil || got[field] == "" {
				t.Errorf("%s lacks %s", tc.typ, field)
			}
		}
		if rec, ok := got["call_recording"].(map[string]any); ok {
			for _, field := range []string{"filename", "url", "start_time", "end_time", "session_id", "recording_type", "index_id", "playback_url", "size", "media", "items"} {
				if rec[field] == nil || rec[field] == "" {
					t.Errorf("%s: the recording lacks %s", tc.typ, field)
				}
			}
		}
		kept(t, filepath.Join("testdata", "recording", tc.typ+".json"), append(text, '\n'))
	}
	for _, e := range event.Catalogue() {
		if e.Type == event.CallRecordingReady {
			t.Error("the catalogue lists recordings: move this there")
		}
	}
}
