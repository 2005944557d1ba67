package handover

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stillwatch/internal/blob"
	"stillwatch/internal/testkit"
	"stillwatch/recording/raw"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// store is our own object store in a folder.
type store struct{ *blob.Store }

func (s store) Upload(ctx context.Context, ref string, r io.Reader, contentType string) error {
	return s.PutFrom(ctx, ref, r, contentType)
}

func newParcel(t *testing.T) Parcel {
	t.Helper()
	s, err := blob.Open(t.Context(), blob.Config{URL: "file://" + t.TempDir(), Key: []byte("0123456789abcdef"), PublicURL: "http://127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return Parcel{Objects: store{s}, SessionID: "s1", Key: raw.NewKey()}
}

func sealed(t testing.TB, plain []byte, key raw.Key, name string) []byte {
	t.Helper()
	r, err := seal(bytes.NewReader(plain), key, name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func opened(b []byte, key raw.Key, name string) ([]byte, error) {
	r, err := open(bytes.NewReader(b), key, name)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestWhatIsSealedIsOpenedAsItWas(t *testing.T) {
	t.Parallel()
	key := raw.NewKey()
	for _, n := range []int{0, 1, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3 * pieceBytes} {
		plain := bytes.Repeat([]byte("stillwatch"), n/10+1)[:n]
		one := sealed(t, plain, key, "a")
		if got, err := opened(one, key, "a"); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
		if n > 20 && bytes.Contains(one, []byte("stillwatch")) {
			t.Errorf("%d bytes stand in the clear", n)
		}
		if bytes.Equal(one, sealed(t, plain, key, "a")) {
			t.Error("sealed twice it is the same: the salt is not random")
		}
		if _, err := opened(one, raw.NewKey(), "a"); !errors.Is(err, ErrChanged) {
			t.Errorf("with another key: %v", err)
		}
		if _, err := opened(one, key, "b"); !errors.Is(err, ErrChanged) {
			t.Errorf("under another name: %v", err)
		}
	}
}

// Nothing that was flipped, cut, lengthened or put in another order is taken.
func TestEveryChangeIsNoticed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key := raw.Key{1}
		n := rapid.SampledFrom([]int{0, 5, pieceBytes, 2*pieceBytes + 7}).Draw(rt, "length")
		plain := bytes.Repeat([]byte{7, 8, 9}, n/3+1)[:n]
		good := sealed(t, plain, key, "a")
		bad := bytes.Clone(good)
		switch rapid.SampledFrom([]string{"flip", "cut", "longer", "swap"}).Draw(rt, "change") {
		case "flip":
			bad[rapid.IntRange(0, len(bad)-1).Draw(rt, "at")] ^= byte(rapid.IntRange(1, 255).Draw(rt, "by"))
		case "cut":
			bad = bad[:rapid.IntRange(0, len(bad)-1).Draw(rt, "to")]
		case "longer":
			bad = append(bad, rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(rt, "more")...)
		case "swap":
			const head, piece = len(magic) + saltBytes, pieceBytes + tagBytes
			if len(bad) < head+2*piece {
				rt.Skip("too short")
			}
			copy(bad[head:], good[head+piece:head+2*piece])
			copy(bad[head+piece:], good[head:head+piece])
		}
		if got, err := opened(bad, key, "a"); !errors.Is(err, ErrChanged) {
			rt.Fatalf("opened %d bytes of %d: %v", len(got), n, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	key := raw.Key{1}
	good := sealed(f, []byte("what was made"), key, "a")
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := opened(b, key, "a")
		if err == nil && string(got) != "what was made" {
			t.Fatalf("opened %d bytes that nobody sealed", len(got))
		}
		if err != nil && !errors.Is(err, ErrChanged) {
			t.Fatal(err)
		}
	})
}

func TestPacketsArriveAsTheyWereWithoutTheirKey(t *testing.T) {
	t.Parallel()
	p := newParcel(t)
	dir, to := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"journal": "j", "a.rtp": strings.Repeat("a", 200_000), "key": "secret", "other.txt": "o"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := p.PutPackets(t.Context(), dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("put %v, %v", files, err)
	}
	if err := p.FetchPackets(t.Context(), files, to, 200_001); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(to)
	if err != nil || len(left) != 2 {
		t.Errorf("fetched %v, %v", left, err)
	}
	if text, err := os.ReadFile(filepath.Join(to, "a.rtp")); err != nil || len(text) != 200_000 {
		t.Errorf("fetched %d bytes, %v", len(text), err)
	}
	if err := p.FetchPackets(t.Context(), files, t.TempDir(), 200_000); !errors.Is(err, ErrTooLarge) {
		t.Errorf("fetched more than allowed: %v", err)
	}
	for _, bad := range []File{
		{Name: "../a.rtp", Size: 1},
		{Name: "key", Size: 1},
		{Name: "a.rtp", Size: 199_999, SHA256: files[0].SHA256},
		{Name: "a.rtp", Size: 200_000, SHA256: strings.Repeat("0", 64)},
		{Name: "a.rtp", Size: -1},
	} {
		if err := p.FetchPackets(t.Context(), []File{bad}, t.TempDir(), 1<<30); !errors.Is(err, ErrChanged) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("fetched %+v: %v", bad, err)
		}
	}
	if err := p.FetchPackets(t.Context(), []File{{Name: "gone.rtp"}}, t.TempDir(), 1); !errors.Is(err, blob.ErrNotFound) || errors.Is(err, ErrStore) {
		t.Errorf("what was never put: %v", err)
	}
}

func TestWhatWasMadeIsFetchedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	p := newParcel(t)
	path := filepath.Join(t.TempDir(), "chunk")
	text := bytes.Repeat([]byte("x"), 100_000)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Put(t.Context(), "rec/chunk-0-1/chunk", path); err != nil || n != 100_000 {
		t.Fatalf("put %d bytes, %v", n, err)
	}
	to := filepath.Join(t.TempDir(), "movie0", "chunk")
	if err := p.Fetch(t.Context(), "rec/chunk-0-1/chunk", to, 99_999); !errors.Is(err, ErrTooLarge) {
		t.Errorf("fetched more than allowed: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if err := p.Fetch(t.Context(), "rec/chunk-0-1/chunk", to, 100_000); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, text) {
		t.Errorf("fetched %d bytes, %v", len(got), err)
	}
	if ids, err := Sessions(t.Context(), p.Objects); err != nil || len(ids) != 1 || ids[0] != "s1" {
		t.Errorf("sessions %v, %v", ids, err)
	}
	other := p
	other.SessionID = "s10" // which begins with the same
	if _, err := other.Put(t.Context(), "x", path); err != nil {
		t.Fatal(err)
	}
	if err := Empty(t.Context(), p.Objects, "s1"); err != nil {
		t.Fatal(err)
	}
	if err := p.Fetch(t.Context(), "rec/chunk-0-1/chunk", to, 1<<20); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("after it was emptied: %v", err)
	}
	if ids, err := Sessions(t.Context(), p.Objects); err != nil || len(ids) != 1 || ids[0] != "s10" {
		t.Errorf("sessions %v, %v", ids, err)
	}
}

// broken is a store that fails.
type broken struct{ Objects }

func (broken) Upload(context.Context, string, io.Reader, string) error { return errors.New("503") }

func TestTheStoresFailuresAreToldFromOurs(t *testing.T) {
	t.Parallel()
	p := newParcel(t)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	down := p
	down.Objects = broken{p.Objects}
	if _, err := down.Put(t.Context(), "f", path); !errors.Is(err, ErrStore) {
		t.Errorf("the store's failure: %v", err)
	}
	if _, err := p.Put(t.Context(), "f", path+"-gone"); err == nil || errors.Is(err, ErrStore) {
		t.Errorf("ours: %v", err)
	}
}
