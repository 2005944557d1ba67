package stream

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/internal/event"
	"stillwatch/internal/netguard"
	"stillwatch/internal/testkit"
	"stillwatch/recording/raw"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const secret = "a secret of the API"

var started = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testHeader() Header {
	return Header{
		RecordingID: "run-1", RecordingType: "raw", CallCID: "default:abc", CallType: "default", CallID: "abc", SessionID: "s1",
		StartedAt: started, RunStartedAt: started.Add(time.Second), Custom: map[string]any{"case": "17"},
	}
}

// guarded reaches this machine, as netguard.allow does.
func guarded(t testing.TB) *http.Client {
	t.Helper()
	c := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { _ = c.Close() })
	return c.HTTPClient()
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func logger(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(testLog{t}, nil)) }

// begin makes a sender to an address and starts it.
func begin(t testing.TB, url string, change func(c *Config)) *Sender {
	t.Helper()
	cfg := Config{
		URL: url, Client: guarded(t), Key: "key", Secret: secret, Header: testHeader(), Flush: time.Millisecond,
		FirstPause: time.Millisecond, LongestPause: 20 * time.Millisecond, EndWithin: time.Minute, Log: logger(t),
		Failed: func(err error) { t.Errorf("failed: %v", err) },
	}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg)
	s.Start(context.Background())
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// heard is a receiver's folder with what it was told.
type heard struct {
	*httptest.Server
	r   *Receiver
	dir string

	mu      sync.Mutex
	reports []Report
}

func receive(t testing.TB, change func(c *ReceiverConfig)) *heard {
	t.Helper()
	h := &heard{dir: t.TempDir()}
	cfg := ReceiverConfig{Dir: h.dir, Secret: secret, Log: logger(t), Notice: func(n Notice) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.reports = append(h.reports, n.Report())
	}}
	if change != nil {
		change(&cfg)
	}
	h.r = NewReceiver(cfg)
	h.Server = httptest.NewServer(h.r)
	t.Cleanup(h.Close)
	return h
}

func (h *heard) count(typ string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.reports {
		if r.Type == typ {
			n++
		}
	}
	return n
}

func camera(user string) raw.StreamInfo {
	return raw.StreamInfo{
		ID: user + "-v", TrackID: user + "-v", UserID: user, UserSessionID: "us-" + user, Type: event.TrackVideo, MimeType: "video/VP8", ClockRate: 90000,
	}
}

func microphone(user string) raw.StreamInfo {
	return raw.StreamInfo{
		ID: user + "-a", TrackID: user + "-a", UserID: user, UserSessionID: "us-" + user, Type: event.TrackAudio, MimeType: "audio/opus", ClockRate: 48000,
		Channels: 2, AudioLevelExtID: 3,
	}
}

// packet is one that says its number in its payload.
func packet(t testing.TB, n, size int, level int) []byte {
	t.Helper()
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: uint16(n), SSRC: 5}, Payload: bytes.Repeat([]byte(fmt.Sprintf("%08d", n)), size/8)}
	if level >= 0 {
		if err := p.SetExtension(3, []byte{byte(level)}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// all are the records of a folder.
func all(t testing.TB, dir string) (out []Record) {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range f.Records() {
		if err != nil {
			t.Fatal(err)
		}
		rec.Data, rec.Raw = bytes.Clone(rec.Data), nil
		out = append(out, rec)
	}
	return out
}

func TestStreamComesAsItWasSent(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	var counts Counts
	s := begin(t, h.URL, func(c *Config) { c.Counts = &counts })
	s.Note(raw.Entry{Kind: raw.Joined, UserID: "ann", UserSessionID: "us-ann", Name: "Ann", Role: "host", At: time.Second})
	s.Note(raw.Entry{Kind: raw.Flagged, UserID: "ann", Detail: "nobody's business"})
	v, a := s.Track(camera("ann")), s.Track(microphone("ann"))
	var want [][]byte
	for n := range 500 {
		b, to := packet(t, n, 1000, -1), v
		rtcp := n%50 == 0
		if n%3 == 0 {
			b, to = packet(t, n, 80, 20), a
		}
		to.Write(b, rtcp, started.Add(time.Duration(n)*10*time.Millisecond))
		want = append(want, b)
	}
	s.Note(raw.Entry{Kind: raw.Removed, TrackID: "ann-v", At: 5 * time.Second})
	v.Write(packet(t, 0, 8, -1), false, started.Add(5*time.Second)) // too late
	s.Note(raw.Entry{Kind: raw.Left, UserID: "ann", UserSessionID: "us-ann", At: 5 * time.Second})
	s.End(Ended, started.Add(6*time.Second))
	s.Note(raw.Entry{Kind: raw.Joined, UserID: "late"})
	s.Wait()
	if s.Close() != nil || counts.Packets.Load() != 500 || counts.Lost.Load() != 0 || counts.Connections.Load() != 1 || counts.Open.Load() != 0 {
		t.Errorf("counts: %d packets, %d lost, %d connections", counts.Packets.Load(), counts.Lost.Load(), counts.Connections.Load())
	}
	f, err := Open(h.dir + "/run-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Header(); got.CallCID != "default:abc" || got.Custom["case"] != "17" || got.Connection != 1 || got.Next != 1 || !got.StartedAt.Equal(started) {
		t.Errorf("header: %+v", got)
	}
	var n int
	var kinds []string
	var next uint64 = 1
	for _, rec := range all(t, h.dir+"/run-1") {
		if rec.Seq > 0 {
			if rec.Seq != next {
				t.Fatalf("number %d, want %d", rec.Seq, next)
			}
			next++
		}
		switch rec.Kind {
		case KindRTP, KindRTCP:
			if !bytes.Equal(rec.Data, want[n]) || rec.At != time.Duration(n)*10*time.Millisecond || rec.Number != 1 && n%3 != 0 || (rec.Kind == KindRTCP) != (n%50 == 0) {
				t.Fatalf("packet %d: %+v", n, rec)
			}
			n++
		case KindEvent:
			kinds = append(kinds, string(rec.Event.Kind)+" "+rec.Event.UserID) // each once: nothing was lost
		case KindEnd:
			if rec.End.Reason != Ended || rec.End.Packets != 500 || rec.End.Lost != 0 || rec.End.Last != next-1 || rec.End.At != 6*time.Second {
				t.Errorf("end: %+v", rec.End)
			}
		case KindGap:
			t.Errorf("gap: %+v", rec.Gap)
		case KindHeader, KindSignature:
		}
	}
	if n != 500 {
		t.Errorf("%d packets came", n)
	}
	if got := strings.Join(kinds, ", "); got != "joined ann, added ann, added ann, speaker ann, removed , speaker ann, left ann, speaker " {
		t.Errorf("events: %s", got)
	}
	if h.count("connected") != 1 || h.count("end") != 1 {
		t.Errorf("told of %+v", h.reports)
	}
}

// proxy lets connections through until it is told to break them.
type proxy struct {
	net.Listener
	to string

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: strings.TrimPrefix(to, "http://")}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		in, err := p.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			p.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}
}

// cut breaks all connections there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func TestStreamGoesOnAfterABreak(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	p := newProxy(t, h.URL)
	keyframes, counts := make(chan struct{}, 100), Counts{}
	s := begin(t, "http://"+p.Addr().String(), func(c *Config) {
		c.Counts, c.Keyframes = &counts, func() { keyframes <- struct{}{} }
	})
	s.Note(raw.Entry{Kind: raw.Joined, UserID: "ann", UserSessionID: "us-ann"})
	v := s.Track(camera("ann"))
	const each, rounds = 300, 5
	for round := range rounds {
		for n := range each {
			v.Write(packet(t, round*each+n, 1000, -1), false, started.Add(time.Duration(round*each+n)*time.Millisecond))
		}
		testkit.Eventually(t, time.Minute, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.q.held == 0
		}, "the queue is sent")
		if round < rounds-1 {
			p.cut()
			testkit.Eventually(t, time.Minute, func() bool { return h.count("connected") == round+2 }, "it connects again")
		}
	}
	s.End(Stopped, started.Add(time.Hour))
	s.Wait()
	n, states := 0, 0
	for _, rec := range all(t, h.dir+"/run-1") {
		if rec.Kind == KindRTP {
			if !bytes.Equal(rec.Data, packet(t, n, 1000, -1)) {
				t.Fatalf("packet %d is another", n)
			}
			n++
		}
		if rec.Kind == KindEvent && rec.Seq == 0 && rec.Event.Kind == raw.Added {
			states++
		}
		if rec.Kind == KindEnd && rec.End.Connections != rounds {
			t.Errorf("end: %+v", rec.End)
		}
	}
	// What a connection had in flight is sent again: nothing is missing. The
	// state is told with it where the beginning is too long ago to come again.
	later := 0
	for c := range rounds {
		file, in, err := openFile(filepath.Join(h.dir, "run-1", fileName(c+1)))
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		if in.Header().Next > 1 {
			later++
		}
	}
	if n != each*rounds || states < 1 || states > later || len(keyframes) == 0 {
		t.Errorf("%d packets came, the stream was told of %d times again on %d connections, %d keyframes", n, states, later, len(keyframes))
	}
}

// slow takes a little, and more when it is told to.
func slow(gate chan struct{}, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = gated{r.Body, gate}
		h.ServeHTTP(w, r)
	})
}

type gated struct {
	io.ReadCloser
	gate chan struct{}
}

func (g gated) Read(b []byte) (int, error) {
	<-g.gate
	return g.ReadCloser.Read(b)
}

func TestSlowReceiverMissesWhatItIsToldOf(t *testing.T) {
	t.Parallel()
	inner := receive(t, nil)
	gate := make(chan struct{})
	srv := httptest.NewServer(slow(gate, inner.r))
	t.Cleanup(srv.Close)
	const queue = 256 << 10
	s := begin(t, srv.URL, func(c *Config) { c.Queue, c.Stall = queue, time.Hour })
	v := s.Track(camera("ann"))
	var sent [][]byte
	most := 0
	write := func() {
		b := packet(t, len(sent), 1000, -1)
		v.Write(b, false, started.Add(time.Duration(len(sent))*time.Millisecond))
		sent = append(sent, b)
		s.mu.Lock()
		most = max(most, s.q.held)
		s.mu.Unlock()
	}
	for range 20_000 { // 20 MB, far beyond what the system holds of a connection
		write()
	}
	if s.cfg.Counts.Lost.Load() == 0 || most > queue {
		t.Fatalf("%d packets dropped, %d bytes held", s.cfg.Counts.Lost.Load(), most)
	}
	close(gate) // from now on all is read
	testkit.Eventually(t, time.Minute, func() bool { return inner.count("gap") > 0 }, "the gap is told of")
	for range 10 {
		write()
	}
	s.End(Ended, started.Add(time.Hour))
	s.Wait()
	var lost, dropped uint64
	n := 0
	for _, rec := range all(t, inner.dir+"/run-1") {
		switch rec.Kind {
		case KindRTP:
			if !bytes.Equal(rec.Data, sent[n]) {
				t.Fatalf("packet %d came as another", n)
			}
			n++
		case KindGap:
			g := rec.Gap
			if g.Packets == 0 || g.Last-g.First+1 != g.Packets+g.Events || g.To < g.From || g.Bytes < 1000*g.Packets {
				t.Errorf("gap: %+v", g)
			}
			n += int(g.Packets)
			dropped += g.Packets
		case KindEnd:
			lost = rec.End.Lost
		case KindHeader, KindEvent, KindRTCP, KindSignature:
		}
	}
	if n != len(sent) || lost != dropped || lost == 0 {
		t.Errorf("%d of %d packets came or were told of; the end says %d are lost, gaps %d", n, len(sent), lost, dropped)
	}
}

func TestReceiversThatRefuse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status  int
		refused bool
	}{"forbidden": {403, true}, "gone": {410, true}, "wants another": {415, true}, "moved": {302, true}, "is broken": {500, false}, "is busy": {429, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tries sync.Map
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tries.Store(r.RemoteAddr, true)
				_ = http.NewResponseController(w).EnableFullDuplex()
				w.Header().Set("Connection", "close")
				w.WriteHeader(c.status)
			}))
			t.Cleanup(srv.Close)
			failed := make(chan error, 10)
			s := begin(t, srv.URL, func(c *Config) {
				c.Failed, c.EndWithin = func(err error) { failed <- err }, 50*time.Millisecond
			})
			v := s.Track(camera("ann"))
			v.Write(packet(t, 1, 1000, -1), false, started)
			if !c.refused {
				testkit.Eventually(t, time.Minute, func() bool { return s.cfg.Counts.Connections.Load() >= 3 }, "it is tried again")
				s.End(Ended, started)
			}
			err := <-failed
			var e *Error
			if !errors.As(err, &e) || e.Refused != c.refused || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("failed with %v", err)
			}
			s.Wait()
			if len(failed) != 0 || c.refused && s.cfg.Counts.Connections.Load() != 1 {
				t.Errorf("told %d times more, after %d connections", len(failed), s.cfg.Counts.Connections.Load())
			}
			v.Write(packet(t, 1, 1000, -1), false, started)
			if s.q.held != 0 {
				t.Error("it still holds packets")
			}
		})
	}
}

func TestReceiverThatIsAwayIsToldOfOnce(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 10)
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // nobody listens there
	s := begin(t, srv.URL, func(c *Config) {
		c.Failed, c.TellAfter, c.EndWithin = func(err error) { failed <- err }, time.Millisecond, time.Millisecond
	})
	if err := <-failed; !strings.Contains(err.Error(), "away") {
		t.Errorf("failed with %v", err)
	}
	s.End(Ended, started)
	s.Wait()
	if len(failed) != 0 {
		t.Error("it is told of twice")
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 10)
	guard := netguard.New(netguard.Config{})
	t.Cleanup(func() { _ = guard.Close() })
	s := begin(t, "http://127.0.0.1:9/", func(c *Config) {
		c.Client, c.Failed = guard.HTTPClient(), func(err error) { failed <- err }
	})
	var e *Error
	var refused *netguard.RefusedError
	if err := <-failed; !errors.As(err, &e) || !e.Refused || !errors.As(err, &refused) {
		t.Errorf("failed with %v", err)
	}
	s.Wait()
	if guard.Stats().Refused != 1 {
		t.Errorf("%d refusals", guard.Stats().Refused)
	}
}

func TestReceiverAsksForTheSecret(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	failed := make(chan error, 1)
	s := begin(t, h.URL, func(c *Config) {
		c.Secret, c.Failed = "another", func(err error) { failed <- err }
	})
	s.Track(camera("ann")).Write(packet(t, 1, 1000, -1), false, started)
	if err := <-failed; !strings.Contains(err.Error(), "401") {
		t.Errorf("failed with %v", err)
	}
	if _, err := Open(h.dir + "/run-1"); err == nil {
		t.Error("it was stored")
	}
}

func TestClosedSenderLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	t.Cleanup(srv.Close)
	told := make(chan error, 1)
	s := begin(t, srv.URL, func(c *Config) { c.Failed = func(err error) { told <- err } })
	v := s.Track(camera("ann"))
	v.Write(packet(t, 1, 1000, -1), false, started)
	testkit.Eventually(t, time.Minute, func() bool { return s.cfg.Counts.Open.Load() == 1 }, "it is connected")
	if err := s.Close(); err != nil || s.Close() != nil {
		t.Fatal(err)
	}
	v.Write(packet(t, 1, 1000, -1), false, started)
	s.Note(raw.Entry{Kind: raw.Joined})
	s.End(Ended, started)
	if len(told) != 1 || s.q.held != 0 {
		t.Errorf("told %d times, %d bytes held", len(told), s.q.held)
	}
	idle := New(Config{Header: testHeader()})
	if idle.Close() != nil || !idle.over {
		t.Error("a sender that never began cannot be closed")
	}
}

// body is a connection's, made by hand.
func body(t testing.TB, h Header, records ...[]byte) []byte {
	t.Helper()
	s := New(Config{Header: h, Secret: secret})
	s.connection = max(h.Connection, 1)
	b, err := s.preamble()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		b = append(b, r...)
	}
	return b
}

func sum(b []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(b)
	return mac.Sum(nil)
}

func signing(b []byte) []byte { return appendRecord(nil, KindSignature, sum(b)) }

func post(t testing.TB, h *heard, b []byte, change func(r *http.Request)) int {
	t.Helper()
	in, err := NewReader(bytes.NewReader(b), secret)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", ContentType)
	req.Header.Set(HeaderSignature, hex.EncodeToString(sum(in.Preamble())))
	if change != nil {
		change(req)
	}
	res, err := h.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func TestReceiverRefuses(t *testing.T) {
	t.Parallel()
	rtp := func(seq byte) []byte {
		return appendRecord(nil, KindRTP, append(append([]byte{0, 0, 0, 0, 0, 0, 0, seq}, make([]byte, 12)...), "a packet"...))
	}
	end := appendRecord(nil, KindEnd, []byte(`{"reason":"ended"}`))
	whole := func(t *testing.T, h Header) []byte {
		b := body(t, h, rtp(1), end)
		return append(b, signing(b)...)
	}
	for name, c := range map[string]struct {
		want int
		body func(t *testing.T) []byte
		set  func(r *http.Request)
		cfg  func(c *ReceiverConfig)
	}{
		"nothing of a whole stream": {want: 200},
		"another method":            {want: 405, set: func(r *http.Request) { r.Method = http.MethodPut }},
		"another type":              {want: 415, set: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		"no signature":              {want: 401, set: func(r *http.Request) { r.Header.Del(HeaderSignature) }},
		"a changed record": {want: 401, body: func(t *testing.T) []byte {
			b := whole(t, testHeader())
			b[bytes.Index(b, []byte("a packet"))] = 'A'
			return b
		}},
		"an old stream": {want: 401, cfg: func(c *ReceiverConfig) { c.Now = func() time.Time { return time.Now().Add(MaxSkew + time.Minute) } }},
		"a path as a name": {want: 400, body: func(t *testing.T) []byte {
			h := testHeader()
			h.RecordingID = "../run"
			return whole(t, h)
		}},
		"a stream without an end": {want: 408, body: func(t *testing.T) []byte {
			b := body(t, testHeader(), rtp(1))
			return append(b, signing(b)...)
		}},
		"an end that is not signed": {want: 408, body: func(t *testing.T) []byte { return body(t, testHeader(), rtp(1), end) }},
		"a record behind the end":   {want: 400, body: func(t *testing.T) []byte { return append(whole(t, testHeader()), rtp(2)...) }},
		"a huge record":             {want: 400, body: func(t *testing.T) []byte { return append(body(t, testHeader()), 0xff, 0xff, 0xff, 0xff) }},
		"more than there is room":   {want: 413, cfg: func(c *ReceiverConfig) { c.MaxBytes = 400 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := receive(t, c.cfg)
			b := whole(t, testHeader())
			if c.body != nil {
				b = c.body(t)
			}
			if got := post(t, h, b, c.set); got != c.want {
				t.Errorf("answered %d, want %d", got, c.want)
			}
		})
	}
	t.Run("a replay", func(t *testing.T) {
		t.Parallel()
		h := receive(t, nil)
		b := whole(t, testHeader())
		if got := post(t, h, b, nil); got != 200 {
			t.Fatalf("answered %d", got)
		}
		if got := post(t, h, b, nil); got != 410 {
			t.Errorf("a replay was answered %d", got)
		}
	})
}
