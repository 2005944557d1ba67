package raw

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// bursts keeps what OnLost is told.
type bursts struct {
	mu   sync.Mutex
	errs []error
}

func (b *bursts) add(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, err)
}

func (b *bursts) all() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.errs)
}

// While the disk takes nothing, packets wait and are then lost, once told;
// what comes after is written again.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	var told bursts
	var broken atomic.Bool
	w := create(t, dir, key, Options{OnLost: told.add, fail: func(int) error {
		if broken.Load() {
			return syscall.ENOSPC
		}
		return nil
	}})
	a, b := add(t, w, streamInfo("a")), add(t, w, streamInfo("b"))
	i := 0
	write := func(n int) {
		for range n {
			a.Write(filled(i, 1000), false, begin.Add(time.Duration(i)*time.Millisecond))
			i++
		}
		w.flush()
	}
	write(100)
	for burst := range 2 {
		broken.Store(true)
		b.Write(filled(0, 100), false, begin)
		write(1000) // waits
		if len(told.all()) != burst || w.Stats().Lost != w.lost.Load() {
			t.Fatalf("told %v of packets that wait", told.all())
		}
		for range 5 {
			write(1000)
		}
		if len(told.all()) != burst+1 || !errors.Is(told.all()[burst], syscall.ENOSPC) {
			t.Fatalf("told %v", told.all())
		}
		broken.Store(false)
		write(100) // makes room
		write(100)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, key)
	got, stats := packets(t, r, "a"), w.Stats()
	if n := uint64(len(got)); n+stats.Lost != uint64(i) || n < 8000 || stats.Lost < 1000 || stats.Packets != n+2 {
		t.Errorf("%d of %d packets are there, %+v", len(got), i, stats)
	}
	if got[len(got)-1].data != string(filled(i-1, 1000)) || len(packets(t, r, "b")) != 2 {
		t.Error("the last packet is not there")
	}
	var causes, counts int
	for _, e := range r.Entries() {
		switch {
		case e.Kind != Lost:
		case e.TrackID == "t-a" && strings.Contains(e.Detail, " packets in ") && e.Stream.ID == "a":
			counts++
		case strings.Contains(e.Detail, "no space left"):
			causes++
		}
	}
	if causes != 2 || counts != 2 {
		t.Errorf("%d causes and %d counts in the journal, want 2 and 2: %+v", causes, counts, r.Entries())
	}
}

// A session that could not begin leaves nothing in the way of the next try.
func TestCreateOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	full := Options{fail: func(int) error { return syscall.ENOSPC }}
	if _, err := Create(dir, key, sessionInfo(), full); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("created: %v", err)
	}
	if err := create(t, dir, key, Options{}).Close(); err != nil {
		t.Error(err)
	}
}

// What cannot be written at the end is told.
func TestCloseTellsWhatIsLost(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	var told bursts
	var broken atomic.Bool
	w := create(t, dir, key, Options{OnLost: told.add, fail: func(size int) error {
		if broken.Load() && size > 2000 {
			return syscall.EIO
		}
		return nil
	}})
	s := add(t, w, streamInfo("a"))
	s.Write(filled(1, 1000), false, begin)
	w.flush()
	broken.Store(true)
	for range 7 {
		s.Write(filled(2, 1000), false, begin)
	}
	if err := w.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("closed: %v", err)
	}
	if len(told.all()) != 1 || w.Stats().Lost != 7 {
		t.Errorf("told %v, %+v", told.all(), w.Stats())
	}
	r := open(t, dir, key)
	if len(packets(t, r, "a")) != 1 || r.Whole() {
		t.Error("not what was written")
	}
	if !slices.ContainsFunc(r.Entries(), func(e Entry) bool { return e.Kind == Lost && strings.HasPrefix(e.Detail, "7 packets") }) {
		t.Errorf("%+v", r.Entries())
	}
}

func TestMaxBytes(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	var told bursts
	const bound = 1 << 20
	w := create(t, dir, key, Options{MaxBytes: bound, OnLost: told.add})
	s := add(t, w, streamInfo("a"))
	for i := range 10_000 {
		s.Write(filled(i, 1000), false, begin.Add(time.Duration(i)*time.Millisecond))
		if i%100 == 0 {
			w.flush()
		}
	}
	if err := w.Note(Entry{Kind: Ended, At: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	w.flush()
	if len(told.all()) != 1 || !errors.Is(told.all()[0], ErrFull) {
		t.Errorf("told %v", told.all())
	}
	// Room that a trim makes is used.
	w.Trim(800 * time.Millisecond)
	w.sync()
	w.flush()
	if err := w.Close(); !errors.Is(err, ErrFull) {
		t.Errorf("closed: %v", err)
	}
	r := open(t, dir, key)
	got := packets(t, r, "a")
	if last := got[len(got)-1].at; !s.out.solid && last < 1200*time.Millisecond || w.Stats().Bytes > bound {
		t.Errorf("ends at %s, %+v", last, w.Stats())
	}
	if e := r.Entries(); !slices.ContainsFunc(e, func(e Entry) bool { return e.Kind == Ended }) {
		t.Error("the journal had no room")
	}
}
