package stream

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/testkit"
	"stillwatch/recording/raw"
)

// comeAndGo lets a camera send something.
func comeAndGo(t *testing.T, s *Sender, n int) {
	t.Helper()
	info := camera(fmt.Sprint(n))
	s.Track(info).Write(packet(t, n, 100, -1), false, started)
	s.Note(raw.Entry{Kind: raw.Removed, TrackID: info.TrackID})
}

// A sender forgets streams that ended, over one connection and over none.
func TestSenderForgetsStreams(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := begin(t, h.URL, func(c *Config) { c.Resend = 1 })
	held := func() (tracks, bytes int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.tracks), s.q.held
	}
	for n := range 20 {
		comeAndGo(t, s, n)
		testkit.Eventually(t, time.Minute, func() bool { _, b := held(); return b == 0 }, "it is sent")
		if tracks, _ := held(); tracks > 2 {
			t.Fatalf("%d streams are known after %d", tracks, n)
		}
	}
	s.End(Ended, started)
	s.Wait()

	s = New(Config{Header: testHeader(), Queue: 1 << 10})
	for n := range maxStreams + 100 {
		comeAndGo(t, s, n)
	}
	if len(s.tracks) != maxStreams || s.ended != maxStreams {
		t.Errorf("%d streams are known, of which %d ended", len(s.tracks), s.ended)
	}
}

// Of a stream with more tracks than can be taken the others are taken.
func TestUnpackTakesSoManyStreams(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var records [][]byte
	for n := range maxStreams + 10 {
		records = append(records, appendNumbered(nil, KindEvent, uint64(n+1),
			fmt.Appendf(nil, `{"kind":"added","number":%d,"stream":{"id":"s%d","track_id":"t%d","type":"audio","mime_type":"audio/opus","clock_rate":48000}}`, n+1, n, n)))
	}
	if err := os.WriteFile(filepath.Join(dir, fileName(1)), connectionOf(t, 1, records...), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	u, err := f.Unpack(t.Context(), t.TempDir()+"/raw", raw.NewKey(), f.Header().Session())
	if err != nil || len(u.Tracks) != maxStreams || len(u.Problems) != 2 || !strings.Contains(u.Problems[0], "left out") {
		t.Errorf("%d streams, problems %q, %v", len(u.Tracks), u.Problems, err)
	}
}
