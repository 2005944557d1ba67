package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/testkit"
	"stillwatch/web/api"
)

// listenAt brings the receiver up on an address that it had before.
func (r *receiver) listenAt(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
}

// hooksCLI runs `stillwatch hooks ...` against the server, as its operator
// would on the same machine.
func (s *childServer) hooksCLI(t *testing.T, out any, args ...string) string {
	t.Helper()
	for _, kv := range s.env {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "STILLWATCH_") {
			t.Setenv(name, value)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), func() {}, append([]string{"hooks"}, args...), &stdout, &stderr); code != 0 {
		t.Fatalf("hooks %v: exit %d: %s", args, code, stderr.String())
	}
	if out != nil {
		if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
			t.Fatalf("hooks %v: %v: %s", args, err, stdout.String())
		}
	}
	return stdout.String()
}

// TestHookEventsOutliveTheServer keeps the receiver down, bans, kills the
// server, and expects every ban once both are back.
func TestHookEventsOutliveTheServer(t *testing.T) {
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := newServer(settings(t, dir), dir, "http://"+addr+"/hook")
	if err != nil {
		t.Fatal(err)
	}
	k := &killRig{childServer: s, t: t, hook: &receiver{}}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("server log:\n%s", s.tail())
		}
	})
	k.launch()
	var users []string
	for i := range 20 {
		users = append(users, fmt.Sprintf("user-%d", i))
		k.ban(users[i])
		if i == 9 || i == 19 { // in the middle, and right behind the last
			if err := k.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-k.done
			k.launch()
		}
	}
	health := func() api.HookHealth {
		var out api.HooksResponse
		s.hooksCLI(t, &out, "list", "--json")
		if len(out.Hooks) != 1 {
			t.Fatalf("hooks %+v", out.Hooks)
		}
		return out.Hooks[0]
	}
	testkit.Eventually(t, 30*time.Second, func() bool { h := health(); return h.Pending >= 20 && h.LastError != "" }, "every event waits for the receiver")
	k.hook.listenAt(t, addr)
	// What had two attempts already is due in five minutes: not waited for.
	var replayed api.ReplayResponse
	id := health().ID
	s.hooksCLI(t, &replayed, "replay", id, "--since", "1h", "--json")
	if replayed.Replayed < 20 {
		t.Errorf("%d events on their way", replayed.Replayed)
	}
	k.awaitBans(users...)
	testkit.Eventually(t, 30*time.Second, func() bool { return health().Pending == 0 })
	if text := s.hooksCLI(t, nil, "list"); !strings.Contains(text, "healthy") || !strings.Contains(text, addr) {
		t.Errorf("list shows %s", text)
	}
	var dead api.DeliveriesResponse
	if s.hooksCLI(t, &dead, "dead", id, "--json"); len(dead.Deliveries) != 0 {
		t.Errorf("given up: %+v", dead.Deliveries)
	}
	var trial api.TestHookResponse
	s.hooksCLI(t, &trial, "test", id, "--json")
	if !trial.Ok || !slices.ContainsFunc(k.hook.of("custom"), func(d arrival) bool { return d.id == trial.EventID }) {
		t.Errorf("test: %+v", trial)
	}
}

func TestHooksCommandNeedsTheServersKey(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STILLWATCH_DATA_DIR", dir)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), func() {}, []string{"hooks", "list"}, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "data.dir") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the command left %v in the data folder, %v", entries, err)
	}
	stderr.Reset()
	if code := run(t.Context(), func() {}, []string{"hooks", "replay", "x"}, &stdout, &stderr); code != 2 {
		t.Errorf("without what to replay: exit %d: %s", code, stderr.String())
	}
}
