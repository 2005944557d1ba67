package recorder

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/recording"
)

// keptLog is a log that a test can read.
type keptLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *keptLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// lines are those that hold all parts.
func (l *keptLog) lines(parts ...string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			out = append(out, line)
		}
	}
	return out
}

// TestTheLogTellsEachStep by call, user and file, and holds no secret.
func TestTheLogTellsEachStep(t *testing.T) {
	t.Parallel()
	log := &keptLog{}
	key := publicKey(t)
	w := newWorld(t, func(p *recording.Plan) {
		p.Individual, p.EncryptTo, p.Filename = recording.ModeAutoOn, key, "{{date}}/{{userid}}-{{uuid}}"
	}, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	w.short("told").end(2 * time.Second)
	run := w.until("default:told", db.RecordingReady, 6*time.Minute)
	w.plan.EncryptTo, w.plan.Filename = "", ""
	w.plan.Individual, w.plan.Composite = recording.ModeDisabled, recording.ModeAutoOn
	w.short("plain").end(2 * time.Second)
	w.until("default:plain", db.RecordingReady, 6*time.Minute)
	w.idle()
	for _, want := range []struct {
		n     int
		parts []string
	}{
		{1, []string{"level=INFO", "files are named by template", "default:told", "template={{date}}/{{userid}}-{{uuid}}"}},
		{1, []string{"level=INFO", "files are named by template", "default:plain", "template=recording-{{confbridgeid}}-{{uuid}}"}},
		{1, []string{"level=DEBUG", "file encryption is enabled", "default:told"}},
		{1, []string{"level=DEBUG", "file encryption is disabled", "default:plain"}},
		{1, []string{"level=DEBUG", "msg=processing", "default:told", "user=ada", "track=TRACK_TYPE_VIDEO"}},
		{1, []string{"level=DEBUG", "msg=processing", "default:told", "user=ben", "track=TRACK_TYPE_VIDEO"}},
		{1, []string{"level=DEBUG", "msg=processing", "default:told", "user=ben", "track=TRACK_TYPE_AUDIO"}},
		{1, []string{"level=DEBUG", "msg=processing", "default:plain", "user=ada", "track=TRACK_TYPE_AUDIO"}},
		{1, []string{"level=DEBUG", "storing file", "default:told", "/ada-" + run.ID + ".webm.gpg", "encrypted=true"}},
		{1, []string{"level=DEBUG", "storing file", "default:told", "/ben-" + run.ID + ".mp4.gpg", "encrypted=true"}},
		{1, []string{"level=DEBUG", "storing file", "default:plain", ".mp4", "encrypted=false"}},
	} {
		if got := log.lines(want.parts...); len(got) != want.n {
			t.Errorf("%d lines have %q, want %d", len(got), want.parts, want.n)
		}
	}
	body := strings.Split(key, "\n")[3] // of the key's text
	for _, secret := range []string{strings.Repeat("k", 16), body, "sig="} {
		if got := log.lines(secret); len(got) > 0 {
			t.Errorf("the log tells %q: %s", secret, got[0])
		}
	}
}
