package archive

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// gnupg is a home of GnuPG's with one key pair, which only the test has.
type gnupg struct {
	t    *testing.T
	home string
}

func newGnuPG(t *testing.T, algorithm, usage, expires string) *gnupg {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("gpg is not installed")
	}
	// Sockets of its agent have short names only.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	g := &gnupg{t, home}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	g.run("--batch", "--passphrase", "", "--quick-gen-key", "archive <archive@example.test>", algorithm, usage, expires)
	return g
}

func (g *gnupg) run(args ...string) []byte {
	g.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", g.home, "--quiet"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("gpg %v: %v: %s", args, err, &stderr)
	}
	return out
}

func (g *gnupg) public() string { return string(g.run("--armor", "--export")) }

func TestGnuPGDecryptsWhatWasEncrypted(t *testing.T) {
	t.Parallel()
	for algorithm, usage := range map[string]string{"future-default": "default", "rsa2048": "sign,encrypt"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			g := newGnuPG(t, algorithm, usage, "never")
			key := g.public()
			fingerprint, err := CheckKey(key)
			if err != nil || !strings.Contains(string(g.run("--with-colons", "--list-keys")), "fpr:::::::::"+fingerprint+":") {
				t.Fatalf("%s, %v", fingerprint, err)
			}
			movie := make([]byte, 3<<20+17)
			_, _ = rand.Read(movie)
			for name, body := range map[string][]byte{"movie": movie, "empty": nil} {
				var sealed bytes.Buffer
				w, err := Encrypt(&sealed, key, name+".mp4")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(w, bytes.NewReader(body)); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if !IsEncrypted(sealed.Bytes()) || bytes.Contains(sealed.Bytes(), movie[:64]) {
					t.Error("plaintext")
				}
				in, out := filepath.Join(g.home, name+".gpg"), filepath.Join(g.home, name)
				if err := os.WriteFile(in, sealed.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				g.run("--output", out, "--decrypt", in) // as the administrator does it
				if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(body), err)
				}
			}
		})
	}
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	g := newGnuPG(t, "ed25519", "sign", "never")
	signs := g.public()
	private := string(g.run("--batch", "--passphrase", "", "--armor", "--export-secret-keys"))
	good := armored(t, time.Now(), 0)
	for name, c := range map[string]struct{ key, want string }{
		"empty":    {" \n", "empty"},
		"nonsense": {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nhello\n-----END PGP PUBLIC KEY BLOCK-----\n", "cannot be read"},
		"private":  {private, "private key"},
		"signs":    {signs, "only sign"},
		"two":      {good + armored(t, time.Now(), 0), "several"},
		"expired":  {armored(t, time.Now().Add(-48*time.Hour), 3600), "expired"},
		"large":    {strings.Repeat("x", maxKey+1), "too large"},
	} {
		if _, err := CheckKey(c.key); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Encrypt(io.Discard, c.key, "x"); !errors.Is(err, ErrKey) {
			t.Errorf("%s: encrypted to: %v", name, err)
		}
	}
	if _, err := CheckKey(good); err != nil {
		t.Error(err)
	}
}

// armored is a public key that was made at a time, and lives for a while.
func armored(t *testing.T, made time.Time, seconds uint32) string {
	t.Helper()
	e, err := openpgp.NewEntity("archive", "", "archive@example.test", &packet.Config{
		Time: func() time.Time { return made }, KeyLifetimeSecs: seconds, Algorithm: packet.PubKeyAlgoEdDSA,
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\n"
}

func TestEncryptingReader(t *testing.T) {
	t.Parallel()
	key := armored(t, time.Now(), 0)
	broken := errors.New("the disk broke")
	r, err := encrypted(io.MultiReader(strings.NewReader("start"), iotest.ErrReader(broken)), key, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, broken) {
		t.Errorf("a broken file is a whole message: %v", err)
	}
	_ = r.Close()
	r, err = encrypted(bytes.NewReader(make([]byte, 1<<20)), key, "x") // given up early
	if err != nil {
		t.Fatal(err)
	}
	_, _ = r.Read(make([]byte, 10))
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
