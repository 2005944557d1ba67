package webhook

import (
	"errors"
	"net/url"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/netguard"
)

// troublePause is how long nothing more is said of a hook that fails.
const troublePause = time.Minute

// health is whether a hook's receiver takes what it is sent. An operator hears
// of the first failure at once: a hook that reaches nobody would otherwise be
// silent until its deliveries are given up.
type health struct {
	failing bool
	said    time.Time // of the last word on a failure
}

// note takes in an attempt and returns whether something is to be said of it.
func (h *health) note(ok bool, now time.Time) bool {
	if ok {
		recovered := h.failing
		h.failing = false
		return recovered
	}
	if h.failing || now.Sub(h.said) < troublePause {
		return false
	}
	h.failing, h.said = true, now
	return true
}

// observe says in the log when a hook begins to fail and when it is well again.
func (h *hook) observe(row db.HookRow, res result) {
	h.mu.Lock()
	say := h.health.note(res.ok(), h.s.cfg.Now())
	h.mu.Unlock()
	switch {
	case !say:
	case res.ok():
		h.s.log.Info("hook delivers again", "hook", row.ID)
	default:
		h.s.log.Warn("hook fails; its events wait and are tried again", "hook", row.ID, "reason", res.brief())
	}
}

// brief is the reason without the hook's URL, which may hold secrets.
func (r result) brief() string {
	if refused := (*netguard.RefusedError)(nil); errors.As(r.err, &refused) {
		return refused.Error() + "; netguard.allow lists the ranges that may be reached besides public addresses"
	}
	if u := (*url.Error)(nil); errors.As(r.err, &u) {
		return u.Err.Error()
	}
	return r.reason()
}
