package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func box(t *testing.T, keys ...byte) *Box {
	t.Helper()
	var all [][]byte
	for _, k := range keys {
		all = append(all, bytes.Repeat([]byte{k}, KeyBytes))
	}
	b, err := New(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sealed(t *testing.T, b *Box, purpose, owner, plain string) string {
	t.Helper()
	s, err := b.Seal(purpose, owner, plain)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpensWhatItSealed(t *testing.T) {
	t.Parallel()
	b := box(t, 1)
	for _, plain := range []string{"", "x", "hunter2", strings.Repeat("é\x00", MaxPlain/3)} {
		one, two := sealed(t, b, "hook.secret", "h1", plain), sealed(t, b, "hook.secret", "h1", plain)
		if one == two {
			t.Error("the same text twice: the nonce is not random")
		}
		if len(plain) > 1 && strings.Contains(one, plain) {
			t.Error("the secret stands in the sealed text")
		}
		if got, err := b.Open("hook.secret", "h1", one); err != nil || got != plain {
			t.Errorf("opened %d bytes, %v; sealed %d", len(got), err, len(plain))
		}
	}
	if _, err := b.Seal("p", "o", strings.Repeat("x", MaxPlain+1)); err == nil {
		t.Error("sealed more than the longest secret")
	}
}

func TestOpensForItsOwnerAndPurposeOnly(t *testing.T) {
	t.Parallel()
	b := box(t, 1)
	s := sealed(t, b, "hook.sqs", "h1", "hunter2")
	for _, other := range [][2]string{{"hook.sqs", "h2"}, {"hook.sns", "h1"}, {"hook.sqsh", "1"}, {"hook.sq", "sh1"}, {"", ""}} {
		if _, err := b.Open(other[0], other[1], s); !errors.Is(err, ErrBroken) {
			t.Errorf("%q: %v", other, err)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	b := box(t, 1)
	raw, _ := base64.RawURLEncoding.DecodeString(sealed(t, b, "p", "o", "hunter2"))
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			_, err := b.Open("p", "o", base64.RawURLEncoding.EncodeToString(raw))
			if !errors.Is(err, ErrBroken) && !errors.Is(err, ErrOtherKey) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
			raw[i] ^= 1 << bit
		}
	}
	for n := range raw {
		if _, err := b.Open("p", "o", base64.RawURLEncoding.EncodeToString(raw[:n])); err == nil {
			t.Fatalf("opened the first %d bytes", n)
		}
	}
	for _, s := range []string{"", "!", strings.Repeat("A", 200)} {
		if _, err := b.Open("p", "o", s); err == nil {
			t.Errorf("opened %q", s)
		}
	}
}

func TestAnotherMasterKeyIsSaidSo(t *testing.T) {
	t.Parallel()
	s := sealed(t, box(t, 1), "hook.sqs", "h1", "hunter2")
	_, err := box(t, 2).Open("hook.sqs", "h1", s)
	if !errors.Is(err, ErrOtherKey) || !strings.Contains(err.Error(), "auth.master_key") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
}

func TestRotationOpensOldAndNew(t *testing.T) {
	t.Parallel()
	old := sealed(t, box(t, 1), "p", "o", "old")
	b := box(t, 2, 1)
	fresh := sealed(t, b, "p", "o", "new")
	for s, want := range map[string]string{old: "old", fresh: "new"} {
		if got, err := b.Open("p", "o", s); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, err := box(t, 1).Open("p", "o", fresh); !errors.Is(err, ErrOtherKey) {
		t.Errorf("the old key opens what the new one sealed: %v", err)
	}
}

func TestMasterKeysLengthIsChecked(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := New(make([]byte, n)); err == nil {
			t.Errorf("took %d bytes", n)
		}
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{0xfb, 0xff}, KeyBytes/2)
	for _, text := range []string{
		hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), base64.RawStdEncoding.EncodeToString(key),
		base64.URLEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key),
	} {
		if got, err := ParseKey(text); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "hunter2", strings.Repeat("0", 62), hex.EncodeToString(key) + "00"} {
		if _, err := ParseKey(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestKeyFileIsMadeOnceForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	keys := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { keys[i], _ = LoadKey(path) })
	}
	wg.Wait()
	for _, k := range keys {
		if len(k) != KeyBytes || !bytes.Equal(k, keys[0]) {
			t.Fatalf("keys differ: %x", keys)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files in the folder", len(left))
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
}

func TestAShortKeyFileIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil {
		t.Error("took a short key")
	}
	if b, _ := os.ReadFile(path); string(b) != "short" {
		t.Error("the file was written over")
	}
}

func FuzzOpen(f *testing.F) {
	b, err := New(make([]byte, KeyBytes))
	if err != nil {
		f.Fatal(err)
	}
	good, _ := b.Seal("p", "o", "hunter2")
	f.Add(good)
	f.Add(good[1:])
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		plain, err := b.Open("p", "o", s)
		if err == nil && plain != "hunter2" && s != good {
			t.Fatalf("opened %q", s)
		}
	})
}
