package delivery

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/event"
)

var update = flag.Bool("update-callbacks", false, "write the golden files of file callbacks")

var (
	recordedFrom = time.Unix(1456800010, 0).UTC()
	recordedTo   = recordedFrom.Add(10 * time.Second)
)

func readyEvent(format string, items ...event.RecordingItem) event.RecordingReady {
	var size int64
	for _, i := range items {
		size += i.Size
	}
	return event.RecordingReady{
		Type: event.CallRecordingReady, CreatedAt: recordedTo, CallCID: "default:abc", EgressID: "00PNwad2wdoO", RecordingType: "composite",
		Custom: map[string]any{"order": "7"},
		CallRecording: event.CallRecording{
			Filename: items[0].Key, URL: "https://host/x", StartTime: recordedFrom, EndTime: recordedTo, SessionID: "s1",
			RecordingType: "composite", IndexID: "6683676M2W3", PlaybackURL: "https://host/x", Format: format, Bucket: "media",
			Size: size, Items: items,
			Media: event.MediaInfo{
				Metadata: event.MediaMetadata{Rotate: "90"},
				Streams: []event.MediaStream{
					{Index: 0, CodecType: "video", CodecName: "h264", BitRate: 1500000, Width: 1280, Height: 720, FrameRate: "25/1"},
					{Index: 1, CodecType: "audio", CodecName: "aac", BitRate: 64000, Channels: 2, SampleRate: 32000},
				},
				Format: event.MediaFormat{Duration: "5241", Name: "mp4", Size: 1027254935, BitRate: 1568024},
			},
		},
	}
}

func failedEvent(format string) event.RecordingFailed {
	return event.RecordingFailed{
		Type: event.CallRecordingFailed, CreatedAt: recordedTo, CallCID: "default:abc", EgressID: "00PNwad2wdoO", RecordingType: "composite",
		SessionID: "s1", Format: format, Bucket: "media", IndexID: "6683676M2W3", StartTime: recordedFrom, EndTime: recordedTo,
		Error: event.RecordingError{Code: 12, Message: "the disk is full"}, Custom: map[string]any{"order": "7"},
	}
}

func TestFileCallbacks(t *testing.T) {
	t.Parallel()
	file := event.RecordingItem{Key: "record/abc.mp4", Size: 1027254935, Checksum: event.Checksum{ETag: "cb1b99f6657c91dac6c1913cd99131a1"}}
	for name, body := range map[string]any{
		"mp4_ready":  readyEvent(event.RecordingMP4, file),
		"mp4_failed": failedEvent(event.RecordingMP4),
		"flv_ready":  readyEvent(event.RecordingFLV, event.RecordingItem{Key: "record/abc.flv", Size: 9, Checksum: file.Checksum}),
		"hls_ready": readyEvent(event.RecordingHLS,
			event.RecordingItem{Key: "record/hls/abc.m3u8", Size: 200}, event.RecordingItem{Key: "record/hls/abc-0.ts", Size: 5000}),
		"hls_failed": failedEvent(event.RecordingHLS),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			var head struct{ Type string }
			if err := json.Unmarshal(raw, &head); err != nil {
				t.Fatal(err)
			}
			got, err := FileCallback(head.Type, raw)
			if err != nil {
				t.Fatal(err)
			}
			goldenCallback(t, "callback_"+name+".json", got)
		})
	}
}

func goldenCallback(t *testing.T, name string, got []byte) {
	t.Helper()
	var shown bytes.Buffer
	if err := json.Indent(&shown, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	shown.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, shown.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, shown.Bytes()) {
		t.Errorf("%s is\n%s\nwant\n%s", name, shown.Bytes(), want)
	}
}

// TestMediaInfoIsAText reads the inner JSON as a receiver does.
func TestMediaInfoIsAText(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(readyEvent(event.RecordingMP4, event.RecordingItem{Key: "a.mp4"}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := FileCallback(event.CallRecordingReady, raw)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Details struct {
			ErrNum *int
			Items  []struct{ OutMediainfo string }
		}
	}
	if err := json.Unmarshal(got, &body); err != nil {
		t.Fatal(err)
	}
	var info event.MediaInfo
	if err := json.Unmarshal([]byte(body.Details.Items[0].OutMediainfo), &info); err != nil {
		t.Fatal(err)
	}
	if *body.Details.ErrNum != 0 || info.Format.Duration != "5241" || info.Streams[0].FrameRate != "25/1" {
		t.Errorf("inner media info is %+v", info)
	}
	if bytes.Contains(got, []byte("itmes")) {
		t.Error("the old list is there")
	}
}

func TestOtherEventsHaveNoFileCallback(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{event.UserBanned, event.CallRecordingStarted, event.CallRecordingStopped, event.CallFrameRecordingReady} {
		if FileCallbackWants(typ) {
			t.Errorf("%s is wanted", typ)
		}
		if _, err := FileCallback(typ, []byte(`{}`)); err == nil {
			t.Errorf("%s makes a callback", typ)
		}
	}
	if _, err := FileCallback(event.CallRecordingReady, []byte(`[]`)); err == nil {
		t.Error("a body that is no object makes a callback")
	}
}

func TestTheEncoderLeavesOtherEventsOut(t *testing.T) {
	t.Parallel()
	if _, wanted, err := EncodeFileCallback(Hook{}, Message{Type: event.UserBanned, Body: []byte(`{}`)}); wanted || err != nil {
		t.Errorf("a ban: wanted %v, %v", wanted, err)
	}
	body, wanted, err := EncodeFileCallback(Hook{}, Message{Type: event.CallRecordingFailed, Body: []byte(`{"egress_id":"e1"}`)})
	if !wanted || err != nil || !bytes.Contains(body, []byte(`"taskid":"e1","status":4`)) {
		t.Errorf("a failed recording: wanted %v, %v: %s", wanted, err, body)
	}
}
