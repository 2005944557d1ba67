package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording/raw"
	"stillwatch/recording/stream"
)

func TestRecordingsReceiveTakesAStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("the secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	_ = free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, lines := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, func() {}, []string{"recordings", "receive", "--listen", at, "--out", filepath.Join(dir, "in"), "--secret-file", secret, "--json"}, lines, io.Discard)
		_ = lines.Close()
	}()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	s := stream.New(stream.Config{
		URL: "http://" + at + "/", Client: &http.Client{Transport: transport}, Secret: "the secret", FirstPause: 10 * time.Millisecond,
		Header: stream.Header{RecordingID: "run-1", CallCID: "default:abc", StartedAt: time.Now()},
		Failed: func(err error) { t.Errorf("failed: %v", err) },
	})
	s.Start(t.Context())
	defer s.Close()
	s.Note(raw.Entry{Kind: raw.Joined, UserID: "ann", UserSessionID: "us"})
	s.Track(raw.StreamInfo{ID: "v", UserID: "ann", Type: event.TrackVideo, MimeType: "video/VP8"}).Write([]byte("a packet of ann's"), false, time.Now())
	s.End(stream.Stopped, time.Now())
	var types []string
	var last uint64
	for in := bufio.NewScanner(out); in.Scan(); {
		var r stream.Report
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", in.Text(), err)
		}
		if types = append(types, r.Type); r.Type == "end" {
			break
		}
		if r.Event != nil {
			if r.Sequence <= last {
				t.Errorf("number %d after %d: %s", r.Sequence, last, in.Text())
			}
			last = r.Sequence
		}
	}
	s.Wait()
	cancel()
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if got := <-code; got != 0 || strings.Join(types, " ") != "connected joined added end" {
		t.Errorf("exit %d, told of %v", got, types)
	}
	f, err := stream.Open(filepath.Join(dir, "in", "run-1"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for rec, err := range f.Records() {
		if err != nil {
			t.Fatal(err)
		}
		found = found || string(rec.Data) == "a packet of ann's"
	}
	if !found {
		t.Error("the packet is not in the folder")
	}
}
