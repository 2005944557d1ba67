package evidence

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Key signs. It is an Ed25519 key (RFC 8032).
type Key struct{ private ed25519.PrivateKey }

// PublicKey verifies.
type PublicKey struct{ public ed25519.PublicKey }

// ErrKey is a key that cannot be used.
var ErrKey = errors.New("bad evidence key")

// LoadKey reads the key from a file (PEM, PKCS #8), or makes one there that
// only the file's owner may read. A file that others may read is refused.
func LoadKey(name string) (Key, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(name)
	}
	if err != nil {
		return Key{}, fmt.Errorf("read evidence key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("%w: others may read %s; chmod 600 it, and think of who did", ErrKey, name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return Key{}, fmt.Errorf("read evidence key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return Key{}, fmt.Errorf("%w: %s holds no private key", ErrKey, name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return Key{}, fmt.Errorf("%w: %s holds no Ed25519 key", ErrKey, name)
	}
	return Key{private}, nil
}

// makeKey writes beside the name and links it there: whole, and only if no
// other process was sooner, whose key is taken then.
func makeKey(name string) (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make evidence key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Key{}, fmt.Errorf("make evidence key: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".evidence-*") // 0600
	if err != nil {
		return Key{}, fmt.Errorf("keep evidence key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Key{}, fmt.Errorf("keep evidence key: %w", err)
	}
	if err := os.Link(f.Name(), name); errors.Is(err, fs.ErrExist) {
		return LoadKey(name)
	} else if err != nil {
		return Key{}, fmt.Errorf("keep evidence key: %w", err)
	}
	return Key{private}, nil
}

// Public is the half that verifies.
func (k Key) Public() PublicKey { return PublicKey{k.private.Public().(ed25519.PublicKey)} }

// Sign makes the head's signature. Entries that are added later undo it.
func (m *Manifest) Sign(k Key) error {
	m.Head.Key = k.Public().Fingerprint()
	text, err := m.Head.message()
	if err != nil {
		return fmt.Errorf("sign %s: %w", m.Head.Case, err)
	}
	m.Head.Signature = ed25519.Sign(k.private, text)
	return nil
}

// message is what is signed.
func (h Head) message() ([]byte, error) {
	h.Signature = nil
	return message("stillwatch evidence head 1\n", h)
}

func (p PublicKey) verify(text, signature []byte) bool {
	return len(p.public) == ed25519.PublicKeySize && len(signature) == ed25519.SignatureSize && ed25519.Verify(p.public, text, signature)
}

// PEM writes the key as openssl and others read it (SubjectPublicKeyInfo).
func (p PublicKey) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(p.public)
	if err != nil { // of an Ed25519 key there is none
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Fingerprint is the SHA-256 of the key's DER form, in hexadecimal digits.
func (p PublicKey) Fingerprint() string {
	block, _ := pem.Decode(p.PEM())
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

// ParsePublicKey reads what PEM wrote, or returns ErrKey.
func ParsePublicKey(text []byte) (PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return PublicKey{}, fmt.Errorf("%w: it is no public key in PEM", ErrKey)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return PublicKey{}, fmt.Errorf("%w: it is no Ed25519 key", ErrKey)
	}
	return PublicKey{public}, nil
}
