package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestEncryptedFilesLeaveNoPlaintext(t *testing.T) {
	t.Parallel()
	g := newGnuPG(t, "future-default", "default", "never")
	dir, objects := t.TempDir(), newStores(t)
	f := File{Path: file(t, dir, "a.mp4", 700_000), Key: "rec/a.mp4.gpg", EncryptTo: g.public()}
	plain, err := os.ReadFile(f.Path)
	noErr(t, err)
	cfg := Config{Objects: objects, Journal: filepath.Join(dir, "journal")}
	// Killed between the object and the journal's line: ours, not another's.
	killed := false
	objects.fault = func(op, _ string) error {
		if op == "open" && !killed { // the read that verifies
			killed = true
			return errors.New("killed")
		}
		return nil
	}
	s := open(t, cfg)
	s.cfg.Tries = 1
	if _, err := s.Put(t.Context(), f); !errors.Is(err, ErrStoreDown) {
		t.Fatal(err)
	}
	noErr(t, s.Close())
	for range 2 {
		got, err := open(t, cfg).Put(t.Context(), f)
		if err != nil || got.Key != f.Key || !got.Encrypted || got.PlainSize != 700_000 || got.Size <= got.PlainSize || got.SHA256 == got.PlainSHA256 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if keys := objects.keys(t, ""); len(keys) != 1 || objects.uploads.Load() != 2 {
		t.Errorf("%v after %d uploads", keys, objects.uploads.Load())
	}
	sealed, err := objects.byName[""].Get(t.Context(), f.Key)
	noErr(t, err)
	if !IsEncrypted(sealed) || bytes.Contains(sealed, plain[:32]) {
		t.Error("it is not encrypted")
	}
	in, out := filepath.Join(dir, "got.gpg"), filepath.Join(dir, "got")
	noErr(t, os.WriteFile(in, sealed, 0o600))
	g.run("--output", out, "--decrypt", in)
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	f.EncryptTo = "nonsense"
	var e *Error
	if _, err := open(t, cfg).Put(t.Context(), f); !errors.As(err, &e) || e.Class != Ours || len(objects.keys(t, "")) != 1 {
		t.Errorf("a wrong key: %v", err)
	}
}
