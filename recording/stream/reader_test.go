package stream

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pion/rtp"
	"pgregory.net/rapid"
)

func FuzzReader(f *testing.F) {
	whole := body(f, testHeader(), appendNumbered(nil, KindEvent, 1, []byte(`{"kind":"joined","at":5,"user_id":"ann"}`)),
		appendNumbered(nil, KindGap, 2, []byte(`{"first":3}`)), appendRecord(nil, KindRTP, make([]byte, mediaHead+12)),
		appendRecord(nil, 'x', []byte("later")), appendRecord(nil, KindEnd, []byte(`{}`)))
	f.Add(append(whole, signing(whole)...))
	f.Add(whole[:len(whole)-3])
	f.Add([]byte(Magic + "\xff\xff\xff\xff"))
	f.Add([]byte(Magic + "\x00\x00\x00\x03H{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, key := range []string{"", secret} {
			in, err := NewReader(bytes.NewReader(b), key)
			if err != nil {
				continue
			}
			read := len(in.Preamble())
			for {
				rec, err := in.Next()
				if errors.Is(err, io.EOF) && !in.ended && !errors.Is(err, ErrCut) {
					t.Fatal("it ends without an end")
				}
				if err != nil {
					break
				}
				if !bytes.Equal(rec.Raw, b[read:read+len(rec.Raw)]) || len(rec.Raw) > lengthBytes+MaxRecord || rec.At < 0 {
					t.Fatalf("record %+v at %d", rec, read)
				}
				read += len(rec.Raw)
			}
		}
	})
}

func FuzzAudioLevel(f *testing.F) {
	f.Add(packet(f, 1, 80, 0x85), uint8(3))
	f.Add([]byte{0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 3, 1, 20, 0}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, id uint8) {
		level, voice, ok := audioLevel(b, id)
		var p rtp.Packet
		if err := p.Unmarshal(b); err != nil || !p.Extension || p.ExtensionProfile != oneByteProfile && p.ExtensionProfile != twoByteProfile || id == 0 || id > 14 {
			return
		}
		// What is well formed is read as pion reads it.
		ext := p.GetExtension(id)
		if ok && (len(ext) == 0 || level != ext[0]&0x7f || voice != (ext[0]&0x80 != 0)) {
			t.Fatalf("level %d %v of %x", level, voice, ext)
		}
	})
}

func TestAudioLevelOfBothKindsOfExtensions(t *testing.T) {
	t.Parallel()
	for _, profile := range []uint16{oneByteProfile, twoByteProfile} {
		rapid.Check(t, func(t *rapid.T) {
			p := rtp.Packet{Header: rtp.Header{Version: 2, Extension: true, ExtensionProfile: profile, CSRC: make([]uint32, rapid.IntRange(0, 15).Draw(t, "csrc"))}, Payload: []byte{1}}
			for id := range uint8(rapid.IntRange(1, 5).Draw(t, "others")) {
				if err := p.SetExtension(id+4, rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(t, "value")); err != nil {
					t.Fatal(err)
				}
			}
			want := rapid.Byte().Draw(t, "level")
			if err := p.SetExtension(3, []byte{want}); err != nil {
				t.Fatal(err)
			}
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			level, voice, ok := audioLevel(b, 3)
			if !ok || level != want&0x7f || voice != (want&0x80 != 0) {
				t.Fatalf("read %d %v %v of %d", level, voice, ok, want)
			}
			if _, _, ok := audioLevel(b, 2); ok {
				t.Fatal("it has no such extension")
			}
			for n := range b {
				_, _, _ = audioLevel(b[:n], 3)
			}
		})
	}
}

// What the queue takes comes out in order, each number once, or is told of by
// gaps; and it never holds more than its bound allows.
func TestQueueTellsOfEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := queue{max: 16 << 10}
		var given, got, told uint64
		next := uint64(1)
		drain := func() {
			c := q.take()
			for r := range records(c) {
				in := Reader{}
				rec := Record{Kind: Kind(r[0])}
				if err := in.parse(&rec, r[1:]); err != nil {
					t.Fatal(err)
				}
				if rec.Kind == KindGap {
					if rec.Gap.First != next || rec.Seq != rec.Gap.Last+1 {
						t.Fatalf("gap %+v, number %d, when %d was due", rec.Gap, rec.Seq, next)
					}
					next, told = rec.Gap.Last+1, told+rec.Gap.Packets+rec.Gap.Events
				} else {
					got++
				}
				if rec.Seq != next {
					t.Fatalf("number %d, want %d", rec.Seq, next)
				}
				next++
			}
			if c != nil {
				q.give(c)
			}
		}
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 300).Draw(t, "steps") {
			switch step {
			case 0:
				drain()
			case 1:
				given++
				q.event(Event{})
			default:
				given++
				q.media(KindRTP, 1, time.Second, make([]byte, 300*step))
			}
			if q.held > q.max+q.max/8+1<<10 {
				t.Fatalf("%d bytes held", q.held)
			}
		}
		for q.forceGap(); len(q.chunks) > 0; {
			drain()
		}
		if got+told != given || q.held != 0 {
			t.Fatalf("%d came, %d told of, %d given, %d held", got, told, given, q.held)
		}
	})
}

func TestRecentKeepsTheLast(t *testing.T) {
	t.Parallel()
	r := recent{max: 10_000}
	for n := range uint64(5000) {
		r.add(appendNumbered(nil, KindEvent, n+1, make([]byte, 100)))
		if len(r.b) > 2*r.max || n > 200 && len(r.b) < r.max-200 {
			t.Fatalf("%d bytes after %d", len(r.b), n)
		}
		if got := lastNumber(r.b); got != n+1 || r.first() > n+1 || r.first() == 0 {
			t.Fatalf("from %d to %d after %d", r.first(), got, n+1)
		}
	}
}

// BenchmarkWrite is what a packet costs on the path of the media.
func BenchmarkWrite(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
		mic  bool
	}{{"picture", 1100, false}, {"sound", 80, true}} {
		b.Run(c.name, func(b *testing.B) {
			s := New(Config{Header: testHeader()})
			info := camera("ann")
			if c.mic {
				info = microphone("ann")
			}
			tr, p := s.Track(info), packet(b, 1, c.size, 20)
			b.ReportAllocs()
			for n := range b.N {
				tr.Write(p, false, started)
				if n%40 == 39 { // as the connection would
					s.mu.Lock()
					for chunk := s.q.take(); chunk != nil; chunk = s.q.take() {
						s.q.give(chunk)
					}
					s.mu.Unlock()
				}
			}
		})
	}
}
