package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// journal remembers over a crash what was begun and what is stored. It is a
// file of JSON lines that only grows.
type journal struct {
	f       *os.File
	begun   map[string]string // keys
	uploads map[string]string // ids of uploads in parts
	done    map[string]Stored
}

type line struct {
	Begun  string  `json:"begun,omitempty"`
	Key    string  `json:"key,omitempty"`
	Done   string  `json:"done,omitempty"`
	Stored *Stored `json:"stored,omitempty"`
	// Uploading is of which file Upload is the upload in parts.
	Uploading string `json:"uploading,omitempty"`
	Upload    string `json:"upload,omitempty"`
}

// identity is of a file as it is now, going to one place: another content is
// another identity.
func identity(storage string, f File, info os.FileInfo) string {
	told, err := json.Marshal([]any{storage, f.Key, info.Name(), info.Size(), info.ModTime().UnixNano(), f.EncryptTo})
	if err != nil { // strings and numbers
		panic(err)
	}
	sum := sha256.Sum256(told)
	return hex.EncodeToString(sum[:16])
}

func openJournal(name string) (*journal, error) {
	j := &journal{begun: map[string]string{}, uploads: map[string]string{}, done: map[string]Stored{}}
	if name == "" {
		return j, nil
	}
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read journal of the archive: %w", err)
	}
	whole := 0
	for whole < len(text) {
		end := bytes.IndexByte(text[whole:], '\n')
		if end < 0 {
			break
		}
		var l line
		if err := json.Unmarshal(text[whole:whole+end], &l); err != nil {
			return nil, fmt.Errorf("read journal %s at byte %d: %w", name, whole, err)
		}
		j.take(l)
		whole += end + 1
	}
	if j.f, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, fmt.Errorf("open journal of the archive: %w", err)
	}
	if whole < len(text) { // a torn last line
		if err := j.f.Truncate(int64(whole)); err != nil {
			_ = j.f.Close()
			return nil, fmt.Errorf("mend journal of the archive: %w", err)
		}
	}
	return j, nil
}

func (j *journal) take(l line) {
	if l.Begun != "" {
		j.begun[l.Begun] = l.Key
	}
	if l.Uploading != "" {
		j.uploads[l.Uploading] = l.Upload
	}
	if l.Done != "" && l.Stored != nil {
		j.done[l.Done] = *l.Stored
	}
}

// note writes a line, which is on the disk when it returns.
func (j *journal) note(l line) error {
	j.take(l)
	if j.f == nil {
		return nil
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write journal of the archive: %w", err)
	}
	if _, err = j.f.Write(append(text, '\n')); err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write journal of the archive: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	f := j.f
	j.f = nil
	return f.Close()
}
