package actions

import (
	"errors"
	"time"
)

// ErrNoHook means that there is no hook of the id.
var ErrNoHook = errors.New("no such hook")

// HookTest is how a hook's receiver took a test event.
type HookTest struct {
	OK bool
	// Status is the HTTP status; 0 when there was none.
	Status   int
	Error    string
	Latency  time.Duration
	Response string
	EventID  string
}

// Replay says which events a hook gets again, or at last: those of EventIDs,
// or those from Since on, before Until if that is set.
type Replay struct {
	EventIDs     []string
	Since, Until time.Time
	// EventTypes narrows a range; empty for all that the hook wants.
	EventTypes []string
	// OnlyMissing leaves out what was delivered and what is on its way.
	OnlyMissing bool
}

// MaxReplay is how many events one replay can have.
const MaxReplay = 20_000

// ErrReplayTooLarge means that a range holds more than MaxReplay events.
var ErrReplayTooLarge = errors.New("more than 20000 events; narrow the range")
