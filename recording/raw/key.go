package raw

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"stillwatch/internal/seal"
)

// keyFile lies in the folder, purpose is what seals it.
const (
	keyFile = "key"
	purpose = "recording.raw"
)

// NewKey makes a random key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k[:]) // never fails since Go 1.24
	return k
}

// SaveKey makes the folder and keeps its key in it, in a file "key" that only
// the owner may read, sealed for the folder's name (the session's id): a
// folder that gets another name cannot be opened any more. It is synced when
// SaveKey returns. A key that is there already is not replaced.
func SaveKey(dir string, key Key, box *seal.Box) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	text, err := box.Seal(purpose, filepath.Base(dir), string(key[:]))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, keyFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make key of recording: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close(), syncDir(dir)); err != nil {
		return fmt.Errorf("write key of recording: %w", err)
	}
	return nil
}

// LoadKey finds the key again. The error wraps fs.ErrNotExist when it was
// destroyed or never saved, and those of package seal.
func LoadKey(dir string, box *seal.Box) (Key, error) {
	var k Key
	text, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return k, fmt.Errorf("read key of recording: %w", err)
	}
	plain, err := box.Open(purpose, filepath.Base(dir), string(text))
	if err != nil {
		return k, err
	}
	if copy(k[:], plain) != len(k) || len(plain) != len(k) {
		return k, fmt.Errorf("key of recording %s: %w", dir, seal.ErrBroken)
	}
	return k, nil
}

// Destroy makes what lies in the folder unreadable and then removes it: the
// key is overwritten, synced and unlinked before anything else is touched. It
// can be repeated after a crash, and does nothing when there is no folder.
// Files that are not of this package stay, and are an error.
//
// Overwriting in place reaches the medium itself only on file systems and
// disks that write in place; elsewhere the old key remains sealed with the
// master key.
func Destroy(dir string) error {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list recording: %w", err)
	}
	if err := shred(filepath.Join(dir, keyFile)); err != nil {
		return fmt.Errorf("destroy key of recording: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("destroy key of recording: %w", err)
	}
	var errs []error
	for _, n := range names {
		if IsPackets(n.Name()) {
			errs = append(errs, remove(filepath.Join(dir, n.Name())))
		}
	}
	if err := errors.Join(append(errs, remove(dir))...); err != nil {
		return fmt.Errorf("destroy recording: %w", err)
	}
	return nil
}

// IsPackets tells whether a file of that name in a session's folder holds what
// was recorded: all but the key, and what is not of this package.
func IsPackets(name string) bool { return name == journalFile || filepath.Ext(name) == streamExt }

// shred overwrites a file and unlinks it.
func shred(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		noise := make([]byte, info.Size())
		_, _ = rand.Read(noise)
		_, err = f.WriteAt(noise, 0)
	}
	return errors.Join(err, f.Sync(), f.Close(), remove(path))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
