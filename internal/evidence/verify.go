package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Fault is the first thing that is not as it was signed.
type Fault struct {
	// Entry is its number, -1 for the head.
	Entry int
	// Name is its object's, or what kind of entry it is.
	Name string
	Why  string
}

// Error implements error.
func (f *Fault) Error() string {
	if f.Entry < 0 {
		return "the head: " + f.Why
	}
	return fmt.Sprintf("entry %d (%s): %s", f.Entry, f.Name, f.Why)
}

// Verify tells whether a manifest is whole and as it was signed with the key,
// and each object that it names as it was: open gives an object by its Name.
// It returns nil or a *Fault that names the first entry that was deleted,
// inserted, moved or edited, or whose object was; any other error is open's.
func Verify(m *Manifest, open func(name string) (io.ReadCloser, error), key PublicKey) error {
	if err := m.verifyHead(key); err != nil {
		return err
	}
	for i, e := range m.Entries {
		if err := m.verifyEntry(i, e); err != nil {
			return err
		}
	}
	if i := len(m.Entries); i < len(m.Head.Hashes) {
		return &Fault{i, "missing", fmt.Sprintf("it is missing; %d entries were signed", len(m.Head.Hashes))}
	}
	for i, e := range m.Entries {
		if e.Name == "" {
			continue
		}
		if err := verifyObject(i, e, open); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manifest) verifyHead(key PublicKey) error {
	if m.Head.Key != key.Fingerprint() {
		return &Fault{-1, "head", fmt.Sprintf("it was signed with the key %.64q, not with %s", m.Head.Key, key.Fingerprint())}
	}
	text, err := m.Head.message()
	if err != nil {
		return err
	}
	if !key.verify(text, m.Head.Signature) {
		return &Fault{-1, "head", "its signature is wrong"}
	}
	return nil
}

func (m *Manifest) verifyEntry(i int, e Entry) error {
	name := e.Name
	if name == "" {
		name = e.Kind
	}
	fault := func(why string) error { return &Fault{i, name, why} }
	if i >= len(m.Head.Hashes) {
		return fault(fmt.Sprintf("it was added; %d entries were signed", len(m.Head.Hashes)))
	}
	hash, err := e.Hash()
	if err != nil || hash != m.Head.Hashes[i] {
		return fault("it is not what was signed in its place")
	}
	prev := First
	if i > 0 {
		prev = m.Head.Hashes[i-1]
	}
	if e.N != i || e.Prev != prev {
		return fault("it was signed without what stands before it")
	}
	if why := e.wrong(); why != "" {
		return fault(why)
	}
	return nil
}

func verifyObject(i int, e Entry, open func(name string) (io.ReadCloser, error)) error {
	r, err := open(e.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return &Fault{i, e.Name, "its object is missing"}
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", e.Name, err)
	}
	defer r.Close()
	h := sha256.New()
	// One byte more than there should be tells that there is more.
	size, err := io.Copy(h, io.LimitReader(r, e.Size+1))
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", e.Name, err)
	case size < e.Size:
		return &Fault{i, e.Name, fmt.Sprintf("its object has %d of %d bytes", size, e.Size)}
	case size > e.Size:
		return &Fault{i, e.Name, fmt.Sprintf("its object has more than %d bytes", e.Size)}
	case hex.EncodeToString(h.Sum(nil)) != e.SHA256:
		return &Fault{i, e.Name, "its object was changed"}
	}
	return nil
}
