package archive

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// ErrKey is a public key that cannot be encrypted to.
var ErrKey = errors.New("bad OpenPGP public key")

// maxKey bounds an armored key, in bytes: one with hundreds of signatures.
const maxKey = 256 << 10

// CheckKey returns the fingerprint of an armored OpenPGP public key, in upper-
// case hexadecimal digits, or ErrKey with what is wrong with it.
func CheckKey(armored string) (fingerprint string, err error) {
	e, err := readKey(armored, time.Now())
	if err != nil {
		return "", err
	}
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint)), nil
}

func readKey(armored string, now time.Time) (*openpgp.Entity, error) {
	bad := func(why string) error { return fmt.Errorf("%w: %s", ErrKey, why) }
	switch {
	case strings.TrimSpace(armored) == "":
		return nil, bad("it is empty")
	case len(armored) > maxKey:
		return nil, bad("it is too large")
	case strings.Contains(armored, "PRIVATE KEY BLOCK"):
		return nil, bad("it is a private key, which must not leave its owner; give what gpg --armor --export prints")
	case strings.Count(armored, "-----BEGIN PGP") > 1:
		return nil, bad("there are several keys; give one")
	}
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: it cannot be read: %w", ErrKey, err)
	case len(ring) != 1:
		return nil, bad("there are several keys; give one")
	case ring[0].PrivateKey != nil:
		return nil, bad("it is a private key, which must not leave its owner")
	}
	return ring[0], usable(ring[0], now)
}

// usable tells why nothing can be encrypted to a key.
func usable(e *openpgp.Entity, now time.Time) error {
	if _, ok := e.EncryptionKey(now); ok {
		return nil
	}
	if e.Revoked(now) {
		return fmt.Errorf("%w: it was revoked", ErrKey)
	}
	if sig, _ := e.PrimarySelfSignature(); sig != nil && e.PrimaryKey.KeyExpired(sig, now) {
		return fmt.Errorf("%w: it has expired", ErrKey)
	}
	for _, sub := range e.Subkeys {
		if sub.Sig != nil && (sub.Sig.FlagEncryptStorage || sub.Sig.FlagEncryptCommunications) && sub.PublicKey.KeyExpired(sub.Sig, now) {
			return fmt.Errorf("%w: its part for encryption has expired", ErrKey)
		}
	}
	return fmt.Errorf("%w: it cannot encrypt, only sign", ErrKey)
}

// Encrypt encrypts what is written to the returned writer to a public key, as
// it comes, and writes it to w (RFC 9580, in the packets that gpg 2.2 reads:
// AES-256 with integrity protection, not compressed). The message is whole
// after Close, which does not close w. Filename stands inside.
func Encrypt(w io.Writer, armoredPublicKey, filename string) (io.WriteCloser, error) {
	now := time.Now()
	e, err := readKey(armoredPublicKey, now)
	if err != nil {
		return nil, err
	}
	cfg := &packet.Config{
		DefaultCipher: packet.CipherAES256, DefaultCompressionAlgo: packet.CompressionNone,
		Time: func() time.Time { return now },
	}
	out, err := openpgp.Encrypt(w, []*openpgp.Entity{e}, nil, &openpgp.FileHints{IsBinary: true, FileName: filename, ModTime: now}, cfg)
	if err != nil {
		return nil, fmt.Errorf("encrypt %s: %w", filename, err)
	}
	return out, nil
}

// encrypted reads r encrypted. The goroutine behind it ends when the reader
// was read to its end or closed, which has to be done.
func encrypted(r io.Reader, armoredPublicKey, filename string) (io.ReadCloser, error) {
	// The key is read twice, so that a bad one is told before anything starts.
	if _, err := CheckKey(armoredPublicKey); err != nil {
		return nil, err
	}
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(func() error {
			w, err := Encrypt(pw, armoredPublicKey, filename)
			if err != nil {
				return err
			}
			// Large pieces: every one costs a pass through the pipe.
			if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
				return err // without Close: what came out is not a whole message
			}
			return w.Close()
		}())
	}()
	return &pipeEnd{pr, done}, nil
}

type pipeEnd struct {
	*io.PipeReader
	done chan struct{}
}

// Close ends the encryption and waits for it.
func (p *pipeEnd) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// IsEncrypted tells whether bytes begin as a message that Encrypt made: with a
// session key for a public key. It is for checks that no plaintext is left.
func IsEncrypted(head []byte) bool {
	p, err := packet.Read(bytes.NewReader(head))
	_, ok := p.(*packet.EncryptedKey)
	return ok && err == nil
}
