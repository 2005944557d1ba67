package raw

import (
	"encoding/binary"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// used is what a folder takes on disk.
func used(t *testing.T, dir string) (n int64) {
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
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return n
}

// A spool that is trimmed stays small and keeps what is younger.
func TestTrim(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w := create(t, dir, key, Options{})
	big, small, gone := add(t, w, streamInfo("big")), add(t, w, streamInfo("small")), add(t, w, streamInfo("gone"))
	const keep = 10 * time.Second
	for i := range 200 {
		at := time.Duration(i) * time.Second
		for k := range 50 {
			big.Write(filled(i*50+k, 1000), false, begin.Add(at))
		}
		small.Write(filled(i, 300), false, begin.Add(at))
		if i < 50 {
			gone.Write(filled(i, 1000), false, begin.Add(at))
		} else if i == 50 {
			gone.End()
		}
		w.flush()
		w.Trim(at - keep)
		if i%2 == 0 {
			w.sync()
		}
		if i%50 != 49 {
			continue
		}
		r := open(t, dir, key) // as it is while it is written
		from := at - keep
		for _, p := range packets(t, r, "big") {
			if p.at < from {
				t.Fatalf("a packet of %s is there at %s", p.at, at)
			}
		}
		if got := packets(t, r, "small"); len(got) != 11 || got[0].at != from {
			t.Fatalf("at %s: %d packets from %s on, want 11 from %s on", at, len(got), got[0].at, from)
		}
		if r.Length() != at {
			t.Errorf("length %s, want %s", r.Length(), at)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, key)
	if len(packets(t, r, "gone")) != 0 || len(r.Streams()) != 3 || !r.Whole() {
		t.Errorf("%d streams, whole %v", len(r.Streams()), r.Whole())
	}
	if n := used(t, dir); big.out.solid {
		t.Logf("the file system gives no space back: %d bytes", n)
	} else if stats := w.Stats(); n > 900_000 || stats.Bytes > 900_000 || stats.Bytes < 500_000 {
		t.Errorf("%d bytes on disk, %+v", n, stats)
	}
}

// All at once: packets, streams that end, trims, syncs.
func TestTrimWhileWriting(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	info := sessionInfo()
	info.StartedAt = time.Now()
	w, err := Create(dir, key, info, Options{FlushEvery: time.Millisecond, SyncEvery: 2 * time.Millisecond, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				w.Trim(w.At(now) - 20*time.Millisecond)
			}
		}
	})
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			tick := time.NewTicker(time.Millisecond / 4)
			defer tick.Stop()
			for range 5 {
				s, err := w.Stream(StreamInfo{})
				if err != nil {
					t.Error(err)
					return
				}
				for i := range 400 {
					s.Write(filled(i, 1000), false, <-tick.C)
				}
				s.End()
			}
		})
	}
	writers.Wait()
	close(stop)
	wg.Wait()
	w.flush()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, key)
	if len(r.Streams()) != 20 || !r.Whole() {
		t.Errorf("%d streams, whole %v", len(r.Streams()), r.Whole())
	}
	for _, s := range r.Streams() {
		got := packets(t, r, s.ID)
		for i, p := range got { // what is left is the end, without a gap
			if n := int(binary.BigEndian.Uint64([]byte(p.data))); n != 400-len(got)+i {
				t.Fatalf("packet %d is number %d of the last %d", i, n, len(got))
			}
		}
	}
	if s := w.Stats(); s.Lost != 0 || s.Packets != 4*5*400 || s.Bytes > 6<<20 {
		t.Errorf("%+v", s)
	}
}

func TestMarksAreBounded(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w := create(t, dir, key, Options{})
	s := add(t, w, streamInfo("a"))
	const n = maxMarks + maxMarks/2
	for i := range n {
		s.Write(filled(i, 20), false, begin.Add(time.Duration(i)*time.Second))
		w.flush()
	}
	if len(s.out.marks) > maxMarks {
		t.Errorf("%d marks", len(s.out.marks))
	}
	w.Trim(1001 * time.Second)
	w.Trim(time.Second)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := packets(t, open(t, dir, key), "a")
	if first := got[0].at; first > 1001*time.Second || first < 999*time.Second || len(got) != n-int(first/time.Second) {
		t.Errorf("%d packets from %s on", len(got), first)
	}
	if !slices.IsSortedFunc(got, func(a, b packet) int { return int(a.at - b.at) }) {
		t.Error("not in order")
	}
}
