package evidence

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Files of an export's folder, beside its objects.
const (
	ManifestName = "manifest.json"
	// KeyName is the public key as the exporter has it. Who doubts the exporter
	// compares it with a key from elsewhere.
	KeyName = "evidence.pub"
)

// maxManifest bounds what is read of a manifest, in bytes.
const maxManifest = 1 << 30

// VerifyFolder verifies an export's folder with a key: its manifest, all its
// objects, and that there is no other file in it. It needs nothing else.
func VerifyFolder(dir string, key PublicKey) (*Manifest, error) {
	root, err := os.OpenRoot(dir) // links do not lead out of it
	if err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	defer root.Close()
	m, err := readManifest(root)
	if err != nil {
		return nil, err
	}
	if err := Verify(m, func(name string) (io.ReadCloser, error) { return root.Open(name) }, key); err != nil {
		return m, err
	}
	known := map[string]bool{ManifestName: true, KeyName: true}
	for _, e := range m.Entries {
		known[e.Name] = true
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !known[name] {
			return &Fault{len(m.Entries), name, "the manifest does not name this file"}
		}
		return err
	})
	return m, err
}

func readManifest(root *os.Root) (*Manifest, error) {
	f, err := root.Open(ManifestName)
	if err != nil {
		return nil, fmt.Errorf("open manifest: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if len(text) > maxManifest {
		return nil, fmt.Errorf("read manifest: %w: it is too large", ErrForm)
	}
	return Decode(text)
}

// WriteFolder signs a manifest and writes it and the public key beside the
// objects that are in dir already. Everything is on the disk when it returns.
func WriteFolder(dir string, m *Manifest, k Key) error {
	if err := m.Sign(k); err != nil {
		return err
	}
	text, err := m.Encode()
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return errors.Join(writeFile(filepath.Join(dir, KeyName), k.Public().PEM()), writeFile(filepath.Join(dir, ManifestName), text))
}

func writeFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}
