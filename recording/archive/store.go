package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/event"
	"stillwatch/internal/storage"
)

// Defaults of Config.
const (
	DefaultTries   = 5
	DefaultBackoff = 500 * time.Millisecond
	// maxBackoff is the longest pause between two tries.
	maxBackoff = 10 * time.Second
	// maxNumber is how many names that are taken are passed over.
	maxNumber = 1000
)

// Objects are the stores by reference: *storage.Stores.
type Objects interface {
	Upload(ctx context.Context, ref string, r io.Reader, contentType string) error
	Open(ctx context.Context, ref string) (io.ReadCloser, error)
	Stat(ctx context.Context, ref string) (blob.Object, error)
}

// Config is what a Store is made of.
type Config struct {
	Objects Objects
	// Storages are the names of those to try, in order: the second is for what
	// the first refuses for ever. "" is our own; none means our own alone.
	Storages []string
	// Journal is the path of the file that remembers what was stored; it lies
	// beside the recording's files, and goes with them.
	Journal string
	// Tries at one storage before ErrStoreDown, and the pause after the first
	// of them, which doubles; both default to the constants.
	Tries   int
	Backoff time.Duration
	// PartSize is how large the parts are in which files of twice that and more
	// go to stores that take parts; it defaults to the constant, and is at
	// least blob.MinPart.
	PartSize int64
	// DownIsRefusal sends files to the next storage also when one is down:
	// for the last of many calls.
	DownIsRefusal bool
	// Log may be nil: then slog.Default.
	Log *slog.Logger
}

// Store puts the files of a local folder into object stores. It is for one
// goroutine at a time, and one Store at a time for each journal.
//
// An object appears whole or not at all. After a crash, those that the journal
// knows and the store still has are not sent again. Of the one that was under
// way, S3 keeps the parts that arrived, and the rest is sent; elsewhere, and
// when it is encrypted, all of it is. The parts of an upload that nobody takes
// up again stay in the bucket until its own rules tidy them away.
type Store struct {
	cfg     Config
	log     *slog.Logger
	journal *journal
}

// File is a file to store.
type File struct {
	// Path on this machine, and Key in the store. A key that is taken by
	// something else is numbered; see Numbered.
	Path, Key string
	// ContentType may be "": then it is made from the key.
	ContentType string
	// EncryptTo is an armored OpenPGP public key, or "" for none. Then the key
	// should end in ".gpg".
	EncryptTo string
	// Replace overwrites what is there: a playlist that grows.
	Replace bool
}

// Stored is where a file is.
type Stored struct {
	// Storage is "" for our own. Ref is the reference of storage.Ref.
	Storage string `json:"storage"`
	Key     string `json:"key"`
	Ref     string `json:"ref"`
	// Size, SHA256 and MD5 are of the object, encrypted if it is; the hashes
	// are lower-case hexadecimal digits.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	MD5    string `json:"md5"`
	// PlainSize and PlainSHA256 are of the local file.
	PlainSize   int64  `json:"plain_size"`
	PlainSHA256 string `json:"plain_sha256"`
	Encrypted   bool   `json:"encrypted,omitempty"`
	// Existing tells that it was there already and nothing was sent.
	Existing bool `json:"-"`
	// Found tells that somebody else had put the same there before, who may
	// still need it.
	Found bool `json:"found,omitempty"`
}

// Item is the object as events tell of it.
func (s Stored) Item() event.RecordingItem {
	return event.RecordingItem{Key: s.Key, Size: s.Size, Checksum: event.Checksum{ETag: s.MD5, SHA256: s.SHA256}}
}

// Open makes a Store and reads its journal. A torn last line, from a crash, is
// dropped.
func Open(cfg Config) (*Store, error) {
	if len(cfg.Storages) == 0 {
		cfg.Storages = []string{""}
	}
	if cfg.Tries <= 0 {
		cfg.Tries = DefaultTries
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = DefaultBackoff
	}
	if cfg.PartSize <= 0 {
		cfg.PartSize = DefaultPartSize
	}
	cfg.PartSize = max(cfg.PartSize, blob.MinPart)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	j, err := openJournal(cfg.Journal)
	if err != nil {
		return nil, err
	}
	return &Store{cfg: cfg, log: cfg.Log.With("component", "archive"), journal: j}, nil
}

// Close closes the journal.
func (s *Store) Close() error { return s.journal.close() }

// PutAll stores files in order, and stops at the first that fails. What came
// before it stays stored; calling again continues.
func (s *Store) PutAll(ctx context.Context, files []File) ([]Stored, error) {
	all := make([]Stored, 0, len(files))
	for _, f := range files {
		stored, err := s.Put(ctx, f)
		if err != nil {
			return all, err
		}
		all = append(all, stored)
	}
	return all, nil
}

// Put stores one file and verifies what the store has then: its size, and its
// MD5 where the store makes one, else its SHA-256, read back. It returns
// ErrStoreDown, an *Error, or the context's error; the local file stays in any
// case.
func (s *Store) Put(ctx context.Context, f File) (Stored, error) {
	all, err := s.PutTogether(ctx, []File{f})
	if err != nil {
		return Stored{}, err
	}
	return all[0], nil
}

// PutTogether stores files that belong together, such as a playlist and its
// segments, as Put does, all in one storage: when one that took some of them
// refuses another, all go to the next, and what the first had taken is
// deleted there if that is possible.
func (s *Store) PutTogether(ctx context.Context, files []File) ([]Stored, error) {
	infos := make([]os.FileInfo, len(files))
	for i, f := range files {
		if err := blob.CheckKey(f.Key); err != nil {
			return nil, &Error{Ours, "the file's name cannot be used", err}
		}
		var err error
		if infos[i], err = os.Stat(f.Path); err != nil {
			return nil, ours(err)
		}
	}
	var last error
	for i, name := range s.cfg.Storages {
		stored, err := s.putAllInto(ctx, name, files, infos)
		if err == nil {
			return stored, nil
		}
		var refused *Error
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, ErrStoreDown) && !s.cfg.DownIsRefusal:
			return nil, err
		case errors.As(err, &refused) && refused.Class == Ours:
			return nil, err
		}
		last = errors.Join(last, err)
		if i+1 < len(s.cfg.Storages) {
			s.log.Error("storage does not take a recording; it goes to the next", "storage", name, "next", s.cfg.Storages[i+1], "err", err)
			s.remove(ctx, stored)
		}
	}
	if refused := (*Error)(nil); errors.As(last, &refused) {
		return nil, &Error{Destinations, refused.Reason, last}
	}
	return nil, last // down, all of them
}

// putAllInto stores files in one storage, and returns what it took in any case.
func (s *Store) putAllInto(ctx context.Context, name string, files []File, infos []os.FileInfo) ([]Stored, error) {
	all := make([]Stored, 0, len(files))
	for i, f := range files {
		stored, err := s.persist(ctx, name, f, infos[i])
		if err != nil {
			return all, err
		}
		all = append(all, stored)
	}
	return all, nil
}

// remove deletes what goes elsewhere after all: nobody would remember it when
// its retention is over. What was there before is another recording's.
func (s *Store) remove(ctx context.Context, all []Stored) {
	objects, ok := s.cfg.Objects.(interface {
		Delete(ctx context.Context, ref string) error
	})
	for _, stored := range all {
		if stored.Found {
			continue
		}
		if !ok {
			s.log.Error("an object is left behind in a storage", "ref", stored.Ref)
		} else if err := objects.Delete(ctx, stored.Ref); err != nil {
			s.log.Error("an object is left behind in a storage", "ref", stored.Ref, "err", err)
		}
	}
}

// persist tries one storage until it takes the file, refuses, or Tries are used.
func (s *Store) persist(ctx context.Context, name string, f File, info os.FileInfo) (Stored, error) {
	pause := s.cfg.Backoff
	for try := 1; ; try++ {
		stored, err := s.putInto(ctx, name, f, info)
		if err = classify(ctx, err); err == nil || !errors.Is(err, ErrStoreDown) || try == s.cfg.Tries {
			return stored, err
		}
		s.log.Warn("storage takes no recording now", "storage", name, "key", f.Key, "try", try, "again_in", pause, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return Stored{}, ctx.Err()
		}
		pause = min(2*pause, maxBackoff)
	}
}

func (s *Store) putInto(ctx context.Context, name string, f File, info os.FileInfo) (Stored, error) {
	id := identity(name, f, info)
	if done, ok := s.journal.done[id]; ok {
		if o, err := s.cfg.Objects.Stat(ctx, done.Ref); err == nil && o.Size == done.Size {
			done.Existing = true
			return done, nil
		} else if err != nil && !errors.Is(err, blob.ErrNotFound) {
			return Stored{}, err
		}
	}
	key, existing, err := s.claim(ctx, id, name, f)
	if err != nil {
		return Stored{}, err
	}
	stored := Stored{Storage: name, Key: key, Ref: storage.Ref(name, key), Encrypted: f.EncryptTo != ""}
	if existing != nil {
		stored.Size, stored.PlainSize, stored.Existing = existing.size, existing.size, true
		stored.SHA256, stored.PlainSHA256, stored.MD5 = existing.sha(), existing.sha(), existing.md()
		stored.Found = s.journal.begun[id] != key
	} else if err := s.send(ctx, id, f, info, &stored); err != nil {
		return Stored{}, err
	}
	if err := s.journal.note(line{Done: id, Stored: &stored}); err != nil {
		return Stored{}, &local{err}
	}
	return stored, nil
}

// claim finds the key under which the file goes: one that nothing has, or that
// we had begun with. existing is set when the file is there already.
func (s *Store) claim(ctx context.Context, id, name string, f File) (key string, existing *sums, err error) {
	for n := 1; n <= maxNumber; n++ {
		key = Numbered(f.Key, n)
		begun := s.journal.begun[id] == key
		if f.Replace || begun && s.journal.uploads[id] == "" {
			break
		}
		o, err := s.cfg.Objects.Stat(ctx, storage.Ref(name, key))
		if errors.Is(err, blob.ErrNotFound) {
			break
		}
		if err != nil {
			return "", nil, err
		}
		if f.EncryptTo == "" { // what is encrypted is different each time
			same, err := s.same(ctx, storage.Ref(name, key), f.Path, o)
			if same != nil || err != nil {
				return key, same, err
			}
		}
		if begun { // ours, and not what it should be
			break
		}
		if n == maxNumber {
			return "", nil, &Error{Destinations, "too many files have this name", fmt.Errorf("find a name for %s", path.Base(f.Key))}
		}
	}
	// From here on, an object of this key is ours even if we are killed before
	// we know that it is whole.
	if err := s.journal.note(line{Begun: id, Key: key}); err != nil {
		return "", nil, &local{err}
	}
	return key, nil, nil
}

// send uploads the file, hashing it on its way, and verifies the object.
func (s *Store) send(ctx context.Context, id string, f File, info os.FileInfo, stored *Stored) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return &local{err}
	}
	defer file.Close()
	plain, object := newSums(), newSums()
	to, err := s.inParts(ctx, f, info, stored.Ref)
	if err != nil {
		return err
	}
	if to != nil {
		if err := s.sendParts(ctx, to, id, f, file, info, plain); err != nil {
			return err
		}
		return s.sent(ctx, f, info, stored, plain, plain)
	}
	var body io.Reader = &reading{file, plain}
	if f.EncryptTo != "" {
		sealed, err := encrypted(body, f.EncryptTo, path.Base(f.Path))
		if err != nil {
			return &Error{Ours, err.Error(), err}
		}
		defer sealed.Close()
		body = sealed
	}
	body = io.TeeReader(body, object)
	if err := s.cfg.Objects.Upload(ctx, stored.Ref, body, f.ContentType); err != nil {
		return err
	}
	return s.sent(ctx, f, info, stored, plain, object)
}

// sent fills in what was sent, and verifies what arrived.
func (s *Store) sent(ctx context.Context, f File, info os.FileInfo, stored *Stored, plain, object *sums) error {
	if plain.size != info.Size() {
		return &local{fmt.Errorf("store %s: it changed from %d to %d bytes on its way", f.Path, info.Size(), plain.size)}
	}
	stored.Size, stored.SHA256, stored.MD5 = object.size, object.sha(), object.md()
	stored.PlainSize, stored.PlainSHA256 = plain.size, plain.sha()
	return s.verify(ctx, *stored)
}
