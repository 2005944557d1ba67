package event

import "slices"

// Entry is a public event type in the catalogue.
type Entry struct {
	// Type is the event's name, "user.banned".
	Type string
	// Doc says in one sentence when it is sent.
	Doc string
	// Example is a whole body, as a struct of this package.
	Example any
}

// Catalogue lists every public event that the program can cause. The golden
// files and the schemas in docs/events are made from it.
func Catalogue() []Entry {
	return slices.Concat(callEntries(), recordingEntries(), enforcementEntries(), moderationEntries(), policyEntries(), hookEntries())
}
