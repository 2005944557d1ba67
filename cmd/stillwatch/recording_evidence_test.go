package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// TestAFlaggedCallIsKeptAsEvidence: of two calls, one is flagged by the models;
// its movie shows all of it, from before the flag on, and nothing of the other
// call is left.
func TestAFlaggedCallIsKeptAsEvidence(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: of the recorder in the program, TestARecordedCallBecomesAMovie alone is run then")
	}
	r := startRig(t, "STILLWATCH_RECORDING_FLAG_GRACE=2s")
	r.calltype(`{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":2,"quality":"360p"},` +
		`"moderation_evidence":{"mode":"on-flag"},"recording":{"mode":"available","quality":"360p"}}`)
	clean := r.speak("default:clean", "cleo", small(t, "neutral", event.VP8), 500)
	ada := r.speak("default:bad", "ada", small(t, "neutral", event.VP8), 400)
	eve := r.speak("default:bad", "eve", clip(t, "porn", event.VP8), 600)
	joined := time.Now()
	select {
	case <-eve.Gone():
	case <-time.After(60 * time.Second):
		t.Fatal("eve is not put out")
	}
	banned := time.Now()
	var call struct {
		Call struct{ Recording bool }
	}
	r.api("GET", "/api/v2/video/call/default/bad", "", &call)
	ada.Close()
	clean.Close()
	files := r.ready(4, 180*time.Second)
	kinds := map[string]int{}
	for _, f := range files {
		if f.CallCID != "default:bad" {
			t.Errorf("a file of %s", f.CallCID)
		}
		kinds[f.CallRecording.Format]++
		if f.CallRecording.Format == "mp4" && strings.Contains(f.CallRecording.Filename, "recording-") {
			streams, seconds := ffprobe(t, r.download(f.CallRecording))
			if len(streams) != 2 || seconds < banned.Sub(joined).Seconds()-1 {
				t.Errorf("%s: %v, %.1f s; the flag came %.1f s after eve", f.CallRecording.Filename, streams, seconds, banned.Sub(joined).Seconds())
			}
		}
	}
	if kinds["webm"] != 2 || kinds["wav"] != 1 || kinds["mp4"] != 1 {
		t.Errorf("files: %v", kinds)
	}
	testkit.Eventually(t, 30*time.Second, func() bool {
		left, _ := filepath.Glob(filepath.Join(r.cfg.Data.Dir, "recordings", "*", "*"))
		return len(left) == 0
	}, "packets of both calls are gone")
	var rows []db.RecordingRow
	if err := r.db.NewSelect().Model(&rows).Scan(t.Context()); err != nil || len(rows) != 1 || rows[0].Lane != db.LaneEvidence {
		t.Errorf("runs: %+v, %v", rows, err)
	}
	var session db.SessionRow
	if err := r.db.NewSelect().Model(&session).Where("cid = ?", "default:clean").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Join(r.cfg.Data.Dir, "objects", "recordings"), func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(path, session.ID) {
			t.Errorf("%s is of the call that was not flagged", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
