package recorder

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// A raw recording says what its packets are, and of whom it omits nothing.
func TestRawRecordingsSayWhatTheirPacketsAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Raw, p.Omit = recording.ModeAutoOn, []string{"ben"} })
	s := w.session("rawmeta", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	s.play("ben", actor{tone: w.tone(600), to: 2 * time.Second})
	s.end(2 * time.Second)
	files := w.files(w.until("default:rawmeta", db.RecordingReady, 4*time.Minute).ID)
	if len(files[kindMetadata]) != 1 || len(files[kindRaw]) != 2 {
		t.Fatalf("files %+v", files)
	}
	text, err := os.ReadFile(w.path(files[kindMetadata][0].ObjectKey))
	var meta rawMetadata
	if err != nil || json.Unmarshal(text, &meta) != nil {
		t.Fatalf("metadata %s, %v", text, err)
	}
	if strings.Contains(string(text), "ben") || meta.CallCID != "default:rawmeta" || len(meta.Streams) != 2 {
		t.Errorf("metadata %s", text)
	}
	for _, m := range meta.Streams {
		named := false
		for _, f := range files[kindRaw] {
			named = named || f.Filename == m.Filename && f.TrackType == m.TrackType
		}
		video := m.TrackType == string(event.TrackVideo)
		if !named || m.UserID != "ada" || video && (m.PayloadType != 96 || m.MimeType != "video/VP8" || m.ClockRate != 90000) ||
			!video && (m.PayloadType != 111 || m.MimeType != "audio/opus" || m.Channels != 2) {
			t.Errorf("stream %+v", m)
		}
	}
	if len(meta.Journal) != 2 || meta.Journal[0].Kind != "joined" || meta.Journal[1].Kind != "left" || meta.Journal[1].Time.Sub(meta.Journal[0].Time) != 2*time.Second {
		t.Errorf("journal %+v", meta.Journal)
	}
}
