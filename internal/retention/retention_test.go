package retention

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

type rig struct {
	db    *db.DB
	store *blob.Store
	clock *testkit.Clock
}

func newRig(t *testing.T, url string) rig {
	t.Helper()
	d, err := db.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	s, err := blob.Open(context.Background(), blob.Config{URL: "file://" + t.TempDir(), Key: []byte("0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return rig{d, s, testkit.NewClock()}
}

func sqlite(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "x.db") }

// frame stores a frame captured now.
func (r rig) frame(t *testing.T, id string, hold bool) string {
	t.Helper()
	key := blob.Key("frames", id+".jpg")
	if err := r.store.Put(t.Context(), key, []byte("picture"), ""); err != nil {
		t.Fatal(err)
	}
	row := &db.FrameRow{
		ID: id, CID: "default:a", ObjectKey: key, Hold: db.Bool(hold),
		CapturedAt: db.At(r.clock.Now()), ExpiresAt: db.At(r.clock.Now().Add(DefaultKeep)),
	}
	if _, err := r.db.NewInsert().Model(row).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	return key
}

// state tells whether the object is there and the row marked.
func (r rig) state(t *testing.T, id string) (object, deleted bool) {
	t.Helper()
	var row db.FrameRow
	if err := r.db.NewSelect().Model(&row).Where("id = ?", id).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	object, err := r.store.Exists(t.Context(), row.ObjectKey)
	if err != nil {
		t.Fatal(err)
	}
	return object, !row.DeletedAt.IsZero()
}

func (r rig) want(t *testing.T, id string, object, deleted bool) {
	t.Helper()
	if o, d := r.state(t, id); o != object || d != deleted {
		t.Errorf("frame %s: object %t, deleted %t; want %t, %t", id, o, d, object, deleted)
	}
}

func TestFramesLiveTwoWeeks(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"sqlite": sqlite, "postgres": func(t *testing.T) string { return testkit.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, url(t))
			sweeper := New(r.db, r.store, Config{Now: r.clock.Now, Page: 2})
			sweep := func(want int) {
				t.Helper()
				if res, err := sweeper.Sweep(t.Context()); err != nil || res.Deleted != want || res.Failed != 0 {
					t.Errorf("%+v, %v; want %d deleted", res, err, want)
				}
			}
			for i := range 5 {
				r.frame(t, fmt.Sprint("old", i), false)
			}
			r.frame(t, "held", true)
			r.clock.Advance(time.Hour)
			r.frame(t, "young", false)

			r.clock.Advance(13*24*time.Hour + 22*time.Hour) // the old are 13 d 23 h
			sweep(0)
			r.want(t, "old0", true, false)
			r.clock.Advance(time.Hour) // 14 d
			sweep(5)
			for i := range 5 {
				r.want(t, fmt.Sprint("old", i), false, true)
			}
			r.want(t, "held", true, false)
			r.want(t, "young", true, false)
			sweep(0)

			if _, err := r.db.NewUpdate().Model((*db.FrameRow)(nil)).Set("hold = 0").Where("id = ?", "held").Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			sweep(1)
			r.want(t, "held", false, true)
		})
	}
}

// broken fails to delete what it is told to.
type broken struct {
	Objects
	mu     sync.Mutex
	keys   map[string]bool
	before func(key string)
}

var errTest = errors.New("on purpose")

func (b *broken) Delete(ctx context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before != nil {
		b.before(key)
	}
	if b.keys[key] {
		return errTest
	}
	return b.Objects.Delete(ctx, key)
}

func TestStoreErrorsAreTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	objects := &broken{Objects: r.store, keys: map[string]bool{}}
	for i := range 5 {
		key := r.frame(t, fmt.Sprint(i), false)
		objects.keys[key] = i < 3 // the first page and more
	}
	r.clock.Advance(DefaultKeep)
	sweeper := New(r.db, objects, Config{Now: r.clock.Now, Page: 2})
	res, err := sweeper.Sweep(t.Context())
	if !errors.Is(err, errTest) || res.Deleted != 2 || res.Failed != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	r.want(t, "0", true, false)
	r.want(t, "4", false, true)
	objects.keys = nil
	if res, err := sweeper.Sweep(t.Context()); err != nil || res.Deleted != 3 {
		t.Errorf("the next sweep: %+v, %v", res, err)
	}
	r.want(t, "0", false, true)
}

// TestHoldPlacedDuringASweep: the hold comes when the page is already read.
func TestHoldPlacedDuringASweep(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	r.frame(t, "a", false)
	r.frame(t, "b", false)
	objects := &broken{Objects: r.store}
	objects.before = func(string) {
		if _, err := r.db.NewUpdate().Model((*db.FrameRow)(nil)).Set("hold = 1").Where("id = ?", "b").Exec(context.Background()); err != nil {
			t.Error(err)
		}
	}
	r.clock.Advance(DefaultKeep)
	if res, err := New(r.db, objects, Config{Now: r.clock.Now}).Sweep(t.Context()); err != nil || res.Deleted != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	r.want(t, "a", false, true)
	r.want(t, "b", true, false)
}

func TestSweeperRunsAndCloses(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	s := New(r.db, r.store, Config{Every: 5 * time.Millisecond, Now: r.clock.Now})
	if err := s.Close(); err != nil { // before Start
		t.Error(err)
	}
	r.frame(t, "a", false)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(DefaultKeep)
	testkit.Eventually(t, 10*time.Second, func() bool { _, deleted := r.state(t, "a"); return deleted }, "swept by itself")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSweepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	r.frame(t, "a", false)
	r.clock.Advance(DefaultKeep)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(r.db, r.store, Config{Now: r.clock.Now}).Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	r.want(t, "a", true, false)
}
