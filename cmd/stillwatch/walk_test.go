package main

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/testkit"
)

// TestWalk walks through the API of a running program with curl, and checks
// what the webhooks bring on the way, plain and compressed.
func TestWalk(t *testing.T) {
	for _, tool := range []string{"curl", "jq", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: run make setup-test", tool)
		}
	}
	hook := newReceiver(t)
	r := startRig(t)
	cmd := exec.CommandContext(t.Context(), "testdata/walk.sh")
	cmd.Env = append(os.Environ(), "URL="+r.URL(), "KEY="+r.Auth().Key(), "SECRET="+r.cred.APISecret, "HOOK="+hook.url)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("the walk ended early: %v", err)
	}
	// The trial of the hook came compressed, what was caused before it plain.
	testkit.Eventually(t, 30*time.Second, func() bool { return len(hook.of("call.deleted")) > 0 || len(hook.compressed()) > 1 }, "the walk's last event")
	plain := len(hook.all()) - len(hook.compressed())
	if plain < 5 || len(hook.compressed()) < 1 {
		t.Errorf("%d webhooks plain, %d compressed", plain, len(hook.compressed()))
	}
	for _, d := range hook.all() {
		body := unpacked(t, d.body)
		mac := hmac.New(sha256.New, []byte(r.cred.APISecret))
		mac.Write(body)
		if hex.EncodeToString(mac.Sum(nil)) != d.sig {
			t.Errorf("the signature %s is not that of %s", d.sig, body)
		}
		var ev struct {
			Type      string    `json:"type"`
			CreatedAt time.Time `json:"created_at"`
		}
		if err := json.Unmarshal(body, &ev); err != nil || ev.Type == "" || ev.CreatedAt.IsZero() || d.id == "" {
			t.Errorf("webhook %q: %v: %s", d.id, err, body)
		}
	}
}

// all returns every delivery so far.
func (r *receiver) all() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]arrival(nil), r.got...)
}

var gzipMagic = []byte{0x1f, 0x8b}

func (r *receiver) compressed() []arrival {
	var out []arrival
	for _, d := range r.all() {
		if bytes.HasPrefix(d.body, gzipMagic) {
			out = append(out, d)
		}
	}
	return out
}

// unpacked does what receivers do: what begins like gzip is gzip.
func unpacked(t *testing.T, body []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(body, gzipMagic) {
		return body
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The walk is for people too: what it needs stands at its top.
func TestWalkSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "bash", "testdata/walk.sh").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "URL") {
		t.Errorf("without settings: %v: %s", err, out)
	}
}
