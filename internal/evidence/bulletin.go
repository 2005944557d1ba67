package evidence

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bulletin says which heads there were at a time. It is published where the
// holder of the key cannot change it any more: a manifest that is made anew and
// signed later, however right in itself, is in none of the bulletins before.
type Bulletin struct {
	Version int `json:"version"`
	// N counts from 0. Prev is the hash of the bulletin before, or First.
	N    int    `json:"n"`
	Prev string `json:"prev"`
	// At is when it was made, by the clock of the machine.
	At time.Time `json:"at"`
	// Heads are those that are new since the bulletin before; there may be none.
	Heads []Published `json:"heads"`
	// Key and Signature are as in Head.
	Key       string `json:"key"`
	Signature []byte `json:"signature"`
}

// Published is a head: of an export, or of the manifest that was stored with a
// recording.
type Published struct {
	// ID is that of the row: of the audit, or of the manifest's file.
	ID string `json:"id"`
	// Case is what the manifest is of, At when it was made.
	Case string    `json:"case"`
	At   time.Time `json:"at"`
	// Head is the hash of an export's last entry, which holds those of all
	// before. Manifest is the SHA-256 of the stored manifest. One of them is set.
	Head     string `json:"head,omitempty"`
	Manifest string `json:"manifest,omitempty"`
}

// NewBulletin continues a chain of bulletins; last is nil for the first.
func NewBulletin(last *Bulletin, at time.Time, heads []Published, k Key) (*Bulletin, error) {
	b := &Bulletin{Version: Version, Prev: First, At: at.UTC(), Heads: heads, Key: k.Public().Fingerprint()}
	if b.Heads == nil {
		b.Heads = []Published{}
	}
	if last != nil {
		prev, err := last.Hash()
		if err != nil {
			return nil, err
		}
		b.N, b.Prev = last.N+1, prev
	}
	text, err := b.message()
	if err != nil {
		return nil, fmt.Errorf("sign bulletin %d: %w", b.N, err)
	}
	b.Signature = ed25519.Sign(k.private, text)
	return b, nil
}

const bulletinWord = "stillwatch evidence bulletin 1\n"

// message is what is signed.
func (b Bulletin) message() ([]byte, error) {
	b.Signature = nil
	return message(bulletinWord, b)
}

// Hash is the SHA-256 of what is signed.
func (b Bulletin) Hash() (string, error) {
	b.Signature = nil
	return hash(bulletinWord, b)
}

// Encode writes the bulletin in the only form that DecodeBulletin takes.
func (b *Bulletin) Encode() ([]byte, error) {
	text, err := encode(b, " ")
	return append(text, '\n'), err
}

// DecodeBulletin reads a bulletin. It returns ErrForm for a text that Encode
// did not write to the byte; the signature is not checked yet.
func DecodeBulletin(text []byte) (*Bulletin, error) {
	var b Bulletin
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if b.Version != Version || b.N < 0 {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrForm, b.Version, Version)
	}
	again, err := b.Encode()
	if err != nil || !bytes.Equal(again, text) {
		return nil, fmt.Errorf("%w: %d bytes differ from their own meaning", ErrForm, len(text))
	}
	return &b, nil
}

// maxBulletin bounds what is read of a bulletin, in bytes.
const maxBulletin = 16 << 20

// ReadBulletins reads the bulletins of a folder, all files that end with .json,
// or the one of a file, in their order.
func ReadBulletins(path string) ([]*Bulletin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read bulletins: %w", err)
	}
	names := []string{path}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("read bulletins: %w", err)
		}
		names = nil
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".json") {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
	}
	var out []*Bulletin
	for _, name := range names {
		b, err := readBulletin(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b *Bulletin) int { return a.N - b.N })
	return out, nil
}

func readBulletin(name string) (*Bulletin, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBulletin+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxBulletin {
		return nil, fmt.Errorf("%w: it is too large", ErrForm)
	}
	return DecodeBulletin(text)
}

// VerifyBulletins tells whether bulletins, in their order, are signed with the
// key and each stands on the one before it. The first may be any.
func VerifyBulletins(all []*Bulletin, key PublicKey) error {
	for i, b := range all {
		text, err := b.message()
		if err != nil {
			return err
		}
		if b.Key != key.Fingerprint() || !key.verify(text, b.Signature) {
			return fmt.Errorf("bulletin %d is not signed with the key %s", b.N, key.Fingerprint())
		}
		if i == 0 {
			continue
		}
		prev, err := all[i-1].Hash()
		if err != nil {
			return err
		}
		if b.N != all[i-1].N+1 {
			return fmt.Errorf("bulletin %d is followed by %d: one is missing, or was published twice", all[i-1].N, b.N)
		}
		if b.Prev != prev {
			return fmt.Errorf("bulletin %d does not stand on bulletin %d: one of them was made anew", b.N, all[i-1].N)
		}
	}
	return nil
}

// CheckPublished tells whether a manifest, verified before, is one whose head
// the bulletins have, and holds every manifest that they have of its case. It
// returns a *Fault if it was made anew since, or never published.
func CheckPublished(m *Manifest, all []*Bulletin) error {
	last := First
	if n := len(m.Head.Hashes); n > 0 {
		last = m.Head.Hashes[n-1]
	}
	found := false
	for _, b := range all {
		for _, h := range b.Heads {
			if h.Case != m.Head.Case {
				continue
			}
			found = found || h.Head == last
			if h.Manifest != "" && !m.holds(h) {
				return &Fault{-1, "head", fmt.Sprintf("the recording's manifest that bulletin %d tells of (%s) is not in it", b.N, h.Manifest)}
			}
		}
	}
	if !found {
		return &Fault{-1, "head", "no bulletin tells of it: it was made anew, or not published"}
	}
	return nil
}

// holds tells whether an entry is the object that was published. Of a file that
// retention deleted only the row is left.
func (m *Manifest) holds(h Published) bool {
	return slices.ContainsFunc(m.Entries, func(e Entry) bool {
		return e.Kind == "file" && (e.SHA256 == h.Manifest || e.ID == h.ID && e.Name == "")
	})
}
