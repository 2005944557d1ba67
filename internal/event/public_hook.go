package event

import "time"

// Public event types about hooks, sent to one hook about another.
const (
	HookFailing  = "hook.failing"
	HookDisabled = "hook.disabled"
)

// HookState is the body of HookFailing and HookDisabled.
type HookState struct {
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	HookID    string    `json:"hook_id"`
	HookType  string    `json:"hook_type"`
	// FailingSince is the first failure since the last success.
	FailingSince time.Time `json:"failing_since"`
	Reason       string    `json:"reason"`
	LastStatus   int       `json:"last_status"`
	LastError    string    `json:"last_error"`
}

func hookEntries() []Entry {
	at := time.Date(2026, 1, 5, 10, 2, 3, 412345678, time.UTC)
	body := HookState{
		Type: HookFailing, CreatedAt: at, HookID: "backend", HookType: "webhook", FailingSince: at.Add(-24 * time.Hour),
		Reason: "nothing but failures since 2026-01-04T10:02:03Z", LastStatus: 503, LastError: "answered 503",
	}
	off := body
	off.Type, off.FailingSince, off.Reason = HookDisabled, at.Add(-120*time.Hour), "nothing but failures since 2025-12-31T10:02:03Z"
	return []Entry{
		{HookFailing, "A hook has failed for a day; sent to the hook that its failover_config names, or to another.", body},
		{HookDisabled, "A hook was switched off for failing, or because its receiver answered 410.", off},
	}
}
