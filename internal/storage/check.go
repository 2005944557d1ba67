package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stillwatch/internal/event"
)

// checkTimeout bounds the check of a storage, which a client waits for.
const checkTimeout = 8 * time.Second

// checkLinkLife is how long the link to a check's object lasts.
const checkLinkLife = time.Hour

// CheckError is a storage that cannot be used as it is set up. Its text holds
// no secrets.
type CheckError struct {
	// Step is "open", "write", "read" or "compare".
	Step, Why string
}

// Error implements error.
func (e *CheckError) Error() string { return fmt.Sprintf("%s: %s", e.Step, e.Why) }

// Check writes an object into an external storage, reads it back, and returns
// a link to it, signed for an hour. The object stays: to remove it is not
// needed for anything else, and may not be allowed. It returns ErrUnknown or
// a *CheckError.
func (s *Stores) Check(ctx context.Context, name string) (link string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	s.forget(name) // with the settings of now
	e, err := s.external(ctx, name)
	if errors.Is(err, ErrUnknown) {
		return "", err
	}
	fail := func(step string, err error) (string, error) {
		s.log.Warn("check of external storage failed", "storage", name, "step", step, "err", err)
		return "", &CheckError{step, reason(err)}
	}
	if err != nil {
		return fail("open", err)
	}
	id := event.NewID()
	key, body := "stillwatch-"+id+".md", "stillwatch wrote this to see whether it can: "+id+"\n"
	if err := e.store.Put(ctx, key, []byte(body), ""); err != nil {
		return fail("write", err)
	}
	got, err := e.store.Get(ctx, key)
	if err != nil {
		return fail("read", err)
	}
	if string(got) != body {
		return "", &CheckError{"compare", "what was read is not what was written"}
	}
	return s.SignGet(Ref(name, key), s.cfg.Now().Add(checkLinkLife)), nil
}
