package raw

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A real full disk: a small file system, where this process may mount one.
func TestFullFileSystem(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 600<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, key := filepath.Join(mount, "s1"), NewKey()
	var told bursts
	w := create(t, dir, key, Options{OnLost: told.add})
	s := add(t, w, streamInfo("a"))
	i := 0
	for len(told.all()) == 0 && i < 100_000 {
		s.Write(filled(i, 1000), false, begin.Add(time.Duration(i)*time.Millisecond))
		if i++; i%50 == 0 {
			w.flush()
		}
	}
	if len(told.all()) != 1 || !errors.Is(told.all()[0], syscall.ENOSPC) {
		t.Fatalf("told %v", told.all())
	}
	before := len(packets(t, open(t, dir, key), "a"))
	if before < 200 {
		t.Errorf("%d packets are readable", before)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.flush()
	if after := len(packets(t, open(t, dir, key), "a")); after < before+400 {
		t.Errorf("%d packets after there was room, %d before", after, before)
	}
	_ = w.Close() // all that waited does not fit
	if _, err := Open(dir, key); err != nil {
		t.Error(err)
	}
	if err := Destroy(dir); err != nil {
		t.Error(err)
	}
}
