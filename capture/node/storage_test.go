package node

import (
	"testing"
	"time"

	"stillwatch/internal/db"
)

func TestFramesGoToTheCallsStorageOrItsTypes(t *testing.T) {
	t.Parallel()
	r := newRig(t, "auto-on")
	now := db.At(time.Now())
	typ := &db.CallTypeRow{Name: "default", CreatedAt: now, UpdatedAt: now}
	typ.Settings.V = []byte(`{}`)
	for _, step := range []struct{ typ, call, want string }{
		{"", "", ""}, {"of-type", "", "of-type"}, {"of-type", "of-call", "of-call"}, {"", "of-call", "of-call"},
	} {
		typ.ExternalStorage = step.typ
		if _, err := r.db.NewInsert().Model(typ).On("CONFLICT (name) DO UPDATE").Set("external_storage = EXCLUDED.external_storage").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		row := r.call(t)
		row.FrameStorage = step.call
		if got, err := r.node.storageOf(t.Context(), r.db, row); err != nil || got != step.want {
			t.Errorf("%+v: %q, %v", step, got, err)
		}
	}
	row := r.call(t)
	row.Type = "gone"
	if got, err := r.node.storageOf(t.Context(), r.db, row); err != nil || got != "" {
		t.Errorf("a type that is gone: %q, %v", got, err)
	}
}
