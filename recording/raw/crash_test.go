package raw

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const (
	crashEnv = "STILLWATCH_TEST_RAW"
	// mayLose is what a killed process may lose.
	mayLose = 2 * time.Second
)

var crashKey = Key{1, 2, 3}

// writeUntilKilled is the process that TestKilled kills: two streams with a
// packet every few milliseconds.
func writeUntilKilled(dir string) {
	s := sessionInfo()
	s.StartedAt = time.Now().UTC()
	w, err := Create(dir, crashKey, s, Options{})
	if err != nil {
		panic(err)
	}
	a, errA := w.Stream(streamInfo("a"))
	b, errB := w.Stream(streamInfo("b"))
	if errA != nil || errB != nil {
		panic(fmt.Sprint(errA, errB))
	}
	progress, err := os.Create(dir + ".progress")
	if err != nil {
		panic(err)
	}
	fmt.Println("writing")
	tick := time.NewTicker(5 * time.Millisecond)
	for i := 0; ; i++ {
		now := <-tick.C
		a.Write(filled(i, 1100), false, now)
		b.Write(filled(i, 80), i%50 == 0, now)
		taken := binary.BigEndian.AppendUint64(nil, uint64(now.Sub(s.StartedAt)))
		_, _ = progress.WriteAt(taken, 0)
		if i%10 == 0 {
			_ = w.Note(Entry{Kind: Muted, At: now.Sub(s.StartedAt)})
		}
	}
}

// A process killed at 50 random moments loses the last two seconds at most.
func TestKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var wg sync.WaitGroup
	room := make(chan struct{}, 25)
	for i := range 50 {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			dir := filepath.Join(root, fmt.Sprint(i))
			// Some within a flush, some before the first.
			killOne(t, dir, time.Duration(rand.Float64()*float64(3500*time.Millisecond)))
		})
	}
	wg.Wait()
}

func killOne(t *testing.T, dir string, after time.Duration) {
	exe, err := os.Executable()
	if err != nil {
		t.Error(err)
		return
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	bufio.NewScanner(out).Scan()
	<-time.After(after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	var ran time.Duration // when the last packet was taken
	if b, err := os.ReadFile(dir + ".progress"); err == nil && len(b) == 8 {
		ran = time.Duration(binary.BigEndian.Uint64(b))
	}
	r, err := Open(dir, crashKey)
	if err != nil {
		t.Error(err)
		return
	}
	if n := len(r.Streams()); n < 2 && ran > mayLose {
		t.Errorf("killed after %s, %d streams are there", ran, n)
	}
	for _, s := range r.Streams() {
		last, n := time.Duration(0), 0
		for p, err := range r.Packets(s.ID) {
			if err != nil {
				t.Errorf("killed after %s: %v", ran, err)
				return
			}
			if got := binary.BigEndian.Uint64(p.Data); got != uint64(n) {
				t.Errorf("killed after %s: packet %d stands where %d should", ran, got, n)
				return
			}
			last = p.At
			n++
		}
		if lost := ran - last; lost > mayLose {
			t.Errorf("killed after %s, %s of stream %s are lost", ran, lost, s.ID)
		}
	}
}

// A file cut off anywhere gives what stands before the cut.
func TestTornTail(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w := create(t, dir, key, Options{})
	s := add(t, w, streamInfo("a"))
	var ends []int64
	for i := range 20 {
		s.Write(filled(i, 50), false, begin.Add(time.Duration(i)*time.Second))
		w.flush()
		ends = append(ends, s.out.off)
	}
	path := s.out.path
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(whole); cut >= 0; cut-- {
		for _, zeros := range []int{0, 500} { // a power failure leaves zeros
			if cut > 0 && cut < firstPiece && zeros > 0 {
				continue // the head lies in one sector
			}
			if err := os.WriteFile(path, append(whole[:cut:cut], make([]byte, zeros)...), 0o600); err != nil {
				t.Fatal(err)
			}
			want := 0
			// What is cut off may have been zeros.
			for want < len(ends) && (ends[want] <= int64(cut) || zeros > 0 && len(bytes.Trim(whole[cut:ends[want]], "\x00")) == 0) {
				want++
			}
			r := open(t, dir, key)
			n := 0
			for p, err := range r.Packets("a") {
				if err != nil {
					t.Fatalf("cut at %d, %d zeros: %v", cut, zeros, err)
				}
				if p.At != time.Duration(n)*time.Second {
					t.Fatalf("cut at %d: packet at %s", cut, p.At)
				}
				n++
			}
			if n != want {
				t.Fatalf("cut at %d, %d zeros: %d packets, want %d", cut, zeros, n, want)
			}
			if r.Whole() != (cut == len(whole)) {
				t.Fatalf("cut at %d, %d zeros: whole %v", cut, zeros, r.Whole())
			}
		}
	}
}
