package raw

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/rtpdump"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"stillwatch/internal/event"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		writeUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// tb is what a test and a rapid check have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

var begin = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

func sessionInfo() SessionInfo {
	return SessionInfo{CID: "default:abc", CallType: "default", CallID: "abc", SessionID: "s1", StartedAt: begin}
}

func streamInfo(id string) StreamInfo {
	return StreamInfo{
		ID: id, TrackID: "t-" + id, RID: "q", Order: 2, UserID: "ann", UserSessionID: "us", Type: event.TrackVideo,
		MimeType: "video/H264", ClockRate: 90000, Fmtp: "packetization-mode=1", RotationExtID: 3,
		ParameterSets: [][]byte{{0x67, 1}, {0x68, 2}}, At: 3 * time.Second,
	}
}

// create begins a session whose writer writes only when told to.
func create(t tb, dir string, key Key, o Options) *Writer {
	t.Helper()
	o.FlushEvery, o.SyncEvery = max(o.FlushEvery, time.Hour), time.Hour
	o.Now = func() time.Time { return begin }
	o.Log = slog.New(slog.DiscardHandler)
	w, err := Create(dir, key, sessionInfo(), o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func add(t tb, w *Writer, info StreamInfo) *StreamWriter {
	t.Helper()
	s, err := w.Stream(info)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t tb, dir string, key Key) *Reader {
	t.Helper()
	r, err := Open(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// packet is one that a test keeps.
type packet struct {
	at   time.Duration
	rtcp bool
	data string
}

func packets(t tb, r *Reader, id string) (out []packet) {
	t.Helper()
	for p, err := range r.Packets(id) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, packet{p.At, p.RTCP, string(p.Data)})
	}
	return out
}

// filled is a packet of n bytes that tells its number.
func filled(i, n int) []byte {
	b := bytes.Repeat([]byte{byte(i)}, max(n, 8))
	binary.BigEndian.PutUint64(b, uint64(i))
	return b
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var n int
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir, key := filepath.Join(root, fmt.Sprint(n)), NewKey()
		w := create(t, dir, key, Options{})
		var entries []Entry
		writers := make(map[string]*StreamWriter)
		ended := make(map[string]bool)
		want := make(map[string][]packet)
		at := time.Duration(0)
		ids := func() []string { return slices.Sorted(maps.Keys(writers)) }
		t.Repeat(map[string]func(*rapid.T){
			"stream": func(t *rapid.T) {
				info := streamInfo(fmt.Sprint("id/../", len(writers)))
				info.At = at
				writers[info.ID] = add(t, w, info)
				entries = append(entries, addedEntry(&info))
			},
			"write": func(t *rapid.T) {
				if len(writers) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(ids()).Draw(t, "id")
				size := rapid.SampledFrom([]int{1, 12, 100, 1200, maxPacket}).Draw(t, "size")
				for i := range rapid.SampledFrom([]int{1, 5, 40}).Draw(t, "count") {
					p := packet{at.Truncate(time.Millisecond), rapid.Bool().Draw(t, "rtcp"), string(bytes.Repeat([]byte{byte(i)}, size))}
					writers[id].Write([]byte(p.data), p.rtcp, begin.Add(at))
					if !ended[id] {
						want[id] = append(want[id], p)
					}
				}
				at += time.Duration(rapid.IntRange(0, 5000).Draw(t, "later")) * time.Microsecond
			},
			"note": func(t *rapid.T) {
				e := Entry{Kind: Joined, At: at, UserID: rapid.String().Draw(t, "user"), Name: rapid.String().Draw(t, "name")}
				if err := w.Note(e); err != nil {
					t.Fatal(err)
				}
				entries = append(entries, e)
			},
			"end": func(t *rapid.T) {
				if len(writers) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(ids()).Draw(t, "id")
				writers[id].End()
				ended[id] = true
			},
			"flush": func(*rapid.T) { w.flush() },
			"sync":  func(*rapid.T) { w.sync() },
			"": func(*rapid.T) {
				for _, s := range writers { // a full buffer is another test's
					if held(s) > maxHeld/2 {
						w.flush()
					}
				}
			},
		})
		if err := errors.Join(w.Close(), w.Close()); err != nil {
			t.Fatal(err)
		}
		r := open(t, dir, key)
		if r.Session() != sessionInfo() || !r.Whole() {
			t.Fatalf("%+v, whole %v", r.Session(), r.Whole())
		}
		if got, want := fmt.Sprintf("%+v", texts(r.Entries())), fmt.Sprintf("%+v", texts(entries)); got != want {
			t.Fatalf("entries\n%s, want\n%s", got, want)
		}
		if len(r.Streams()) != len(writers) {
			t.Fatalf("%d streams, want %d", len(r.Streams()), len(writers))
		}
		var length time.Duration
		for _, e := range entries {
			length = max(length, e.At)
		}
		for id, p := range want {
			if got := packets(t, r, id); !slices.Equal(got, p) {
				t.Fatalf("stream %s: %d packets, want %d", id, len(got), len(p))
			}
			if len(p) > 0 {
				length = max(length, p[len(p)-1].at)
			}
		}
		if r.Length() != length {
			t.Fatalf("length %s, want %s", r.Length(), length)
		}
		if s := w.Stats(); s.Lost != 0 || s.Bytes != size(t, dir) {
			t.Fatalf("%+v, the folder has %d bytes", s, size(t, dir))
		}
	})
}

func held(s *StreamWriter) int {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.held
}

func texts(entries []Entry) (out []string) {
	for _, e := range entries {
		s := ""
		if e.Stream != nil {
			s = fmt.Sprintf("%+v", *e.Stream)
			e.Stream = nil
		}
		out = append(out, fmt.Sprintf("%+v %s", e, s))
	}
	return out
}

func size(t tb, dir string) (n int64) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if f.Name() != keyFile {
			n += info.Size()
		}
	}
	return n
}

func TestDumpIsAnRtpdump(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w := create(t, dir, key, Options{})
	s := add(t, w, streamInfo("a"))
	var want []rtpdump.Packet
	for i := range 3000 {
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: uint16(65000 + i), Timestamp: uint32(i) * 3000, SSRC: 7, PayloadType: 96},
			Payload: filled(i, 10+i%1200),
		}
		if i%3 == 0 {
			_ = p.SetExtension(1, []byte{byte(i), 2})
		}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		at := time.Duration(i) * 7 * time.Millisecond
		s.Write(b, i%100 == 99, begin.Add(at))
		want = append(want, rtpdump.Packet{Offset: at, IsRTCP: i%100 == 99, Payload: b})
		if i%700 == 0 {
			w.flush()
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := open(t, dir, key).Dump("a", &out); err != nil {
		t.Fatal(err)
	}
	r, head, err := rtpdump.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	if !head.Start.Equal(begin) {
		t.Errorf("starts at %s, want %s", head.Start, begin)
	}
	for i := range want {
		p, err := r.Next()
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if p.Offset != want[i].Offset || p.IsRTCP != want[i].IsRTCP || !bytes.Equal(p.Payload, want[i].Payload) {
			t.Fatalf("packet %d differs: %s %v, want %s %v", i, p.Offset, p.IsRTCP, want[i].Offset, want[i].IsRTCP)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last packet: %v", err)
	}
}

func TestPacketsFrom(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w := create(t, dir, key, Options{})
	s := add(t, w, streamInfo("a"))
	for i := range 100 {
		s.Write(filled(i, 100), false, begin.Add(time.Duration(i)*time.Second))
		if i%10 == 0 {
			w.flush()
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, key)
	for _, from := range []int{0, 1, 10, 11, 55, 99, 100} {
		n := from
		for p, err := range r.PacketsFrom("a", time.Duration(from)*time.Second) {
			if err != nil || p.At != time.Duration(n)*time.Second {
				t.Fatalf("from %d s: %s, %v, want %d s", from, p.At, err, n)
			}
			n++
		}
		if n != 100 {
			t.Errorf("from %d s: ends at %d", from, n)
		}
	}
	for _, err := range r.Packets("b") {
		if err == nil {
			t.Error("a stream that never was has packets")
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w, err := Create(dir, key, sessionInfo(), Options{FlushEvery: time.Millisecond, SyncEvery: 3 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			info := streamInfo(fmt.Sprint(i))
			s, err := w.Stream(info)
			if err != nil {
				t.Error(err)
				return
			}
			for k := range 2000 {
				s.Write(filled(k, 900), false, time.Now())
			}
			if i%2 == 0 {
				s.End()
				s.Write([]byte("late"), false, time.Now())
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Stream(streamInfo("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("a stream after Close: %v", err)
	}
	if err := w.Note(Entry{Kind: Ended}); !errors.Is(err, ErrClosed) {
		t.Errorf("an entry after Close: %v", err)
	}
	w.Trim(time.Hour)
	r := open(t, dir, key)
	for i := range 8 {
		got := packets(t, r, fmt.Sprint(i))
		if len(got) != 2000 || got[1999].data != string(filled(1999, 900)) {
			t.Errorf("stream %d has %d packets", i, len(got))
		}
	}
	if s := w.Stats(); s.Packets != 16000 || !r.Whole() {
		t.Errorf("%+v, whole %v", s, r.Whole())
	}
}

func TestNothingInClear(t *testing.T) {
	t.Parallel()
	dir, key := filepath.Join(t.TempDir(), "s1"), NewKey()
	const marker = "do-not-find-this-marker"
	info := streamInfo(marker)
	info.UserID = marker
	w := create(t, dir, key, Options{})
	s := add(t, w, info)
	for i := range 500 {
		s.Write([]byte(fmt.Sprint(marker, i)), false, begin.Add(time.Second))
	}
	if err := w.Note(Entry{Kind: Joined, UserID: marker, Name: marker}); err != nil {
		t.Fatal(err)
	}
	w.flush()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{marker, "ann", "default", "video/H264", "user_id"} {
			if bytes.Contains(b, []byte(text)) || bytes.Contains([]byte(f.Name()), []byte(text)) {
				t.Errorf("%s tells %q", f.Name(), text)
			}
		}
	}
	if got := packets(t, open(t, dir, key), marker); len(got) != 500 {
		t.Errorf("%d packets", len(got))
	}
}

func TestOneStreamOfAnID(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w := create(t, dir, key, Options{})
	add(t, w, streamInfo("a"))
	if _, err := w.Stream(streamInfo("a")); err == nil {
		t.Error("two streams of one id")
	}
	if a, b := add(t, w, streamInfo("")), add(t, w, streamInfo("")); a.Info().ID == "" || a.Info().ID == b.Info().ID {
		t.Errorf("ids %q and %q", a.Info().ID, b.Info().ID)
	}
	if _, err := Create(dir, key, sessionInfo(), Options{}); err == nil {
		t.Error("a second session in the folder")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// Streams without packets are known.
	if r := open(t, dir, key); len(r.Streams()) != 3 || len(packets(t, r, "a")) != 0 {
		t.Errorf("%+v", r.Streams())
	}
}
