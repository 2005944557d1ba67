// Package storage puts frames where their call says, into our own object store
// or into an external storage, and finds them there again.
//
// An object is named by a reference. That of our own store is its key alone;
// that of an external storage has "@", the storage's name and "/" in front.
package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/seal"
)

// Defaults of Config, and times.
const (
	// DefaultRecheck is how old a storage's settings may be.
	DefaultRecheck = 5 * time.Second
	// DefaultTry bounds one try to put a frame into an external storage.
	DefaultTry = 1500 * time.Millisecond
	// DefaultRest is how long a storage that failed is left alone.
	DefaultRest = 15 * time.Second
	// DefaultInFlight is how many frames are on their way to external storages
	// at once: fewer than there are workers that store frames, so that a slow
	// storage does not hold up the frames of other calls.
	DefaultInFlight = 12
	// slotWait is how long a frame waits for its turn in that.
	slotWait = 250 * time.Millisecond
	// signTimeout bounds the making of a link, which may have to ask for a
	// role's credentials.
	signTimeout = 2 * time.Second
)

// tries is how often a frame is offered to an external storage.
const tries = 2

// Config is what Stores are made of.
type Config struct {
	DB   *db.DB
	Seal *seal.Box
	// Own is our own object store.
	Own *blob.Store
	// Client is the HTTP client for a storage at an address of its own that is
	// encrypted or, with plain, is not; and for the clouds' own addresses.
	Client func(plain bool) *http.Client
	// Recheck, Try and Rest default to the constants.
	Recheck, Try, Rest time.Duration
	// InFlight defaults to the constant.
	InFlight int
	// Log may be nil: then slog.Default. Now may be nil: then time.Now.
	Log *slog.Logger
	Now func() time.Time
}

// Stores are our own object store and the external ones. They are safe for
// concurrent use.
type Stores struct {
	*blob.Store // our own
	cfg         Config
	log         *slog.Logger
	slots       chan struct{}
	placed      atomic.Uint64
	fellBack    atomic.Uint64

	mu         sync.Mutex
	open       map[string]*external
	retired    []*blob.Store
	complaints map[string]time.Time
}

// New makes Stores, and has the handler of our own serve the others' objects.
func New(cfg Config) *Stores {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&cfg.Recheck, DefaultRecheck}, {&cfg.Try, DefaultTry}, {&cfg.Rest, DefaultRest}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if cfg.InFlight <= 0 {
		cfg.InFlight = DefaultInFlight
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Stores{
		Store: cfg.Own, cfg: cfg, log: cfg.Log.With("component", "storage"),
		slots: make(chan struct{}, cfg.InFlight),
		open:  map[string]*external{}, complaints: map[string]time.Time{},
	}
	cfg.Own.SetElsewhere(func(ctx context.Context, ref string) (*blob.Store, string, error) {
		name, key, ok := Split(ref)
		if !ok {
			return nil, "", nil
		}
		e, err := s.external(ctx, name)
		if err != nil {
			return nil, "", err
		}
		return e.store, key, nil
	})
	return s
}

// Close releases the external storages; our own is its opener's to close.
func (s *Stores) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, e := range s.open {
		s.retired = append(s.retired, e.store)
	}
	for _, b := range s.retired {
		errs = append(errs, b.Close())
	}
	s.open, s.retired = map[string]*external{}, nil
	return errors.Join(errs...)
}

// Stats counts since New.
type Stats struct {
	// Placed frames lie in the external storage that they were meant for.
	Placed uint64
	// FellBack frames lie in our own store, since the external one failed.
	FellBack uint64
}

// Stats returns the counts so far.
func (s *Stores) Stats() Stats { return Stats{s.placed.Load(), s.fellBack.Load()} }

// Ref is the reference of an object in a storage; "" is our own.
func Ref(storage, key string) string {
	if storage == "" {
		return key
	}
	return "@" + storage + "/" + key
}

// Split takes the reference of an object in an external storage apart.
func Split(ref string) (storage, key string, ok bool) {
	rest, ok := strings.CutPrefix(ref, "@")
	if !ok {
		return "", ref, false
	}
	storage, key, ok = strings.Cut(rest, "/")
	return storage, key, ok && storage != "" && key != ""
}

// Place puts a frame into an external storage and returns its reference. When
// the storage fails twice, or failed a moment ago, or is too slow, the frame
// goes into our own instead, which the reference tells; nothing is lost
// silently.
func (s *Stores) Place(ctx context.Context, storage, key string, body []byte, contentType string) (ref string, err error) {
	if err := s.place(ctx, storage, key, body, contentType); err == nil {
		s.placed.Add(1)
		return Ref(storage, key), nil
	}
	if err := s.Store.Put(ctx, key, body, contentType); err != nil {
		return "", err
	}
	s.fellBack.Add(1)
	return key, nil
}

func (s *Stores) place(ctx context.Context, storage, key string, body []byte, contentType string) error {
	e, err := s.external(ctx, storage)
	if err != nil {
		s.complain(storage, err)
		return err
	}
	if e.resting(s.cfg.Now()) {
		return errResting
	}
	leave, err := s.enter(ctx)
	if err != nil {
		s.complain(storage, err)
		return err
	}
	defer leave()
	for range tries {
		if err = s.try(ctx, e, key, body, contentType); err == nil {
			if e.recovered() {
				s.log.Info("external storage takes frames again", "storage", storage)
			}
			return nil
		}
	}
	if e.failed(s.cfg.Now(), s.cfg.Rest) {
		s.log.Error("external storage takes no frames; they go to our own until it does", "storage", storage, "reason", reason(err), "err", err)
	}
	return err
}

// enter takes a slot among the frames that are on their way.
func (s *Stores) enter(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, slotWait)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

var errBusy = errors.New("too many frames are on their way to external storages")

var errResting = errors.New("external storage is left alone for a while")

func (s *Stores) try(ctx context.Context, e *external, key string, body []byte, contentType string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Try)
	defer cancel()
	return e.store.Put(ctx, key, body, contentType)
}

// Get returns the bytes of an object by its reference.
func (s *Stores) Get(ctx context.Context, ref string) ([]byte, error) {
	name, key, ok := Split(ref)
	if !ok {
		return s.Store.Get(ctx, ref)
	}
	e, err := s.external(ctx, name)
	if err != nil {
		return nil, err
	}
	return e.store.Get(ctx, key)
}

// Exists tells whether an object is there, by its reference.
func (s *Stores) Exists(ctx context.Context, ref string) (bool, error) {
	name, key, ok := Split(ref)
	if !ok {
		return s.Store.Exists(ctx, ref)
	}
	e, err := s.external(ctx, name)
	if err != nil {
		return false, err
	}
	return e.store.Exists(ctx, key)
}

// Delete removes an object by its reference. Of a storage that is not known
// any more there is nothing that we could remove, which is no error.
func (s *Stores) Delete(ctx context.Context, ref string) error {
	name, key, ok := Split(ref)
	if !ok {
		return s.Store.Delete(ctx, ref)
	}
	e, err := s.external(ctx, name)
	if errors.Is(err, ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.store.Delete(ctx, key)
}

// SignGet returns a link to an object until expires: the external storage's
// own where it signs any, at most seven days long; else one of ours, by which
// the object is served through this program.
func (s *Stores) SignGet(ref string, expires time.Time) string {
	name, key, ok := Split(ref)
	if !ok {
		return s.Store.SignGet(ref, expires)
	}
	ctx, cancel := context.WithTimeout(context.Background(), signTimeout)
	defer cancel()
	e, err := s.external(ctx, name)
	if err == nil {
		var link string
		if link, err = e.store.Presign(ctx, key, expires); err == nil {
			return link
		}
	}
	s.log.Debug("link is served by us", "storage", name, "err", err)
	return s.Store.SignGet(ref, expires)
}

// complain logs a storage that cannot be opened, once a rest.
func (s *Stores) complain(storage string, err error) {
	now := s.cfg.Now()
	s.mu.Lock()
	said := s.complaints[storage]
	say := now.Sub(said) >= s.cfg.Rest
	if say {
		s.complaints[storage] = now
	}
	s.mu.Unlock()
	if say {
		s.log.Error("external storage cannot be used; frames go to our own", "storage", storage, "reason", reason(err), "err", err)
	}
}

// ErrUnknown is returned for a storage that there is not.
var ErrUnknown = errors.New("no such external storage")

func unknown(name string) error { return fmt.Errorf("%w: %q", ErrUnknown, name) }
