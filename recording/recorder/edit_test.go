package recorder

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// lasts is how long a file lasts, in seconds.
func lasts(t *testing.T, f db.RecordingFileRow) float64 {
	t.Helper()
	s, err := strconv.ParseFloat(f.Media.V.Format.Duration, 64)
	if err != nil {
		t.Fatalf("%s lasts %q", f.Filename, f.Media.V.Format.Duration)
	}
	return s
}

// movie makes a movie of a call that has one participant and lasts so long.
func (w *world) movie(id string, length time.Duration) db.RecordingFileRow {
	w.t.Helper()
	clip, tone := w.clip("neutral", event.VP8), w.tone(400)
	s := w.session(id, time.Now())
	s.play("ada", actor{clip: clip, tone: tone, to: length})
	s.end(length)
	var row db.RecordingRow
	w.eventually(func() bool {
		err := w.db.NewSelect().Model(&row).Where("session_id = ?", s.info.SessionID).Where("state = ?", db.RecordingReady).Scan(w.t.Context())
		return err == nil
	}, "a movie of "+id)
	return w.files(row.ID)[kindMovie][0]
}

// made waits for a run by its id, and returns its only movie.
func (w *world) made(id string) db.RecordingFileRow {
	w.t.Helper()
	w.eventually(func() bool {
		n, err := w.db.NewSelect().Model((*db.RecordingRow)(nil)).Where("id = ?", id).Where("state = ?", db.RecordingReady).Count(w.t.Context())
		return err == nil && n == 1
	}, "an edited movie")
	files := w.files(id)[kindMovie]
	if len(files) != 1 {
		w.t.Fatalf("%d movies", len(files))
	}
	return files[0]
}

func TestFilesAreJoinedAndCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	a := w.movie("edit", 2*time.Second)
	b := w.movie("edit", time.Second)
	// A later call of the same is recorded larger.
	w.plan.Quality = "480p"
	c := w.movie("edit", time.Second)
	other := w.movie("other", time.Second)
	w.gone()

	near := func(what string, f db.RecordingFileRow, want float64) {
		t.Helper()
		if got := lasts(t, f); got < want-0.09 || got > want+0.09 {
			t.Errorf("%s lasts %.3f s, want %.2f", what, got, want)
		}
	}
	wide := func(f db.RecordingFileRow) int { w, _ := size(f); return w }

	id, err := w.Desk().Splice(t.Context(), recording.SpliceOrder{CID: "default:edit", Files: []string{a.ID, b.ID}, Filename: "both parts"})
	if err != nil {
		t.Fatal(err)
	}
	joined := w.made(id)
	near("what was joined", joined, lasts(t, a)+lasts(t, b))
	if joined.Filename != "both_parts.mp4" || wide(joined) != wide(a) || !joined.StartedAt.Equal(a.StartedAt.Time) {
		t.Errorf("joined %+v", joined)
	}

	if id, err = w.Desk().Splice(t.Context(), recording.SpliceOrder{CID: "default:edit", Files: []string{b.ID, c.ID}}); err != nil {
		t.Fatal(err)
	}
	mixed := w.made(id)
	near("what was encoded anew", mixed, lasts(t, b)+lasts(t, c))
	if wide(mixed) != wide(b) || wide(b) == wide(c) {
		t.Errorf("%d wide, of %d and %d", wide(mixed), wide(b), wide(c))
	}

	if id, err = w.Desk().Trim(t.Context(), recording.TrimOrder{File: a.ID, From: 480 * time.Millisecond, To: 1520 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	clip := w.made(id)
	if got := lasts(t, clip); got < 1.0 || got > 1.08 {
		t.Errorf("the clip lasts %.3f s, want 1.04", got)
	}
	if !clip.StartedAt.Equal(a.StartedAt.Add(480 * time.Millisecond)) {
		t.Errorf("the clip begins at %s of %s", clip.StartedAt, a.StartedAt)
	}

	// A clip has other parameters than the movie it is of, though its size is the
	// same.
	for _, files := range [][]string{{a.ID, clip.ID}, {clip.ID, a.ID}} {
		if id, err = w.Desk().Splice(t.Context(), recording.SpliceOrder{CID: "default:edit", Files: files}); err != nil {
			t.Fatal(err)
		}
		both := w.made(id)
		near("a movie and its clip", both, lasts(t, a)+lasts(t, clip))
		if got := both.EndedAt.Sub(both.StartedAt.Time).Seconds(); got < lasts(t, a)+lasts(t, clip)-0.2 || got > lasts(t, a)+lasts(t, clip)+0.2 {
			t.Errorf("the row says %.2f s", got)
		}
		if n := pictures(t, w.path(both.ObjectKey)); n < 70 || n > 80 {
			t.Errorf("%d pictures can be decoded, want those of 3 s", n)
		}
	}

	// Orders that make no sense.
	var field *recording.FieldError
	if _, err := w.Desk().Splice(t.Context(), recording.SpliceOrder{CID: "default:edit", Files: []string{a.ID, other.ID}}); !errors.As(err, &field) {
		t.Errorf("files of two calls: %v", err)
	}
	if _, err := w.Desk().Splice(t.Context(), recording.SpliceOrder{CID: "default:edit", Files: []string{a.ID, "nothing"}}); !errors.Is(err, recording.ErrUnknown) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := w.Desk().Trim(t.Context(), recording.TrimOrder{File: a.ID, From: time.Minute, To: 2 * time.Minute}); !errors.As(err, &field) {
		t.Errorf("a clip from behind the end: %v", err)
	}
	if _, err := w.db.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("encrypted = 1").Where("id = ?", b.ID).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Desk().Splice(t.Context(), recording.SpliceOrder{CID: "default:edit", Files: []string{a.ID, b.ID}}); !errors.As(err, &field) {
		t.Errorf("an encrypted file: %v", err)
	}
}

// pictures counts what a decoder makes of a file, and fails on any complaint.
func pictures(t testing.TB, path string) int {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "warning", "-xerror", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framecrc", "-").CombinedOutput()
	n := 0
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	if err != nil || n == 0 {
		t.Errorf("%v\n%.500s", err, out)
	}
	return n
}
