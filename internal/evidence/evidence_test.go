package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func noErr(t interface {
	Helper()
	Fatal(...any)
}, err error,
) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) Key {
	t.Helper()
	k, err := LoadKey(filepath.Join(t.TempDir(), "evidence.key"))
	noErr(t, err)
	return k
}

// objects are what a manifest names.
type objects map[string][]byte

func (o objects) open(name string) (io.ReadCloser, error) {
	body, ok := o[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

// sample is a signed manifest of n entries, every other with an object.
func sample(t interface {
	Helper()
	Fatal(...any)
}, k Key, n int,
) (*Manifest, objects) {
	t.Helper()
	at := time.Date(2026, 1, 5, 10, 0, 0, 123456789, time.UTC)
	m, o := New("recording:r1", "stillwatch dev", at), objects{}
	for i := range n {
		e := Entry{Kind: "decision", ID: fmt.Sprint("id", i), At: at.Add(time.Duration(i) * time.Second), Clock: ClockServer, Actor: "rule:porn@v3", Note: json.RawMessage(fmt.Sprintf(`{"score": 0.%d1, "a":"<&ä>", "big": 12345678901234567890}`, i))}
		if i%2 == 0 {
			body := []byte(strings.Repeat(fmt.Sprint("object ", i), 40))
			sum := sha256.Sum256(body)
			e.Kind, e.Name, e.Key = "file", fmt.Sprintf("objects/%d.mp4", i), fmt.Sprintf("recordings/r1/%d.mp4", i)
			e.Size, e.SHA256 = int64(len(body)), hex.EncodeToString(sum[:])
			o[e.Name] = body
		}
		noErr(t, m.Add(e))
	}
	noErr(t, m.Sign(k))
	return m, o
}

func reread(t interface {
	Helper()
	Fatal(...any)
}, m *Manifest,
) *Manifest {
	t.Helper()
	text, err := m.Encode()
	noErr(t, err)
	again, err := Decode(text)
	noErr(t, err)
	return again
}

func TestAWholeManifestVerifies(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	for n := range 5 {
		m, o := sample(t, k, n)
		noErr(t, Verify(reread(t, m), o.open, k.Public()))
	}
}

func TestAnotherKeyDoesNot(t *testing.T) {
	t.Parallel()
	k, other := newKey(t), newKey(t)
	m, o := sample(t, k, 3)
	var f *Fault
	if err := Verify(m, o.open, other.Public()); !errors.As(err, &f) || f.Entry != -1 {
		t.Error(err)
	}
	m.Head.Key = other.Public().Fingerprint()
	if err := Verify(m, o.open, other.Public()); !errors.As(err, &f) || f.Entry != -1 || !strings.Contains(f.Why, "signature") {
		t.Error(err)
	}
	if err := Verify(m, o.open, PublicKey{}); err == nil {
		t.Error("without a key")
	}
}

// rechain makes an attacker's changes consistent, as far as that goes without
// the key: numbers and links fit again.
func rechain(t interface {
	Helper()
	Fatal(...any)
}, entries []Entry,
) {
	t.Helper()
	prev := First
	for i := range entries {
		entries[i].N, entries[i].Prev = i, prev
		var err error
		prev, err = entries[i].Hash()
		noErr(t, err)
	}
}

// Whatever is done to the entries, the first that is not as it was is named.
func TestTheFirstBadEntryIsNamed(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		m, o := sample(t, k, rapid.IntRange(1, 8).Draw(t, "entries"))
		was := slices.Clone(m.Entries)
		i := rapid.IntRange(0, len(was)-1).Draw(t, "at")
		want := i
		switch rapid.SampledFrom([]string{"delete", "insert", "move", "edit"}).Draw(t, "what") {
		case "delete":
			m.Entries = slices.Delete(m.Entries, i, i+1)
		case "insert":
			e := was[rapid.IntRange(0, len(was)-1).Draw(t, "of")]
			e.ID = "forged"
			want = rapid.IntRange(0, len(was)).Draw(t, "place")
			m.Entries = slices.Insert(m.Entries, want, e)
		case "move":
			if len(was) < 2 {
				t.Skip()
			}
			j := rapid.IntRange(0, len(was)-2).Draw(t, "with")
			if j >= i {
				j++
			}
			m.Entries[i], m.Entries[j] = m.Entries[j], m.Entries[i]
			want = min(i, j)
		case "edit":
			e := &m.Entries[i]
			edits := []func(){
				func() { e.Kind += "x" },
				func() { e.ID += "x" },
				func() { e.Actor += "x" },
				func() { e.Key += "x" },
				func() { e.Clock += "x" },
				func() { e.At = e.At.Add(1) },
				func() { until := e.At; e.Until = &until },
				func() { e.Note = json.RawMessage(`{"score":0.5}`) },
				func() { e.Size++ },
				func() { e.Name += "x" },
				func() { e.SHA256 = strings.Repeat("0", 64) },
			}
			rapid.SampledFrom(edits).Draw(t, "edit")()
		}
		if rapid.Bool().Draw(t, "rechained") {
			rechain(t, m.Entries)
		}
		var f *Fault
		if err := Verify(reread(t, m), o.open, k.Public()); !errors.As(err, &f) || f.Entry != want {
			t.Fatalf("want entry %d: %v", want, err)
		}
	})
}

func TestTheHeadIsSigned(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	for name, change := range map[string]func(m *Manifest){
		"case": func(m *Manifest) { m.Head.Case = "recording:r2" }, "who": func(m *Manifest) { m.Head.MadeBy = "x" },
		"when":      func(m *Manifest) { m.Head.MadeAt = m.Head.MadeAt.Add(time.Hour) },
		"hashes":    func(m *Manifest) { m.Head.Hashes[1] = First },
		"cut short": func(m *Manifest) { m.Head.Hashes, m.Entries = m.Head.Hashes[:2], m.Entries[:2] },
		"signature": func(m *Manifest) { m.Head.Signature[3] ^= 1 }, "unsigned": func(m *Manifest) { m.Head.Signature = nil },
	} {
		m, o := sample(t, k, 3)
		change(m)
		var f *Fault
		if err := Verify(m, o.open, k.Public()); !errors.As(err, &f) || f.Entry != -1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Any altered byte of an object is found, and of the manifest too.
func TestAnyAlteredByteIsFound(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	m, o := sample(t, k, 5)
	for name, body := range o {
		for i := range body {
			body[i] ^= 0x20
			var f *Fault
			if err := Verify(m, o.open, k.Public()); !errors.As(err, &f) || f.Name != name {
				t.Fatalf("%s, byte %d: %v", name, i, err)
			}
			body[i] ^= 0x20
		}
		for what, changed := range map[string][]byte{"shorter": body[:len(body)-1], "longer": append(slices.Clone(body), 'x'), "empty": nil} {
			o[name] = changed
			if err := Verify(m, o.open, k.Public()); err == nil {
				t.Errorf("%s, %s", name, what)
			}
		}
		delete(o, name)
		if err := Verify(m, o.open, k.Public()); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("%s is gone: %v", name, err)
		}
		o[name] = body
	}
	text, err := m.Encode()
	noErr(t, err)
	for i := range text {
		text[i] ^= 1
		changed, err := Decode(text)
		if err == nil {
			err = Verify(changed, o.open, k.Public())
		}
		if err == nil {
			t.Errorf("byte %d of the manifest, %q", i, text[max(0, i-20):i+1])
		}
		text[i] ^= 1
	}
}

func TestOneTextOneMeaning(t *testing.T) {
	t.Parallel()
	m, _ := sample(t, newKey(t), 2)
	text, err := m.Encode()
	noErr(t, err)
	for what, changed := range map[string]string{
		"a key twice":  strings.Replace(string(text), `"n": 0,`, `"n": 7, "n": 0,`, 1),
		"unknown":      strings.Replace(string(text), `"n": 0,`, `"m": 7, "n": 0,`, 1),
		"spaces":       strings.Replace(string(text), `"n": 0,`, `"n":  0,`, 1),
		"more":         string(text) + "{}",
		"other form":   strings.Replace(string(text), `"version": 1`, `"version": 2`, 1),
		"nothing":      "",
		"upper case":   strings.Replace(string(text), `"n": 0,`, `"N": 0,`, 1),
		"not a number": strings.Replace(string(text), `"n": 0,`, `"n": "0",`, 1),
	} {
		if _, err := Decode([]byte(changed)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWhatIsNoEntry(t *testing.T) {
	t.Parallel()
	ok := Entry{Kind: "file", Clock: ClockServer, Name: "a", SHA256: First}
	for what, change := range map[string]func(e *Entry){
		"no kind": func(e *Entry) { e.Kind = "" }, "no clock": func(e *Entry) { e.Clock = "" }, "no hash": func(e *Entry) { e.SHA256 = "" },
		"above": func(e *Entry) { e.Name = "../a" }, "root": func(e *Entry) { e.Name = "/a" }, "odd": func(e *Entry) { e.Name = `a\..\b` },
		"note": func(e *Entry) { e.Note = json.RawMessage("{") }, "two notes": func(e *Entry) { e.Note = json.RawMessage("1 2") },
		"dots": func(e *Entry) { e.Name = "a/../../b" }, "size": func(e *Entry) { e.Size = -1 },
	} {
		m, e := New("c", "b", time.Now()), ok
		change(&e)
		if err := m.Add(e); err == nil {
			t.Error(what)
		}
	}
	noErr(t, New("c", "b", time.Now()).Add(ok))
}

func TestKeys(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "evidence.key")
	k, err := LoadKey(name)
	noErr(t, err)
	again, err := LoadKey(name)
	noErr(t, err)
	info, err := os.Stat(name)
	noErr(t, err)
	if k.Public().Fingerprint() != again.Public().Fingerprint() || info.Mode().Perm() != 0o600 {
		t.Errorf("%v", info.Mode())
	}
	public, err := ParsePublicKey(k.Public().PEM())
	if err != nil || public.Fingerprint() != k.Public().Fingerprint() {
		t.Error(err)
	}
	private, err := os.ReadFile(name)
	noErr(t, err)
	for _, bad := range [][]byte{nil, []byte("x"), private} {
		if _, err := ParsePublicKey(bad); !errors.Is(err, ErrKey) {
			t.Error(err)
		}
	}
	noErr(t, os.Chmod(name, 0o644))
	if _, err := LoadKey(name); !errors.Is(err, ErrKey) {
		t.Errorf("a key that all may read: %v", err)
	}
	noErr(t, os.WriteFile(name, []byte("torn"), 0o600))
	noErr(t, os.Chmod(name, 0o600))
	if _, err := LoadKey(name); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
}

func TestOtherToolsReadTheKey(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	k := newKey(t)
	m, _ := sample(t, k, 2)
	text, err := m.Head.message()
	noErr(t, err)
	dir := t.TempDir()
	for name, body := range map[string][]byte{"head": text, "sig": m.Head.Signature, "pub": k.Public().PEM()} {
		noErr(t, os.WriteFile(filepath.Join(dir, name), body, 0o600))
	}
	cmd := exec.Command("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-rawin", "-in", "head", "-sigfile", "sig")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	write := func(t *testing.T) string {
		m, o := sample(t, k, 4)
		dir := t.TempDir()
		noErr(t, os.Mkdir(filepath.Join(dir, "objects"), 0o700))
		for name, body := range o {
			noErr(t, os.WriteFile(filepath.Join(dir, name), body, 0o600))
		}
		noErr(t, WriteFolder(dir, m, k))
		return dir
	}
	dir := write(t)
	m, err := VerifyFolder(dir, k.Public())
	if err != nil || len(m.Entries) != 4 {
		t.Fatal(err)
	}
	for what, change := range map[string]func(dir string) error{
		"a file more":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "objects", "x"), nil, 0o600) },
		"a file less":     func(dir string) error { return os.Remove(filepath.Join(dir, "objects", "2.mp4")) },
		"a link instead":  func(dir string) error { return swapForLink(filepath.Join(dir, "objects", "2.mp4")) },
		"no manifest":     func(dir string) error { return os.Remove(filepath.Join(dir, ManifestName)) },
		"a torn manifest": func(dir string) error { return os.Truncate(filepath.Join(dir, ManifestName), 100) },
	} {
		dir := write(t)
		noErr(t, change(dir))
		if _, err := VerifyFolder(dir, k.Public()); err == nil {
			t.Error(what)
		}
	}
}

// swapForLink puts a link to the same content elsewhere in a file's place.
func swapForLink(name string) error {
	elsewhere := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(name))), "elsewhere")
	return errors.Join(os.Rename(name, elsewhere), os.Symlink(elsewhere, name))
}

func FuzzDecode(f *testing.F) {
	k := newKey(f)
	m, o := sample(f, k, 2)
	text, err := m.Encode()
	noErr(f, err)
	f.Add(text)
	f.Add([]byte(`{"head":{"version":1},"entries":null}`))
	f.Fuzz(func(t *testing.T, changed []byte) {
		m, err := Decode(changed)
		if err != nil {
			if !errors.Is(err, ErrForm) {
				t.Fatal(err)
			}
			return
		}
		if err := Verify(m, o.open, k.Public()); err == nil && !bytes.Equal(changed, text) {
			t.Fatalf("%s", changed)
		}
	})
}
