package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"
)

// killRig is a server in a process of its own, with participants that come
// back when the connection breaks, as browsers do.
type killRig struct {
	*childServer
	t    *testing.T
	hook *receiver
}

func newKillRig(t *testing.T) *killRig {
	t.Helper()
	hook := newReceiver(t)
	dir := t.TempDir()
	s, err := newServer(settings(t, dir), dir, hook.url)
	if err != nil {
		t.Fatal(err)
	}
	k := &killRig{childServer: s, t: t, hook: hook}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("server log:\n%s", s.tail())
		}
	})
	k.launch()
	return k
}

func (k *killRig) launch() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 30*time.Second)
	defer cancel()
	if err := k.start(ctx); err != nil {
		k.t.Fatal(err)
	}
}

func (k *killRig) token(user string) string {
	return k.auth.UserToken(auth.UserClaims{UserID: user, ExpiresAt: time.Now().Add(time.Hour)})
}

// persist publishes until the test ends, joining again whenever the
// connection breaks, or until the server refuses.
func (k *killRig) persist(user, picture string) (refused <-chan struct{}) {
	k.t.Helper()
	c := clip(k.t, picture, event.VP8)
	ctx, cancel := context.WithCancel(context.WithoutCancel(k.t.Context()))
	var wg sync.WaitGroup
	k.t.Cleanup(func() { cancel(); wg.Wait() })
	out := make(chan struct{})
	wg.Go(func() {
		for ctx.Err() == nil {
			p := synthetic.NewPublisher(synthetic.PublisherConfig{URL: k.url + "/whip/default/kill", Token: k.token(user), Clip: c})
			err := p.Start(ctx)
			var r *synthetic.Refusal
			if errors.As(err, &r) && r.Status == http.StatusForbidden {
				p.Close()
				close(out)
				return
			}
			if err == nil {
				select {
				case <-p.Gone():
				case <-ctx.Done():
				}
			}
			p.Close()
			_ = sleep(ctx, 200*time.Millisecond) // the next round sees that ctx has ended
		}
	})
	return out
}

// awaitFrames waits for n more frame events and returns how long they took.
func (k *killRig) awaitFrames(n int, within time.Duration) time.Duration {
	k.t.Helper()
	start, before := time.Now(), len(k.hook.of(event.CallFrameRecordingReady))
	testkit.Eventually(k.t, within, func() bool { return len(k.hook.of(event.CallFrameRecordingReady)) >= before+n }, fmt.Sprintf("%d more frames", n))
	return time.Since(start)
}

// children lists the server's child processes whose command line holds word.
func (k *killRig) children(word string) []int {
	var out []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		rest := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if rest[1] == strconv.Itoa(k.cmd.Process.Pid) && strings.Contains(string(line), word) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			out = append(out, pid)
		}
	}
	return out
}

func (k *killRig) ban(user string) {
	k.t.Helper()
	if err := k.call("POST", "/api/v2/moderation/ban", fmt.Sprintf(`{"target_user_id":%q,"banned_by_id":"mo","reason":"test"}`, user)); err != nil {
		k.t.Fatal(err)
	}
}

// awaitBans waits until each user's ban has reached the receiver, and checks
// that whoever arrived more than once did so under one event id.
func (k *killRig) awaitBans(users ...string) {
	k.t.Helper()
	ids := map[string]map[string]bool{}
	testkit.Eventually(k.t, 30*time.Second, func() bool {
		clear(ids)
		for _, d := range k.hook.of(event.UserBanned) {
			for _, u := range users {
				if strings.Contains(string(d.body), `"id":"`+u+`"`) {
					if ids[u] == nil {
						ids[u] = map[string]bool{}
					}
					ids[u][d.id] = true
				}
			}
		}
		return len(ids) == len(users)
	}, "every ban arrives")
	for u, seen := range ids {
		if len(seen) != 1 {
			k.t.Errorf("the ban of %s arrived under %d event ids", u, len(seen))
		}
	}
}

func TestKilledServerLosesNoDecision(t *testing.T) {
	k := newKillRig(t)
	k.persist("ada", "neutral")
	eve := k.persist("eve", "porn")
	k.awaitFrames(2, 30*time.Second)
	var users []string
	for i := range 20 {
		users = append(users, fmt.Sprintf("user-%d", i))
		k.ban(users[i])
	}
	killed := time.Now()
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-k.done
	for _, name := range []string{"redis-server", "__picture-worker"} {
		testkit.Eventually(t, 5*time.Second, func() bool { return len(k.children(name)) == 0 }, name+" ends with the server")
	}
	k.launch()
	up := time.Since(killed)
	k.awaitFrames(1, 10*time.Second-up)
	t.Logf("server killed: up again after %v, frames again after %v", up.Round(time.Millisecond), time.Since(killed).Round(time.Millisecond))
	k.awaitBans(users...)
	for _, u := range users {
		p := synthetic.NewPublisher(synthetic.PublisherConfig{URL: k.url + "/whip/default/kill", Token: k.token(u), Clip: clip(t, "neutral", event.VP8)})
		if err := p.Start(t.Context()); !isRefusal(err, http.StatusForbidden, "banned") {
			t.Errorf("%s, who was banned before the kill, joins: %v", u, err)
		}
		p.Close()
	}
	select {
	case <-eve:
	case <-time.After(60 * time.Second):
		t.Error("the offender was not banned after the kill")
	}
}

func TestKilledRedisLosesNoDecision(t *testing.T) {
	k := newKillRig(t)
	k.persist("ada", "neutral")
	k.awaitFrames(2, 30*time.Second)
	pids := k.children("redis-server")
	if len(pids) != 1 {
		t.Fatalf("redis-server children: %v", pids)
	}
	killed := time.Now()
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	k.ban("bob") // while there is no Redis
	k.awaitFrames(1, 10*time.Second-time.Since(killed))
	t.Logf("redis killed: frames again after %v", time.Since(killed).Round(time.Millisecond))
	k.awaitBans("bob")
	if now := k.children("redis-server"); len(now) != 1 || slices.Equal(now, pids) {
		t.Errorf("redis-server children after the kill: %v", now)
	}
}

func TestKilledDecoderCostsOneFrame(t *testing.T) {
	k := newKillRig(t)
	k.persist("ada", "neutral")
	k.persist("ben", "drawing")
	k.awaitFrames(4, 30*time.Second)
	pids := k.children("__picture-worker")
	if len(pids) == 0 {
		t.Fatal("there is no decoder child")
	}
	killed := time.Now()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	k.awaitFrames(4, 10*time.Second)
	t.Logf("%d decoders killed: four frames after %v", len(pids), time.Since(killed).Round(time.Millisecond))
	m, err := k.scrape()
	if err != nil {
		t.Fatal(err)
	}
	if lost := m["stillwatch_frames_missed_total"]; lost > float64(len(pids)) {
		t.Errorf("%v frames were lost to %d kills", lost, len(pids))
	}
	if crashes := m["stillwatch_picture_crashes_total"]; crashes != float64(len(pids)) {
		t.Errorf("%v crashes were counted, want %d", crashes, len(pids))
	}
}
