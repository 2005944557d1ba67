package delivery

import (
	"context"
	"strconv"
	"time"

	"stillwatch/internal/db"
)

// Transport brings messages to the hooks of one hook_type. It is used by many
// goroutines at once.
type Transport interface {
	// Send makes one attempt. ctx ends with the hook's timeout. It must not
	// keep m.Body.
	Send(ctx context.Context, h Hook, m Message) Result
	// Close frees what is held open. No Send runs or comes then.
	Close() error
}

// Forgetter is a Transport that holds something open for each hook. Forget is
// called when a hook was changed, switched off or removed.
type Forgetter interface {
	Forget(hookID string)
}

// Encoder turns an event into the body that a hook wants; false means that
// the event is not for this hook. It is asked when an event is fanned out and
// again at each attempt.
type Encoder func(h Hook, m Message) (body []byte, wanted bool, err error)

// Hook is an enabled hook with all that a Transport needs.
type Hook struct {
	ID, Type string
	// EventTypes is empty for all.
	EventTypes []string
	// URL is webhook_url.
	URL string
	// Timeout bounds an attempt; more than 0, at most MaxTimeout.
	Timeout  time.Duration
	Settings Settings
	// Secrets are the live signing secrets, "whsec_" and base64, the newest
	// first.
	Secrets []string
	// Compress is the app setting enable_hook_payload_compression.
	Compress bool
	// UpdatedAt changes whenever the hook was edited.
	UpdatedAt time.Time

	// fault is why nothing can be sent: a secret that cannot be opened, a
	// type without a transport.
	fault error
}

// Settings are a hook's details with the secrets opened: AMQPURL and RedisURL
// hold their passwords.
type Settings struct {
	db.HookSettings
	SQSSecret, SNSSecret string
}

// Message is one attempt at one event.
type Message struct {
	// EventID is the same on every attempt and for every hook: the key by
	// which receivers tell duplicates.
	EventID string
	// Type is the event's, "user.banned".
	Type string
	// Key is the call's cid, with "/user" behind it where one is concerned.
	Key string
	// Attempt counts from 1, through replays.
	Attempt int
	// Body is the event's JSON, or what the hook's Encoder made of it.
	Body []byte
	// Lossy events may be dropped under load.
	Lossy bool
}

// Result is what became of an attempt. It succeeded when Err is nil and
// Status is 0 or 2xx.
type Result struct {
	// Status is the HTTP status; 0 when there was none.
	Status int
	// Err is why there was no answer. It is kept and shown, so it must not
	// hold addresses with secrets.
	Err error
	// RetryAfter is the shortest pause that the receiver asks for.
	RetryAfter time.Duration
	// Gone means that the receiver never wants to hear again: the hook is
	// switched off.
	Gone bool
	// Throttled means that the receiver has too much to do: everything to
	// this hook waits for a while.
	Throttled bool
	// Held means that nothing was sent, because a setting of this program
	// forbids it. It does not count as an attempt.
	Held bool
	// Response is the beginning of the answer, at most MaxResponse bytes.
	Response []byte
}

// OK tells whether the receiver has the event.
func (r Result) OK() bool { return r.Err == nil && !r.Held && (r.Status == 0 || r.Status/100 == 2) }

// reason is the failure in words, short enough to keep.
func (r Result) reason() string {
	switch {
	case r.Err != nil:
		s := r.Err.Error()
		return s[:min(len(s), 500)]
	case r.OK():
		return ""
	}
	return "answered " + strconv.Itoa(r.Status)
}
