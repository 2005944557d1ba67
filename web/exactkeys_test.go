package web

import (
	"net/http"
	"testing"
)

// TestKeysAreReadAsTheyAreChecked: a key in other letters, or twice, must not
// get past what the document says of its value.
func TestKeysAreReadAsTheyAreChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	queue := moderationPrefix + "/review_queue"
	for body, field := range map[string]string{
		`{"lock_items":true,"user_id":"mo","lock_Duration":9223372036854775807}`:   "lock_Duration",
		`{"lock_items":true,"user_id":"mo","lock_count":1,"LOCK_COUNT":-1}`:        "LOCK_COUNT",
		`{"lock_items":true,"user_id":"mo","lock_count":1,"loc\u212a_count":-1}`:   "loc\u212a_count",
		`{"ſort":[{"field":"created_at"}]}`:                                        "ſort",
		`{"sort":[{"field":"created_at","Direction":7}]}`:                          "sort[0].Direction",
		`{"sort":[{"field":"created_at"},{"field":"id","direction":7}],"sort":[]}`: "sort",
		`{"filter":{"custom.a":1,"custom.a":2}}`:                                   "filter.custom.a",
	} {
		a := b.server(http.StatusBadRequest, "POST", queue, body)
		if fields := a.body["exception_fields"].(map[string]any); fields[field] == nil {
			t.Errorf("%s: %v, want %q", body, fields, field)
		}
	}
	// What nobody reads may be called anything.
	b.server(http.StatusOK, "POST", queue, `{"unknown":{"a":1,"A":2},"filter":{}}`)
	b.server(http.StatusOK, "PATCH", callURL, `{"custom":{"Room":1,"room":{"x":[{"Y":1,"y":2}]}}}`)
}
