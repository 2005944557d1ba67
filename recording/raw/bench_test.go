package raw

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkWrite measures what a packet of 1100 bytes costs all in all: taken,
// sealed, and given to the system once a second's worth is there.
func BenchmarkWrite(b *testing.B) {
	w, err := Create(b.TempDir(), NewKey(), sessionInfo(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := w.Stream(streamInfo("a"))
	if err != nil {
		b.Fatal(err)
	}
	p := filled(1, 1100)
	now := time.Now()
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		s.Write(p, false, now)
		if i%180 == 179 { // as in a second of a call
			w.flush()
		}
	}
	b.StopTimer()
	if err := w.Discard(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCall measures ten streams of 180 packets/s of 1100 bytes for three
// seconds, in percent of a core, what the disk's side costs included.
func BenchmarkCall(b *testing.B) {
	for b.Loop() {
		w, err := Create(b.TempDir(), NewKey(), sessionInfo(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		var streams []*StreamWriter
		for range 10 {
			streams = append(streams, add(b, w, streamInfo("")))
		}
		p := filled(1, 1100)
		var before, after syscall.Rusage
		var start time.Time
		tick := time.NewTicker(time.Second / 30)
		for i := range 5 * 30 {
			if i == 2*30 { // buffers have their size
				_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
				start = time.Now()
			}
			now := <-tick.C
			for _, s := range streams {
				for range 6 {
					s.Write(p, false, now)
				}
			}
		}
		tick.Stop()
		took := time.Since(start)
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
		b.ReportMetric(100*float64(used)/float64(took), "%core")
		if err := w.Discard(); err != nil {
			b.Fatal(err)
		}
	}
}
