package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// caseFolder is a data folder with one recording in it, and no server.
type caseFolder struct {
	t      *testing.T
	data   string
	config string
	db     *db.DB
}

func sum(body string) string {
	s := sha256.Sum256([]byte(body))
	return hex.EncodeToString(s[:])
}

func newCase(t *testing.T) *caseFolder {
	t.Helper()
	c := &caseFolder{t: t, data: t.TempDir(), config: filepath.Join(t.TempDir(), "stillwatch.yaml")}
	text, err := json.Marshal(map[string]any{"data": map[string]string{"dir": c.data}, "log": map[string]string{"level": "error"}})
	c.must(err)
	c.must(os.WriteFile(c.config, text, 0o600))
	c.db, err = db.Open(t.Context(), "sqlite://"+filepath.Join(c.data, "stillwatch.db"))
	c.must(err)
	t.Cleanup(func() { _ = c.db.Close() })
	at := db.At(time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC))
	c.insert(&db.RecordingRow{
		ID: "rec-1", CID: "default:abc", SessionID: "s1", Type: "composite", Lane: db.LaneEvidence, State: db.RecordingReady, RequestedBy: "policy",
		Plan: db.JSON[json.RawMessage]{V: json.RawMessage(`{"layout":"grid"}`)}, Flagged: true, StartedAt: at, StoppedAt: db.At(at.Add(time.Minute)),
	})
	file := func(id, kind string, items ...event.RecordingItem) *db.RecordingFileRow {
		return &db.RecordingFileRow{
			ID: id, RecordingID: "rec-1", CID: "default:abc", SessionID: "s1", Kind: kind, Format: "mp4", ObjectKey: items[0].Key,
			Items: db.JSON[[]event.RecordingItem]{V: items}, StartedAt: at, EndedAt: at, CreatedAt: at,
		}
	}
	c.insert(file("f1", "movie", c.object("recordings/movie.mp4", "the movie")))
	c.insert(file("f2", "movie", c.object("recordings/hls/index.m3u8", "#EXTM3U\na.ts\n"), c.object("recordings/hls/a.ts", "segment")))
	gone := file("f3", "raw", event.RecordingItem{Key: "recordings/raw.dump", Checksum: event.Checksum{SHA256: sum("raw")}})
	gone.DeletedAt = at
	c.insert(gone)
	still := c.object("frames/x/1.jpg", "a still")
	c.insert(&db.FrameRow{ID: "frame-1", CID: "default:abc", SessionID: "s1", UserID: "bob", CapturedAt: at, ObjectKey: still.Key, SHA256: still.Checksum.SHA256, Hold: true})
	c.insert(&db.FrameRow{ID: "frame-2", CID: "default:abc", SessionID: "s1", UserID: "bob", CapturedAt: at, ObjectKey: "frames/x/2.jpg", SHA256: sum("expired"), ExpiresAt: at})
	c.insert(&db.FrameRow{ID: "frame-3", CID: "default:other", SessionID: "s9", UserID: "eve", CapturedAt: at, ObjectKey: "frames/x/3.jpg", SHA256: sum("other")})
	c.insert(&db.VerdictRow{ID: "v1", FrameID: "frame-1", CID: "default:abc", UserID: "bob", State: "ok", At: at, Scores: db.JSON[json.RawMessage]{V: json.RawMessage(`{"Porn":0.98}`)}, Models: db.JSON[json.RawMessage]{V: json.RawMessage(`["mobilenet@1"]`)}})
	c.insert(&db.DecisionRow{ID: "d1", CID: "default:abc", SessionID: "s1", UserID: "bob", Rule: "nudity", PolicyVersion: "3", Action: "ban", Score: 0.98, At: at, Evidence: db.JSON[json.RawMessage]{V: json.RawMessage(`{}`)}})
	c.insert(&db.ActionRow{ID: "a1", DecisionID: "d1", Kind: "ban", CID: "default:abc", SessionID: "s1", UserID: "bob", State: "confirmed", RequestedAt: at, Payload: db.JSON[json.RawMessage]{V: json.RawMessage(`{}`)}})
	c.insert(&db.RecordingHoldRow{ID: "h1", RecordingID: "rec-1", Reason: "court", PlacedBy: "mo", PlacedAt: at})
	c.insert(&db.AuditRow{ID: "au1", At: at, Actor: "system", Verb: "recording.evidence_override", Object: "call:default:abc", Detail: db.JSON[json.RawMessage]{V: json.RawMessage(`{}`)}})
	return c
}

func (c *caseFolder) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *caseFolder) insert(row any) {
	c.t.Helper()
	_, err := c.db.NewInsert().Model(row).Exec(c.t.Context())
	c.must(err)
}

func (c *caseFolder) object(key, body string) event.RecordingItem {
	c.t.Helper()
	full := c.stored(key)
	c.must(os.MkdirAll(filepath.Dir(full), 0o700))
	c.must(os.WriteFile(full, []byte(body), 0o600))
	return event.RecordingItem{Key: key, Size: int64(len(body)), Checksum: event.Checksum{SHA256: sum(body)}}
}

func (c *caseFolder) stored(key string) string { return filepath.Join(c.data, "objects", key) }

func (c *caseFolder) run(args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	return command(c.t, append([]string{"--config", c.config}, args...)...)
}

func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.WithoutCancel(t.Context()), func() {}, args, &out, &errs)
	return code, out.String(), errs.String()
}

func (c *caseFolder) audited(verb string) int64 {
	c.t.Helper()
	n, err := c.db.NewSelect().Model((*db.AuditRow)(nil)).Where("verb = ?", verb).Where("object = ?", "recording:rec-1").Count(c.t.Context())
	c.must(err)
	return n
}

func TestEvidenceIsExportedAndVerifiedElsewhere(t *testing.T) {
	t.Parallel()
	c := newCase(t)
	dir := filepath.Join(t.TempDir(), "case-17")
	code, out, errs := c.run("evidence", "export", "rec-1", "--to", dir, "--json")
	var r evidenceReport
	if code != 0 || json.Unmarshal([]byte(out), &r) != nil || !r.OK || r.Objects != 4 || r.Entries != 11 {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	for name, want := range map[string]string{"files/f1/movie.mp4": "the movie", "files/f2/a.ts": "segment", "frames/frame-1.jpg": "a still"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	c.must(err)
	for _, want := range []string{"nudity", "mobilenet@1", "court", "evidence_override", "recordings/raw.dump", `"clock": "server"`} {
		if !strings.Contains(string(manifest), want) {
			t.Errorf("no %s in the manifest", want)
		}
	}
	if c.audited(verbEvidenceExport) != 1 {
		t.Error("the export is not in the audit")
	}
	if code, _, errs := c.run("evidence", "export", "rec-1", "--to", dir); code != 1 || !strings.Contains(errs, "there already") {
		t.Errorf("over the first: %d %s", code, errs)
	}

	// Elsewhere: the folder and the key, without settings or data.
	key := filepath.Join(t.TempDir(), "key.pub")
	_, public, _ := c.run("evidence", "key")
	c.must(os.WriteFile(key, []byte(public), 0o600))
	if code, out, errs := command(t, "evidence", "verify", dir, "--key", key); code != 0 || !strings.HasPrefix(out, "ok: recording:rec-1, 11 entries, 4 objects") || strings.Contains(out, "the folder's own") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, out, _ := command(t, "evidence", "verify", dir); code != 0 || !strings.Contains(out, "the folder's own") {
		t.Errorf("%d %s", code, out)
	}
	c.must(os.WriteFile(filepath.Join(dir, "files/f1/movie.mp4"), []byte("the mOvie"), 0o600))
	code, out, errs = command(t, "evidence", "verify", dir, "--key", key, "--json")
	if json.Unmarshal([]byte(out), &r) != nil || code != 1 || r.OK || r.BadEntry == nil || *r.BadEntry != 1 || r.BadName != "files/f1/movie.mp4" {
		t.Errorf("a changed byte: %d %s %s", code, out, errs)
	}
	_, other, _ := newCase(t).run("evidence", "key")
	c.must(os.WriteFile(key, []byte(other), 0o600))
	if code, _, errs := command(t, "evidence", "verify", dir, "--key", key); code != 1 || !strings.Contains(errs, "not with") {
		t.Errorf("another's key: %d %s", code, errs)
	}
}

func TestNoExportOfWhatWasChangedInTheStore(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string) error{
		"a bit": func(path string) error {
			body, err := os.ReadFile(path)
			if err == nil {
				body[3] ^= 1
				err = os.WriteFile(path, body, 0o600)
			}
			return err
		},
		"gone": os.Remove,
	} {
		for _, key := range []string{"recordings/movie.mp4", "frames/x/1.jpg"} {
			c := newCase(t)
			c.must(change(c.stored(key)))
			parent := t.TempDir()
			code, _, errs := c.run("evidence", "export", "rec-1", "--to", filepath.Join(parent, "out"))
			if code != 1 || !strings.Contains(errs, "not what was stored") || !strings.Contains(errs, key) {
				t.Errorf("%s, %s: %d %s", name, key, code, errs)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
				t.Errorf("%s: %v is left, %v", name, left, err)
			}
			if c.audited(verbEvidenceDamaged) != 1 || c.audited(verbEvidenceExport) != 0 {
				t.Errorf("%s: the audit does not tell", name)
			}
		}
	}
}

func TestExportOfNothing(t *testing.T) {
	t.Parallel()
	c := newCase(t)
	if code, _, errs := c.run("evidence", "export", "none", "--to", filepath.Join(t.TempDir(), "out")); code != 1 || !strings.Contains(errs, "no such recording") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := command(t, "evidence", "verify", t.TempDir()); code != 2 || !strings.Contains(errs, "there is no export") {
		t.Errorf("%d %s", code, errs)
	}
}
