package blob

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stillwatch/internal/testkit"
)

// connections counts this process's view of the open TCP connections to a
// port of 127.0.0.1 (proc_pid_net(5): remote address and state, in hex).
func connections(t *testing.T, port int) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	noErr(t, err)
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == fmt.Sprintf("0100007F:%04X", port) && f[3] == "01" {
			n++
		}
	}
	return n
}

func TestCloseHangsUp(t *testing.T) {
	t.Parallel()
	s3 := testkit.MinIO(t)
	at, err := url.Parse(s3.Endpoint)
	noErr(t, err)
	port, err := strconv.Atoi(at.Port())
	noErr(t, err)
	testkit.Eventually(t, 30*time.Second, func() bool { return connections(t, port) == 0 }, "nobody else is connected")
	s, err := Open(t.Context(), Config{URL: s3.URL(), AccessKey: s3.AccessKey, SecretKey: s3.SecretKey, Key: testKey})
	noErr(t, err)
	noErr(t, s.Put(t.Context(), "a.jpg", []byte("x"), ""))
	if connections(t, port) == 0 {
		t.Error("no connection was kept for the next request")
	}
	noErr(t, s.Close())
	testkit.Eventually(t, 30*time.Second, func() bool { return connections(t, port) == 0 }, "no connection is left")
}

// Google's library looks for credentials in the file of this variable first,
// and in the end asks the cloud's metadata service: if not for the one, then
// not for the other.
func TestGoogleStorageLooksForNoOtherCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.json")
	noErr(t, os.WriteFile(file, []byte("{}"), 0o600))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	noErr(t, err)
	defer unix.Close(watch)
	_, err = unix.InotifyAddWatch(watch, file, unix.IN_OPEN)
	noErr(t, err)
	ctx, e := newFakeGCS(t).external()
	noErr(t, openExternal(t, ctx, e).Put(t.Context(), "a.jpg", []byte("x"), ""))
	if _, err := unix.Read(watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("the machine's own credentials were opened: %v", err)
	}
}

func TestRedirectsKeepTheMethod(t *testing.T) {
	t.Parallel()
	via := []*http.Request{httptest.NewRequest(http.MethodPut, "https://bucket.s3.example/a", nil)}
	for status, follows := range map[int]bool{301: false, 302: false, 303: false, 307: true, 308: true} {
		for to, keeps := range map[string]bool{"https://bucket.s3.example/b": true, "https://bucket.elsewhere.example/a": false} {
			r := httptest.NewRequest(http.MethodPut, to, nil)
			r.Response = &http.Response{StatusCode: status}
			r.Header.Set("X-Amz-Security-Token", "secret")
			if err := sameMethod(r, via); (err == nil) != follows {
				t.Errorf("%d: %v", status, err)
			}
			if kept := r.Header.Get("X-Amz-Security-Token") != ""; follows && kept != keeps {
				t.Errorf("%s gets the token: %t", to, kept)
			}
		}
	}
	r := httptest.NewRequest(http.MethodPut, "https://bucket.s3.example/b", nil)
	r.Response = &http.Response{StatusCode: http.StatusTemporaryRedirect}
	if err := sameMethod(r, make([]*http.Request, maxRedirects)); !errors.Is(err, http.ErrUseLastResponse) {
		t.Errorf("without an end: %v", err)
	}
}
