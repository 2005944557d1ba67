package delivery

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"stillwatch/internal/netguard"
)

// told is the reason of a failure as it is kept and shown: without the hook's
// address, which may hold secrets.
func (s *Sender) told(r Result) string {
	if r.Err == nil {
		return r.reason()
	}
	text := r.Err.Error()
	if refused := (*netguard.RefusedError)(nil); errors.As(r.Err, &refused) {
		text = refused.Error() + "; netguard.allow lists the ranges that may be reached besides public addresses"
	} else if u := (*url.Error)(nil); errors.As(r.Err, &u) {
		text = u.Err.Error()
	}
	return printable([]byte(text[:min(len(text), 500)]))
}

// printable is b as text that every database takes.
func printable(b []byte) string {
	s := strings.ToValidUTF8(string(b), "\uFFFD")
	if !strings.ContainsRune(s, 0) && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}
