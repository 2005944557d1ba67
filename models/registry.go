package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultPoll is how often a Registry looks for changes in its folder.
const DefaultPoll = 2 * time.Second

// State says whether a model can be asked. Only StateOK can; the others make
// a verdict unknown, never clean.
type State string

// The states of a model.
const (
	StateOK        State = "ok"
	StateMissing   State = "missing"
	StateWrongHash State = "wrong_hash"
	// StateBroken is a bad manifest, a file that does not load or does not
	// fit its manifest, or a model that fails its first picture.
	StateBroken State = "broken"
)

// ErrBroken says that a model cannot be used as it is.
var ErrBroken = errors.New("model is broken")

// Status is a model's state, for people and metrics.
type Status struct {
	Name string `json:"name"`
	// Version and SHA256 are empty when the manifest cannot be read.
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	State   State  `json:"state"`
	// Reason says what is wrong.
	Reason string `json:"reason,omitempty"`
}

// RegistryConfig sets a Registry up.
type RegistryConfig struct {
	// Dir is the models folder: one folder per model.
	Dir string
	// Open loads a model; onnx.Runtime.OpenModel with its options.
	Open func(Manifest) (Classifier, error)
	// Poll is how often the folder is looked at. Default DefaultPoll.
	Poll time.Duration
	// Changed, if set, is told every status that is new or different. It
	// must not call the registry.
	Changed func(Status)
	// Log gets the alarms. Default slog.Default().
	Log *slog.Logger
}

// Registry keeps the models of a folder loaded and follows its changes: a
// model is swapped by replacing its manifest (by rename, with a new file
// beside the old one), without a restart. Pictures under way with the old
// model are finished by it.
type Registry struct {
	cfg RegistryConfig

	reload sync.Mutex // held while looking at the folder, above mu
	marks  map[string]string

	mu     sync.Mutex // guards the fields below
	models map[string]*entry
	closed bool

	stop context.CancelFunc
	done chan struct{}
}

// entry is one model of the folder; loaded is nil unless its state is ok.
type entry struct {
	status Status
	err    error
	loaded *loadedModel
}

// loadedModel is a classifier and those who use it now.
type loadedModel struct {
	classifier Classifier
	users      sync.WaitGroup
}

// NewRegistry makes a registry. Start loads the models.
func NewRegistry(cfg RegistryConfig) *Registry {
	if cfg.Poll <= 0 {
		cfg.Poll = DefaultPoll
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.Log = cfg.Log.With("component", "models")
	return &Registry{cfg: cfg, marks: map[string]string{}, models: map[string]*entry{}}
}

// Start loads every model and begins to follow the folder. A model that
// cannot be loaded is no error of Start: its state says so.
func (r *Registry) Start(ctx context.Context) error {
	if err := r.look(false); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.stop != nil {
		cancel()
		return errors.New("start models: started or closed already")
	}
	r.stop, r.done = cancel, make(chan struct{})
	go r.follow(ctx, r.done)
	return nil
}

func (r *Registry) follow(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(r.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := r.look(false); err != nil {
				r.cfg.Log.Error("models folder cannot be read", "error", err)
			}
		}
	}
}

// Reload looks at the folder now and hashes every model's file again, even
// if it seems unchanged.
func (r *Registry) Reload() error { return r.look(true) }

// Get lends a model. Call release when done with it: a swapped-out model is
// closed after its last release. An error wraps ErrMissing, ErrWrongHash or
// ErrBroken.
func (r *Registry) Get(name string) (c Classifier, release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.models[name]
	switch {
	case r.closed:
		return nil, nil, fmt.Errorf("use model %s: %w", name, ErrClosed)
	case e == nil:
		return nil, nil, fmt.Errorf("use model %s: %w: no such folder", name, ErrMissing)
	case e.loaded == nil:
		return nil, nil, fmt.Errorf("use model %s: %w", name, e.err)
	}
	e.loaded.users.Add(1)
	return e.loaded.classifier, sync.OnceFunc(e.loaded.users.Done), nil
}

// Statuses lists the folder's models by name.
func (r *Registry) Statuses() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Status, 0, len(r.models))
	for _, e := range r.models {
		out = append(out, e.status)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Close stops following, waits for pictures under way and frees the models.
func (r *Registry) Close() error {
	r.mu.Lock()
	stop, done := r.stop, r.done
	r.closed = true
	r.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
	r.reload.Lock()
	defer r.reload.Unlock()
	r.mu.Lock()
	all := r.models
	r.models = map[string]*entry{}
	r.mu.Unlock()
	var errs []error
	for _, e := range all {
		errs = append(errs, e.loaded.close())
	}
	return errors.Join(errs...)
}

// close waits for the model's users and frees it.
func (l *loadedModel) close() error {
	if l == nil {
		return nil
	}
	l.users.Wait()
	return l.classifier.Close()
}

// look brings the registry up to the folder's state: models whose files
// changed, or all when force is set, are loaded anew.
func (r *Registry) look(force bool) error {
	r.reload.Lock()
	defer r.reload.Unlock()
	marks, err := scan(r.cfg.Dir)
	if err != nil {
		return err
	}
	for name, mark := range marks {
		if force || r.marks[name] != mark {
			r.swap(name, r.load(name))
		}
	}
	for name := range r.marks {
		if _, there := marks[name]; !there {
			r.swap(name, nil)
		}
	}
	r.marks = marks
	return nil
}

// scan gives each model folder a mark that changes with its files.
func scan(dir string) (map[string]string, error) {
	folders, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read models folder: %w", err)
	}
	marks := map[string]string{}
	for _, f := range folders {
		if strings.HasPrefix(f.Name(), ".") {
			continue
		}
		files, err := os.ReadDir(filepath.Join(dir, f.Name()))
		if err != nil {
			continue // a plain file, or gone meanwhile
		}
		var mark strings.Builder
		for _, file := range files {
			if info, err := file.Info(); err == nil {
				fmt.Fprintf(&mark, "%s %d %d\n", file.Name(), info.Size(), info.ModTime().UnixNano())
			}
		}
		marks[f.Name()] = mark.String()
	}
	return marks, nil
}

// swap puts a model's new entry, or none, in the place of the old one, and
// closes the old one when its users are done.
func (r *Registry) swap(name string, e *entry) {
	r.mu.Lock()
	old := r.models[name]
	if r.closed {
		old, e = e, nil // too late: free what was just loaded
	} else if e != nil {
		r.models[name] = e
	} else {
		delete(r.models, name)
	}
	r.mu.Unlock()
	r.tell(name, old, e)
	if old != nil {
		if err := old.loaded.close(); err != nil {
			r.cfg.Log.Error("close replaced model", "model", name, "error", err)
		}
	}
}

// tell reports a change of status.
func (r *Registry) tell(name string, old, e *entry) {
	status := Status{Name: name, State: StateMissing, Reason: "its folder is gone"}
	if e != nil {
		status = e.status
	}
	if old != nil && old.status == status {
		return
	}
	if status.State == StateOK {
		r.cfg.Log.Info("model loaded", "model", name, "version", status.Version, "sha256", status.SHA256)
	} else {
		r.cfg.Log.Error("model cannot be used", "model", name, "state", status.State, "reason", status.Reason)
	}
	if r.cfg.Changed != nil {
		r.cfg.Changed(status)
	}
}
