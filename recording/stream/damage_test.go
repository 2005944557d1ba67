package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/testkit"
	"stillwatch/recording/raw"
)

// rtpRecord is a packet of stream 1, framed.
func rtpRecord(seq uint64) []byte {
	b := append(binary.BigEndian.AppendUint64(nil, seq), make([]byte, 12)...)
	b[len(b)-1] = 1
	return appendRecord(nil, KindRTP, append(b, "a packet"...))
}

// connectionOf is the signed body of a connection.
func connectionOf(t testing.TB, number int, records ...[]byte) []byte {
	t.Helper()
	h := testHeader()
	h.Connection = number
	b := body(t, h, records...)
	return append(b, signing(b)...)
}

// After a power failure a file may end in zeros, or be all zeros: the receiver
// goes on, and what is missing is told of.
func TestReceiverGoesOnAfterAPowerFailure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zero    func(b []byte) // changes the first connection's file
		missing uint64
	}{
		"its tail":   {func(b []byte) { clear(b[len(b)-100:]) }, 2},
		"its header": {func(b []byte) { clear(b[len(Magic):]) }, 0},
		"all of it":  {func(b []byte) { clear(b) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := receive(t, nil)
			var records [][]byte
			for seq := range uint64(4) {
				records = append(records, rtpRecord(seq+1))
			}
			if got := post(t, h, connectionOf(t, 1, records...), nil); got != http.StatusRequestTimeout {
				t.Fatalf("answered %d", got)
			}
			path := filepath.Join(h.dir, "run-1", fileName(1))
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c.zero(b)
			if err := errors.Join(os.WriteFile(path, b, 0o600), os.WriteFile(filepath.Join(h.dir, "run-1", fileName(2)), make([]byte, 4096), 0o600)); err != nil {
				t.Fatal(err)
			}
			h.Config.Handler = NewReceiver(h.r.cfg) // another process
			end := appendRecord(nil, KindEnd, []byte(`{"reason":"ended"}`))
			if got := post(t, h, connectionOf(t, 3, rtpRecord(5), end), nil); got != http.StatusOK {
				t.Fatalf("it goes on with %d", got)
			}
			f, err := Open(h.dir + "/run-1")
			if err != nil {
				t.Fatal(err)
			}
			u, err := f.Unpack(t.Context(), t.TempDir()+"/raw", raw.NewKey(), f.Header().Session())
			if err != nil || !u.Whole || u.Missing != c.missing {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
}

// A state that is larger than what a receiver takes unsigned is signed in parts.
func TestLargeStatesAreSignedInParts(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := New(Config{
		URL: h.URL, Client: guarded(t), Secret: secret, Header: testHeader(), Queue: 64 << 10, Log: logger(t),
		Failed: func(err error) { t.Errorf("failed: %v", err) },
	})
	const size = 32 << 10
	for n := range maxUnsigned/size + 10 {
		s.Note(raw.Entry{Kind: raw.Joined, UserSessionID: string(rune('A' + n)), Name: strings.Repeat("n", size)})
	}
	s.connection, s.sent = 1, 1 // a connection that goes on tells the state
	s.Start(t.Context())
	t.Cleanup(func() { _ = s.Close() })
	s.End(Ended, started)
	s.Wait()
	if h.count("end") != 1 || s.cfg.Counts.Connections.Load() != 1 {
		t.Errorf("%d ends in %d connections", h.count("end"), s.cfg.Counts.Connections.Load())
	}
}

func TestReceiverGoesOnAfterItsRestart(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := begin(t, h.URL, func(c *Config) { c.EndWithin = time.Minute })
	v := s.Track(camera("ann"))
	for n := range 200 {
		v.Write(packet(t, n, 100, -1), false, started.Add(time.Duration(n)*time.Millisecond))
	}
	testkit.Eventually(t, time.Minute, func() bool {
		f, err := Open(h.dir + "/run-1")
		if err != nil {
			return false
		}
		n := 0
		for range f.Records() {
			n++
		}
		return n >= 200
	}, "packets are on disk")
	// Another process on the same folder takes the place of the first.
	next := NewReceiver(ReceiverConfig{Dir: h.dir, Secret: secret, Log: logger(t), Notice: h.r.cfg.Notice})
	h.Config.Handler = next
	h.CloseClientConnections()
	for n := range 200 {
		v.Write(packet(t, 200+n, 100, -1), false, started.Add(time.Duration(200+n)*time.Millisecond))
	}
	s.End(Ended, started.Add(time.Second))
	s.Wait()
	n := 0
	for _, rec := range all(t, h.dir+"/run-1") {
		if rec.Kind == KindRTP {
			if !bytes.Equal(rec.Data, packet(t, n, 100, -1)) {
				t.Fatalf("packet %d is another", n)
			}
			n++
		}
	}
	if n != 400 || h.count("end") != 1 {
		t.Errorf("%d packets, %d ends", n, h.count("end"))
	}
}
