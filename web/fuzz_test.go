package web

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"stillwatch/internal/db"
	"stillwatch/recording"
)

func FuzzSettings(f *testing.F) {
	for _, s := range []string{
		`{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":5,"quality":"720p"}}`, `{"frame_recording":null}`,
		`{"audio":null,"geofencing":{"names":null}}`, `{"Frame_Recording":{"MODE":"disabled"}}`, `[]`, `null`, ``, `{"limits":{"max_participants":-1}}`,
		`{"recording":{"mode":"on-flag","mix_limit":10,"formats":["hls"],"slice_minutes":720,"filename":"{{uuid}}"}}`, `{"recording":{"omit_users":null,"formats":null}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		s, err := DefaultSettings().Merge(patch, "settings")
		if err != nil {
			var api *apiError
			if !errors.As(err, &api) || api.StatusCode != 400 {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		fr := s.FrameRecording
		if fr.CaptureIntervalInSeconds < MinInterval || fr.CaptureIntervalInSeconds > MaxInterval ||
			!slices.Contains(frameQualities, fr.Quality) || !slices.Contains(modes, fr.Mode) {
			t.Fatalf("accepted %+v", fr)
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := readSettings(raw)
		if err != nil || again.FrameRecording != fr {
			t.Fatalf("read back %+v, %v", again.FrameRecording, err)
		}
		if p, err := PlanOf(raw, db.RecordingDecision{}); err != nil || p.MixLimit < 1 || p.Resume < 0 || p.Resume > recording.MaxResume || len(p.CompositeFormats) == 0 {
			t.Fatalf("plan %+v, %v", p, err)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{1, "a"}.String())
	f.Add("")
	f.Add("MSA")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor(s)
		if err != nil {
			return
		}
		if back, err := parseCursor(c.String()); err != nil || back != c {
			t.Fatalf("%+v became %+v, %v", c, back, err)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("default:abc")
	f.Add("../../etc:passwd")
	f.Add("a:b:c")
	f.Fuzz(func(t *testing.T, cid string) {
		callType, id, err := splitCID("cid", cid)
		if err != nil {
			return
		}
		if callType+":"+id != cid || slices.ContainsFunc([]byte(cid), func(b byte) bool { return b == '/' || b <= ' ' || b > '~' }) || callType[0] == '.' || id[0] == '.' {
			t.Fatalf("accepted %q", cid)
		}
	})
}
