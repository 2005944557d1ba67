package seal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ParseKey reads a master key from a setting: 32 bytes as 64 hex digits or as
// base64 (`openssl rand -base64 32`). Its error does not quote the text.
func ParseKey(text string) ([]byte, error) {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if b, err := decode(text); err == nil && len(b) == KeyBytes {
			return b, nil
		}
	}
	return nil, fmt.Errorf("not %d bytes as hex or base64", KeyBytes)
}

// LoadKey reads the master key from the file at path, 32 raw bytes, and makes
// it when there is none. A file that others may read is refused.
func LoadKey(path string) ([]byte, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, KeyBytes)
	_, _ = rand.Read(key)
	err = writeKey(path, key)
	if errors.Is(err, fs.ErrExist) { // made by another process meanwhile
		return readKey(path)
	}
	return key, err
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("find master key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("master key %s may be read by others (mode %#o): chmod 600 it", path, mode)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("master key %s has %d bytes; want %d: restore it from a backup", path, len(key), KeyBytes)
	}
	return key, nil
}

// writeKey puts a whole file in place or none: a key cut short would lose
// every secret sealed before it is noticed.
func writeKey(path string, key []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".master-*") // mode 0600
	if err != nil {
		return fmt.Errorf("make master key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(key)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write master key: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil { // fails if path is there
		return fmt.Errorf("keep master key: %w", err)
	}
	return nil
}
