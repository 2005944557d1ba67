package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"stillwatch/internal/seal"
	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

// maxLoaded is how many sessions are kept read: what is known of an hour of
// four participants takes some 30 MB.
const maxLoaded = 3

// loaded is a session that was read. ready is closed when it is.
type loaded struct {
	sessionID string
	state     string // of the folder, as it was read
	ready     chan struct{}
	s         *media.Session
	err       error
}

// load reads a session's packets, or takes what an earlier step read. A session
// that still runs, here or on the node that this process works for, is read
// anew whenever there is more of it.
func (r *Recorder) load(ctx context.Context, sessionID string) (*media.Session, error) {
	if r.session(sessionID) != nil {
		return r.read(ctx, sessionID)
	}
	state := folderState(r.rawDir(sessionID))
	r.mu.Lock()
	r.loaded = slices.DeleteFunc(r.loaded, func(l *loaded) bool { return l.sessionID == sessionID && l.state != state })
	if i := slices.IndexFunc(r.loaded, func(l *loaded) bool { return l.sessionID == sessionID }); i >= 0 {
		l := r.loaded[i]
		r.mu.Unlock()
		select {
		case <-l.ready:
			return l.s, l.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l := &loaded{sessionID: sessionID, state: state, ready: make(chan struct{})}
	r.loaded = append(r.loaded, l)
	if len(r.loaded) > maxLoaded {
		r.loaded = slices.Delete(r.loaded, 0, 1)
	}
	r.mu.Unlock()
	l.s, l.err = r.read(ctx, sessionID)
	if l.err != nil {
		r.forget(sessionID)
	}
	close(l.ready)
	return l.s, l.err
}

// folderState tells whether anything was written in a folder since.
func folderState(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", e.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// forget drops what was read of a session.
func (r *Recorder) forget(sessionID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded = slices.DeleteFunc(r.loaded, func(l *loaded) bool { return l.sessionID == sessionID })
}

func (r *Recorder) read(ctx context.Context, sessionID string) (*media.Session, error) {
	reader, err := r.openPackets(ctx, sessionID)
	if r.away(err) || errors.Is(err, errNotHere) || ctx.Err() != nil && err != nil {
		return nil, err
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, there, derr := r.drop(ctx, r.cfg.DB, sessionID); derr != nil {
			return nil, derr
		} else if there {
			return nil, fmt.Errorf("%w: %w: %w", errHopeless, errPackets, &gaveUp{})
		}
		return nil, fmt.Errorf("%w: %w: %w", errHopeless, errEmpty, err)
	}
	if errors.Is(err, seal.ErrOtherKey) || errors.Is(err, raw.ErrKey) {
		return nil, fmt.Errorf("%w: %w: %w", errHopeless, errPackets, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPackets, err)
	}
	s, err := media.LoadContext(ctx, reader)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPackets, err)
	}
	return s, nil
}
