package raw

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/seal"
)

func newBox(t *testing.T, b byte) *seal.Box {
	t.Helper()
	box, err := seal.New(bytes.Repeat([]byte{b}, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func TestKeyIsFoundAgain(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir, key := filepath.Join(root, "s1"), NewKey()
	box := newBox(t, 1)
	if err := SaveKey(dir, key, box); err != nil {
		t.Fatal(err)
	}
	if err := SaveKey(dir, NewKey(), box); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second key: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got, err := LoadKey(dir, box); err != nil || got != key {
		t.Errorf("%v", err)
	}
	if _, err := LoadKey(dir, newBox(t, 2)); !errors.Is(err, seal.ErrOtherKey) {
		t.Errorf("with another master key: %v", err)
	}
	if err := os.Rename(dir, filepath.Join(root, "s2")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(filepath.Join(root, "s2"), box); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("in another's folder: %v", err)
	}
}

func TestDestroy(t *testing.T) {
	t.Parallel()
	box := newBox(t, 1)
	dir, key := filepath.Join(t.TempDir(), "s1"), NewKey()
	if err := SaveKey(dir, key, box); err != nil {
		t.Fatal(err)
	}
	// A second name shows what became of the key file's content.
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Link(filepath.Join(dir, keyFile), other); err != nil {
		t.Fatal(err)
	}
	sealed, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	w := create(t, dir, key, Options{})
	add(t, w, streamInfo("a")).Write(filled(1, 100), false, begin)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Destroy(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	left, err := os.ReadFile(other)
	if err != nil || len(left) != len(sealed) || bytes.Contains(left, sealed[:20]) {
		t.Errorf("the key was not overwritten: %v", err)
	}
	if _, err := LoadKey(dir, box); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key: %v", err)
	}
}

// Whatever else lies there is not ours to delete.
func TestDestroyLeavesTheRest(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), NewKey()
	w := create(t, dir, key, Options{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "holiday.jpg")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Destroy(dir); err == nil {
		t.Error("no error though the folder stays")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
	if _, err := Open(dir, key); !errors.Is(err, ErrEmpty) {
		t.Errorf("opened: %v", err)
	}
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "s1")
	w, err := Create(dir, NewKey(), sessionInfo(), Options{FlushEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s := add(t, w, streamInfo("a"))
	for i := range 1000 {
		s.Write(filled(i, 1000), false, time.Now())
	}
	for range 2 {
		if err := w.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	s.Write(filled(1, 1000), false, time.Now())
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	if w.key != (Key{}) {
		t.Error("the key is still there")
	}
}
