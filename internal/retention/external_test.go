package retention

import (
	"context"
	"testing"
	"time"

	"stillwatch/internal/db"
)

// deletions notes what is deleted.
type deletions struct {
	Objects
	keys []string
}

func (d *deletions) Delete(ctx context.Context, key string) error {
	d.keys = append(d.keys, key)
	return d.Objects.Delete(ctx, key)
}

func TestFramesInExternalStoragesAreMarkedAndKeptUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	for external, want := range map[bool]int{false: 1, true: 2} {
		r := newRig(t, sqlite(t))
		objects := &deletions{Objects: r.store}
		sweeper := New(r.db, objects, Config{Now: r.clock.Now, External: external})
		own, theirs := r.frame(t, "own", false), r.frame(t, "theirs", false)
		if _, err := r.db.NewUpdate().Model((*db.FrameRow)(nil)).Set("storage = ?", "my-s3").Where("id = ?", "theirs").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(14 * 24 * time.Hour)
		if res, err := sweeper.Sweep(t.Context()); err != nil || res.Deleted != 2 {
			t.Fatalf("%+v, %v", res, err)
		}
		if len(objects.keys) != want {
			t.Errorf("external %t: deleted %v of %s and %s", external, objects.keys, own, theirs)
		}
		r.want(t, "own", false, true)
		r.want(t, "theirs", !external, true)
	}
}
