package bus

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

// FuzzDecode reads entries as another program might have left them.
func FuzzDecode(f *testing.F) {
	f.Add(`{"id":"1","type":"frame.ready","key":"k","at":"2026-01-05T10:00:00Z","data":{"track_id":"t"}}`, "1767607322000-0")
	f.Add(`{"type":"frame.ready","data":[1]}`, "x")
	f.Add(`{`, "18446744073709551615-18446744073709551615")
	f.Fuzz(func(t *testing.T, raw, id string) {
		ev, err := decode(redis.XMessage{ID: id, Values: map[string]any{fieldEvent: raw}})
		if err != nil && ev.ID != "" {
			t.Errorf("an error with half an event: %+v", ev)
		}
		_ = slotOf(ev)
		_ = entryTime(id)
		if less(id, id) {
			t.Errorf("%q is less than itself", id)
		}
	})
}
