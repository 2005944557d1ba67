// Package seal encrypts small secrets (keys of hooks and storages) for the
// database, so that a copy of the database alone tells none of them.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// KeyBytes is the length of a master key.
const KeyBytes = 32

// MaxPlain is the longest secret, in bytes; the largest is a service
// account's credentials file.
const MaxPlain = 64 << 10

// version is the first byte of everything sealed: AES-256-GCM (NIST SP
// 800-38D) with a random nonce, under a key that HKDF-SHA256 (RFC 5869) makes
// of the master key.
const version = 1

const (
	idBytes    = 8
	nonceBytes = 12
	tagBytes   = 16
	headBytes  = 1 + idBytes + nonceBytes
)

var (
	// ErrOtherKey means the secret was sealed with a master key that is not
	// here.
	ErrOtherKey = errors.New("sealed with another master key; restore data/master.key or the setting auth.master_key, or enter the secret anew")
	// ErrBroken means that the sealed text was changed, or stands with
	// another owner or purpose than it was made for.
	ErrBroken = errors.New("sealed secret cannot be opened: changed, or not this owner's")
)

// Box seals with one master key and opens with that one and older ones. It is
// safe for concurrent use.
type Box struct {
	keys []key // the first one seals
}

type key struct {
	id   [idBytes]byte
	aead cipher.AEAD
}

// New makes a box of the master key; what previous keys sealed can still be
// opened, which is how a key is rotated.
func New(master []byte, previous ...[]byte) (*Box, error) {
	b := &Box{}
	for _, m := range append([][]byte{master}, previous...) {
		k, err := derive(m)
		if err != nil {
			return nil, err
		}
		b.keys = append(b.keys, k)
	}
	return b, nil
}

func derive(master []byte) (k key, err error) {
	if len(master) != KeyBytes {
		return k, fmt.Errorf("master key has %d bytes; want %d", len(master), KeyBytes)
	}
	secret, err := hkdf.Key(sha256.New, master, nil, "stillwatch sealed secrets 1", 32)
	if err != nil {
		return k, fmt.Errorf("derive key: %w", err)
	}
	id, err := hkdf.Key(sha256.New, master, nil, "stillwatch master key id", idBytes)
	if err != nil {
		return k, fmt.Errorf("derive key id: %w", err)
	}
	copy(k.id[:], id)
	block, err := aes.NewCipher(secret)
	if err != nil {
		return k, fmt.Errorf("make cipher: %w", err)
	}
	k.aead, err = cipher.NewGCM(block)
	return k, err
}

// Seal encrypts a secret for one owner (a hook's or a storage's id) and one
// purpose (a name such as "hook.sqs_secret"); only with both can it be opened
// again. The result is text without spaces, about 1.4 times as long as plain
// and 50 characters, different each time.
func (b *Box) Seal(purpose, owner, plain string) (string, error) {
	if len(plain) > MaxPlain {
		return "", fmt.Errorf("seal %s: %d bytes; at most %d", purpose, len(plain), MaxPlain)
	}
	k := b.keys[0]
	out := make([]byte, headBytes, headBytes+len(plain)+tagBytes)
	out[0] = version
	copy(out[1:], k.id[:])
	nonce := out[1+idBytes : headBytes]
	_, _ = rand.Read(nonce) // never fails since Go 1.24
	out = k.aead.Seal(out, nonce, []byte(plain), bound(out[:1+idBytes], purpose, owner))
	return base64.RawURLEncoding.EncodeToString(out), nil
}

// Open returns what Seal encrypted for the same purpose and owner. Its errors
// wrap ErrOtherKey or ErrBroken and hold nothing of the secret.
func (b *Box) Open(purpose, owner, sealed string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < headBytes+tagBytes {
		return "", fmt.Errorf("open %s of %s: %w", purpose, owner, ErrBroken)
	}
	if raw[0] != version {
		return "", fmt.Errorf("open %s of %s: version %d is not known to this program: %w", purpose, owner, raw[0], ErrBroken)
	}
	for _, k := range b.keys {
		if [idBytes]byte(raw[1:1+idBytes]) != k.id {
			continue
		}
		plain, err := k.aead.Open(nil, raw[1+idBytes:headBytes], raw[headBytes:], bound(raw[:1+idBytes], purpose, owner))
		if err != nil {
			return "", fmt.Errorf("open %s of %s: %w", purpose, owner, ErrBroken)
		}
		return string(plain), nil
	}
	return "", fmt.Errorf("open %s of %s: %w", purpose, owner, ErrOtherKey)
}

// bound is the associated data: version and key id, and purpose and owner
// each behind its length, so that no two pairs read the same.
func bound(head []byte, purpose, owner string) []byte {
	out := append([]byte(nil), head...)
	for _, s := range []string{purpose, owner} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
		out = append(out, s...)
	}
	return out
}
