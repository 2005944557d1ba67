package raw

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorded makes a folder of two streams with five pieces each.
func recorded(t tb, dir string, key Key) (files [2]string) {
	w := create(t, dir, key, Options{})
	a, b := add(t, w, streamInfo("a")), add(t, w, streamInfo("b"))
	for i := range 5 {
		at := begin.Add(time.Duration(i) * time.Second)
		a.Write(filled(i, 40), false, at)
		b.Write(filled(i, 40), false, at)
		w.flush()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return [2]string{a.out.path, b.out.path}
}

// readAll opens a folder and reads all of it.
func readAll(dir string, key Key) (packets int, whole bool, err error) {
	r, err := Open(dir, key)
	if err != nil {
		return 0, false, err
	}
	for _, s := range r.Streams() {
		for _, err := range r.Packets(s.ID) {
			if err != nil {
				return packets, false, err
			}
			packets++
		}
	}
	return packets, r.Whole(), nil
}

// A bit that is changed anywhere shows, or takes only the file's tail.
func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	file := recorded(t, dir, key)[0]
	for _, path := range []string{file, filepath.Join(dir, journalFile)} {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			n, whole, err := readAll(dir, key)
			switch {
			case errors.Is(err, ErrTampered) && strings.Contains(err.Error(), filepath.Base(path)):
			case errors.Is(err, ErrKey) && path != file && i < headBytes:
			case errors.Is(err, ErrEmpty) && path != file:
			case err == nil && !whole && (n < 10 || i > len(good)-pieceHead-tagBytes-1 || path != file): // reads as cut off there
			default:
				t.Fatalf("%s, byte %d of %d: %d packets, %v", filepath.Base(path), i, len(good), n, err)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, whole, err := readAll(dir, key); n != 10 || !whole || err != nil {
		t.Errorf("%d packets, whole %v, %v", n, whole, err)
	}
}

func TestTamperIsNamed(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	files := recorded(t, dir, key)
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	const each = pieceHead + recordHead + 40 + tagBytes
	body := len(good) - 5*each - pieceHead - tagBytes
	piece := func(b []byte, n int) []byte { return b[body+(n-1)*each : body+n*each] }
	for _, c := range []struct {
		name, piece string
		bad         [][]byte
	}{
		{"a piece is taken out", "piece 2", [][]byte{good[:body+each], good[body+2*each:]}},
		{"two change places", "piece 2", [][]byte{good[:body+each], piece(good, 3), piece(good, 2), good[body+3*each:]}},
		{"one of another stream", "piece 3", [][]byte{good[:body+2*each], piece(other, 3), good[body+3*each:]}},
		{"one comes twice", "piece 4", [][]byte{good[:body+3*each], piece(good, 3), good[body+3*each:]}},
		{"zeros in the middle", "piece 3", [][]byte{good[:body+2*each], make([]byte, each), good[body+3*each:]}},
		{"more behind the end", "piece 7", [][]byte{good, piece(good, 5)}},
	} {
		if err := os.WriteFile(files[0], slices.Concat(c.bad...), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := readAll(dir, key)
		if !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), filepath.Base(files[0])+", "+c.piece+":") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A stream in another's place is known by what it says of itself, and a
	// stream twice is not taken.
	if err := os.WriteFile(files[0], other, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, key); !errors.Is(err, ErrTampered) {
		t.Errorf("a stream twice: %v", err)
	}
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	recorded(t, dir, NewKey())
	if _, err := Open(dir, NewKey()); !errors.Is(err, ErrKey) {
		t.Errorf("opened: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "nonesuch"), NewKey()); !errors.Is(err, ErrEmpty) {
		t.Errorf("opened: %v", err)
	}
}

// The packets are there even if the journal was lost on the way to the disk.
func TestStreamsWithoutJournal(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w := create(t, dir, key, Options{})
	begun := w.journal.off
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(w.journal.path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "s1")
	recorded(t, other, key)
	if err := os.WriteFile(filepath.Join(other, journalFile), journal[:begun], 0o600); err != nil {
		t.Fatal(err)
	}
	r := open(t, other, key)
	if e := r.Entries(); len(e) != 2 || e[0].Kind != Added || e[0].Stream.Fmtp == "" || len(packets(t, r, "a")) != 5 || r.Whole() {
		t.Errorf("%+v", e)
	}
}

func FuzzOpen(f *testing.F) {
	key := Key{9}
	dir := f.TempDir()
	file := recorded(f, dir, key)[0]
	stream, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	journal, err := os.ReadFile(filepath.Join(dir, journalFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(journal, stream)
	f.Add(journal[:len(journal)-3], stream[:len(stream)-50])
	f.Add(journal[:firstPiece], stream[:firstPiece])
	f.Add([]byte(magic), append(stream[:300:300], make([]byte, 300)...))
	f.Fuzz(func(t *testing.T, journal, stream []byte) {
		dir := t.TempDir()
		err := errors.Join(os.WriteFile(filepath.Join(dir, journalFile), journal, 0o600),
			os.WriteFile(filepath.Join(dir, "0.rtp"), stream, 0o600))
		if err != nil {
			t.Fatal(err)
		}
		if n, _, _ := readAll(dir, key); n > 5 {
			t.Errorf("%d packets; 5 were written", n)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(appendRecord(nil, []byte("abc"), false, 7), []byte("d"), true, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		for rest := b; len(rest) > 0; {
			p, next, err := nextRecord(rest)
			if err != nil {
				return
			}
			again = appendRecord(again, p.Data, p.RTCP, toMS(p.At))
			rest = next
		}
		if len(again) != len(b) {
			t.Errorf("%d bytes became %d", len(b), len(again))
		}
	})
}
