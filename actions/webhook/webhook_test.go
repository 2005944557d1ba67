package webhook

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stillwatch/actions/delivery"
	"stillwatch/internal/netguard"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func send(t *testing.T, url string, plain Doer) delivery.Result {
	t.Helper()
	client := netguard.New(netguard.Config{Allow: loopback})
	t.Cleanup(func() { _ = client.Close() })
	if plain == nil {
		plain = client
	}
	return sendBy(t, New(Config{Client: client, Plain: plain, APISecret: "s"}), url)
}

func sendBy(t *testing.T, tr *Transport, url string) delivery.Result {
	t.Helper()
	return tr.Send(t.Context(), delivery.Hook{URL: url}, delivery.Message{EventID: "e", Attempt: 1, Body: []byte("{}")})
}

func TestWhatStatusesMean(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]delivery.Result{
		200: {}, 204: {}, 299: {}, 301: {}, 308: {}, 400: {}, 410: {Gone: true}, 500: {}, 503: {},
		429: {Throttled: true}, 502: {Throttled: true}, 504: {Throttled: true},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}))
		got := send(t, srv.URL, nil)
		srv.Close()
		if got.Status != status || got.Gone != want.Gone || got.Throttled != want.Throttled || got.OK() != (status/100 == 2) {
			t.Errorf("%d: %+v", status, got)
		}
	}
}

func TestTheBeginningOfTheAnswerIsKept(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("x", 100_000)))
	}))
	defer srv.Close()
	if got := send(t, srv.URL, nil); len(got.Response) != delivery.MaxResponse || !got.OK() {
		t.Errorf("kept %d bytes of %d", len(got.Response), got.Status)
	}
}

func TestPlainHTTPGoesToAllowedRangesOnly(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	strict := netguard.New(netguard.Config{AllowOnly: true, Allow: loopback})
	defer strict.Close()
	if got := send(t, srv.URL, strict); !got.OK() {
		t.Errorf("within an allowed range: %+v", got)
	}
	if got := send(t, "http://203.1.113.1/", strict); !got.Held || got.Err == nil || !strings.Contains(got.Err.Error(), "plain http") {
		t.Errorf("to a public address: %+v", got)
	}
	if err := strict.Check("http://8.8.8.8/"); err == nil {
		t.Error("a public address was let in")
	}
	secure := netguard.New(netguard.Config{})
	defer secure.Close()
	if got := sendBy(t, New(Config{Client: secure}), srv.URL); !got.Held || got.OK() {
		t.Errorf("without a client for http: %+v", got)
	}
}

func TestErrorsDoNotQuoteTheAddress(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://bad host/?token=hidden", "http://[::1/?token=hidden", "https://x\x00/hidden"} {
		if got := send(t, url, nil); got.Err == nil || strings.Contains(got.Err.Error(), "hidden") {
			t.Errorf("%q: %v", url, got.Err)
		}
	}
}

func TestAnAnswerThatDripsEndsWithTheTimeout(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("."))
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	client := netguard.New(netguard.Config{Allow: loopback})
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	got := New(Config{Client: client, Plain: client}).Send(ctx, delivery.Hook{URL: srv.URL}, delivery.Message{EventID: "e", Body: []byte("{}")})
	if got.Status != http.StatusOK || string(got.Response) != "." {
		t.Errorf("%+v", got)
	}
}

// TestAReceiverMayCloseIdleConnections: one that hangs up after each answer,
// as many do after some seconds, has no failed attempts for it.
func TestAReceiverMayCloseIdleConnections(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go answerOnce(conn)
		}
	}()
	client := netguard.New(netguard.Config{Allow: loopback})
	t.Cleanup(func() { _ = client.Close() })
	tr := New(Config{Client: client, Plain: client})
	for i := range 200 {
		if got := sendBy(t, tr, "http://"+ln.Addr().String()); !got.OK() {
			t.Fatalf("event %d: %+v", i, got)
		}
	}
}

// answerOnce takes one request, and closes without having said that it would.
func answerOnce(conn net.Conn) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	if _, sent := r.Header["X-Idempotency-Key"]; sent {
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}
