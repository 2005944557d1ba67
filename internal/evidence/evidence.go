// Package evidence makes a manifest of what belongs to a case, and tells
// whether it is still what it was: each entry holds the hash of the one before
// it, and the head, which names them all, is signed (Ed25519).
//
// That makes changes evident. It does not make them impossible, and it does
// not prove that what was recorded is true: it proves that nothing was changed
// since the holder of the key signed it.
package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Version of the manifest's form.
const Version = 1

// ClockServer is the clock of the machine that noted a time: the system's,
// as it was set. No other party attests it.
const ClockServer = "server"

// First is what stands in Prev of the first entry.
const First = "0000000000000000000000000000000000000000000000000000000000000000"

// Manifest lists the entries of a case, in order, below a signed head.
type Manifest struct {
	Head    Head    `json:"head"`
	Entries []Entry `json:"entries"`
}

// Head says what the manifest is of, and which entries it has.
type Head struct {
	Version int `json:"version"`
	// Case is what it is of, such as "recording:<id>".
	Case string `json:"case"`
	// MadeAt and MadeBy are when, by the clock of the machine, and by whom.
	MadeAt time.Time `json:"made_at"`
	MadeBy string    `json:"made_by"`
	// Hashes are those of all entries, in order: with them, the first entry
	// that is not as it was can be named.
	Hashes []string `json:"hashes"`
	// Key is the fingerprint of the public key that the signature is of.
	Key string `json:"key"`
	// Signature is over the head without it, in base64.
	Signature []byte `json:"signature"`
}

// Entry is one thing of the case: an object, a row of the database, or both.
type Entry struct {
	N int `json:"n"`
	// Prev is the hash of the entry before, or First.
	Prev string `json:"prev"`
	// Kind is what it is: "recording", "file", "frame", "verdict", "decision",
	// "action", "audit", "hold".
	Kind string `json:"kind"`
	// ID is that of the row.
	ID string `json:"id"`
	// Name is the object's file in the export, relative, with slashes; "" for
	// an entry without an object. Key is what it was called in the store, Size
	// in bytes, SHA256 in lower-case hexadecimal digits.
	Name   string `json:"name,omitempty"`
	Key    string `json:"key,omitempty"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// At is when it came to be, by Clock. Until is when it ended, if it lasted.
	At    time.Time  `json:"at"`
	Until *time.Time `json:"until,omitempty"`
	Clock string     `json:"clock"`
	// Actor is who did it: a user, a model with its version, a rule.
	Actor string `json:"actor,omitempty"`
	// Note is what else is known, as JSON.
	Note json.RawMessage `json:"note,omitempty"`
}

// New begins a manifest.
func New(of, by string, at time.Time) *Manifest {
	return &Manifest{Head: Head{Version: Version, Case: of, MadeBy: by, MadeAt: at.UTC(), Hashes: []string{}}, Entries: []Entry{}}
}

// Add puts an entry at the end and makes its N, Prev and the canonical form of
// its times and note. It is an error when the note is not JSON, the name leads
// out of the folder, or the entry names an object without its hash.
func (m *Manifest) Add(e Entry) error {
	e.N, e.Prev, e.At = len(m.Entries), First, e.At.UTC()
	if e.Until != nil {
		until := e.Until.UTC()
		e.Until = &until
	}
	if n := len(m.Head.Hashes); n > 0 {
		e.Prev = m.Head.Hashes[n-1]
	}
	if len(e.Note) > 0 {
		note, err := canonical(e.Note)
		if err != nil {
			return fmt.Errorf("add entry %d: note: %w", e.N, err)
		}
		e.Note = note
	}
	if why := e.wrong(); why != "" {
		return fmt.Errorf("add entry %d: %s", e.N, why)
	}
	hash, err := e.Hash()
	if err != nil {
		return fmt.Errorf("add entry %d: %w", e.N, err)
	}
	m.Entries, m.Head.Hashes, m.Head.Signature = append(m.Entries, e), append(m.Head.Hashes, hash), nil
	return nil
}

// wrong tells what no entry may be.
func (e Entry) wrong() string {
	switch {
	case e.Kind == "" || e.Clock == "":
		return "it has no kind or no clock"
	case e.Name == "":
		return ""
	case !CleanName(e.Name):
		return "its name leads out of the folder"
	case len(e.SHA256) != 2*sha256.Size || e.Size < 0:
		return "its object has no hash or no size"
	}
	return ""
}

// CleanName tells whether a name stays in the folder of an export, whatever
// the system takes for a separator.
func CleanName(name string) bool {
	return name != "" && name != "." && name != ".." && path.Clean(name) == name && !path.IsAbs(name) && !strings.HasPrefix(name, "../") &&
		!strings.ContainsAny(name, "\\:\x00")
}

// Hash is the SHA-256 of the entry's canonical form: JSON with keys sorted, no
// spaces, numbers as they were written.
func (e Entry) Hash() (string, error) { return hash("stillwatch evidence entry 1\n", e) }

// hash is over a word for what is hashed, so that no hash of one thing is that
// of another, and the canonical form.
func hash(word string, v any) (string, error) {
	text, err := message(word, v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func message(word string, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	text, err = canonical(text)
	return append([]byte(word), text...), err
}

// canonical writes JSON again with keys sorted and no spaces.
func canonical(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if dec.More() {
		return nil, errors.New("read JSON: more than one value")
	}
	return encode(v, "")
}

func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Encode writes the manifest in the only form that Decode takes.
func (m *Manifest) Encode() ([]byte, error) {
	text, err := encode(m, " ")
	return append(text, '\n'), err
}

// ErrForm is a manifest that is not written as Encode writes: it may say
// something else to another reader.
var ErrForm = errors.New("not written as a manifest is")

// Decode reads a manifest. It returns ErrForm for a text that Encode did not
// write to the byte; nothing else is checked yet.
func Decode(text []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if m.Head.Version != Version {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrForm, m.Head.Version, Version)
	}
	again, err := m.Encode()
	if err != nil || !bytes.Equal(again, text) {
		return nil, fmt.Errorf("%w: %d bytes differ from their own meaning", ErrForm, len(text))
	}
	return &m, nil
}
