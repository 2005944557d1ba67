package peer

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"

	"stillwatch/actions/delivery"
	"stillwatch/internal/netguard"
)

// maxReason is the longest reason that is kept, in bytes.
const maxReason = 300

// Say is a text of the other side's or a library's without the secrets given,
// as they are or escaped, cut to a length that can be kept.
func Say(text string, secrets ...string) string {
	for _, s := range secrets {
		if s == "" {
			continue
		}
		for _, spelt := range []string{s, url.QueryEscape(s), url.PathEscape(s), url.UserPassword("", s).String()[1:]} {
			text = strings.ReplaceAll(text, spelt, "[redacted]")
		}
	}
	return strings.ToValidUTF8(text[:min(len(text), maxReason)], "")
}

// Failure is what became of an attempt that ended with the error. What the
// guard refused was not sent for a setting of ours. Addresses that were
// dialled are told; URLs, which may hold passwords, are not.
func Failure(err error, secrets ...string) delivery.Result {
	if refused := (*netguard.RefusedError)(nil); errors.As(err, &refused) {
		return delivery.Result{Held: true, Err: refused}
	}
	if errors.Is(err, context.DeadlineExceeded) || timedOut(err) {
		return delivery.Result{Err: errors.New("timed out")}
	}
	if errors.Is(err, context.Canceled) {
		return delivery.Result{Err: errors.New("broken off")}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return delivery.Result{Err: errors.New(Say(op.Error(), secrets...))}
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return delivery.Result{Err: errors.New(Say(err.Error(), secrets...))}
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
