package recorder

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/recording"
)

// keyring makes a key of gpg's, and returns how to call it and the public part.
func keyring(t *testing.T) (gpg func(args ...string) []byte, key string) {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("gpg is not installed")
	}
	home, err := os.MkdirTemp("", "gpg") // sockets of its agent have short names only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	gpg = func(args ...string) []byte {
		t.Helper()
		var stderr bytes.Buffer
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--quiet", "--batch", "--passphrase", ""}, args...)...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v: %s", args, err, &stderr)
		}
		return out
	}
	gpg("--quick-gen-key", "archive <archive@example.test>", "future-default", "default", "never")
	return gpg, string(gpg("--armor", "--export"))
}

// plaintext lists the files that hold a movie, a picture, sound or metadata. In
// sealed packets three bytes that look like a picture come by chance.
func (w *world) plaintext() (left []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), "x.db") || filepath.Ext(path) == ".rtp" {
			return err
		}
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if readable(text) {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	return left
}

func readable(b []byte) bool {
	for _, mark := range []string{"ftypisom", "\xff\xd8\xff", "\"videos\"", "RIFF", "nut/multimedia"} {
		if bytes.Contains(b, []byte(mark)) {
			return true
		}
	}
	return false
}

func TestEncryptedRecordingsLeaveNoPlaintext(t *testing.T) {
	t.Parallel()
	gpg, key := keyring(t)
	w := newWorld(t, func(p *recording.Plan) {
		oneMovie(p)
		p.EncryptTo, p.Filename = key, "vault/{{call_id}}/{{date}}-{{uuid}}"
	})
	w.short("sealed").end(2 * time.Second)
	run := w.until("default:sealed", db.RecordingReady, 4*time.Minute)
	w.gone()
	files := w.files(run.ID)
	movie := files[kindMovie][0]
	if want := "vault/sealed/" + movie.StartedAt.UTC().Format("20060102") + "-" + run.ID + ".mp4.gpg"; movie.ObjectKey != want || !bool(movie.Encrypted) {
		t.Errorf("the movie is %s, want %s", movie.ObjectKey, want)
	}
	plain := gpg("--decrypt", w.path(movie.ObjectKey))
	path := filepath.Join(t.TempDir(), "plain.mp4")
	if err := os.WriteFile(path, plain, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("what was decrypted does not play: %v\n%s", err, out)
	}
	if left := w.plaintext(); len(left) > 0 {
		t.Errorf("plaintext is left in %v", left)
	}
}

// pushedFiles are the files of a stream to a destination, by name. See
// recording/archive/push.go.
func pushedFiles(t *testing.T, body []byte) map[string][]byte {
	t.Helper()
	out, names := map[string][]byte{}, map[uint16]string{}
	for at := 8; at+7 <= len(body); {
		kind, n := body[at], binary.BigEndian.Uint16(body[at+1:])
		payload := body[at+7 : at+7+int(binary.BigEndian.Uint32(body[at+3:]))]
		at += 7 + len(payload)
		switch {
		case kind == 'M' && n > 0:
			var about struct{ Name string }
			if err := json.Unmarshal(payload, &about); err != nil {
				t.Fatal(err)
			}
			names[n] = about.Name
		case kind == 'D':
			out[names[n]] = append(out[names[n]], payload...)
		}
	}
	return out
}

func TestWhatIsEncryptedGoesEncryptedToTheDestination(t *testing.T) {
	t.Parallel()
	gpg, key := keyring(t)
	bodies := make(chan []byte, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bodies <- body; len(bodies) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable) // so that it comes twice
		}
	}))
	defer srv.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	w := newWorld(t, func(p *recording.Plan) {
		oneMovie(p)
		p.EncryptTo, p.Destination = key, srv.URL
	}, func(c *Config) { c.Client = &http.Client{Transport: transport} })
	w.short("vault").end(2 * time.Second)
	run := w.until("default:vault", db.RecordingReady, 4*time.Minute)
	first, second := <-bodies, <-bodies
	if !bytes.Equal(first, second) {
		t.Error("another try sent something else")
	}
	if readable(first) {
		t.Error("there is plaintext in what was sent")
	}
	w.nothingElse(run.ID)
	files := pushedFiles(t, first)
	movie := w.files(run.ID)[kindMovie][0]
	got := files[movie.Filename]
	stored, err := os.ReadFile(w.path(movie.ObjectKey))
	if err != nil || !bytes.Equal(got, stored) {
		t.Fatalf("%d bytes of the movie arrived, %d are stored; %v", len(got), len(stored), err)
	}
	path := filepath.Join(t.TempDir(), "movie.gpg")
	if err := os.WriteFile(path, got, 0o600); err != nil {
		t.Fatal(err)
	}
	if plain := gpg("--decrypt", path); !bytes.Contains(plain, []byte("ftypisom")) {
		t.Errorf("%d bytes were decrypted, and are no movie", len(plain))
	}
}

// nothingElse looks for objects that no file of the run names.
func (w *world) nothingElse(runID string) {
	w.t.Helper()
	known := map[string]bool{}
	for _, files := range w.files(runID) {
		for _, f := range files {
			for _, item := range f.Items.V {
				known[w.path(item.Key)] = true
			}
		}
	}
	err := filepath.WalkDir(w.path(""), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !known[path] {
			w.t.Errorf("%s is nobody's", path)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

func TestAnEncryptedRecordingThatFailsLeavesNoPlaintext(t *testing.T) {
	t.Parallel()
	_, key := keyring(t)
	w := newWorld(t, func(p *recording.Plan) { oneMovie(p); p.EncryptTo = key })
	w.objects.fail(func(string) error { return answer(http.StatusForbidden) })
	s := w.short("failed")
	s.end(2 * time.Second)
	run := w.until("default:failed", db.RecordingFailed, 6*time.Minute)
	w.eventually(func() bool { _, err := os.Stat(w.workDir(run.ID)); return os.IsNotExist(err) }, "what was made is gone")
	if left := w.plaintext(); len(left) > 0 {
		t.Errorf("plaintext is left in %v", left)
	}
	w.kept(s)
	// What a worker that came late has left goes as well.
	late := filepath.Join(w.workDir(run.ID), "movie0")
	if err := os.MkdirAll(late, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.sweepWork(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(late); !os.IsNotExist(err) {
		t.Errorf("a sweep leaves it: %v", err)
	}
	w.objects.fail(nil)
	if err := w.Desk().Retry(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	w.until("default:failed", db.RecordingReady, 4*time.Minute)
	if n := len(w.files(run.ID)[kindMovie]); n != 1 {
		t.Errorf("%d movies after another try", n)
	}
}
