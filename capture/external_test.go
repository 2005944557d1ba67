package capture

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeExternal takes frames until it is full, and then hands them to the
// own store as the real one does.
type fakeExternal struct {
	mu   sync.Mutex
	own  Store
	room int
	err  error
	seen []string
}

func (f *fakeExternal) Place(ctx context.Context, storage, key string, body []byte, contentType string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return "", f.err
	}
	if len(f.seen) >= f.room {
		return key, f.own.Put(ctx, key, body, contentType)
	}
	f.seen = append(f.seen, storage)
	return "@" + storage + "/" + key, nil
}

func TestFramesGoToTheStorageOfTheirCall(t *testing.T) {
	t.Parallel()
	ext := &fakeExternal{room: 3}
	w := newWorld(t, func(c *Config) { ext.own, c.External = c.Store, ext })
	w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{Storage: "my-s3"})
	w.run(20 * time.Second)
	if len(ext.seen) != 3 || len(w.bus.frames) < 9 {
		t.Fatalf("%d frames, %d in the storage", len(w.bus.frames), len(ext.seen))
	}
	for i, f := range w.bus.frames {
		row, out := w.rows.frames[i], i < 3
		if strings.HasPrefix(f.ObjectKey, "@my-s3/frames/") != out || row.ObjectKey != f.ObjectKey {
			t.Errorf("frame %d: event says %s, row %s", i, f.ObjectKey, row.ObjectKey)
		}
		if (row.Storage == "my-s3") != out || (row.FallbackFrom == "my-s3") == out {
			t.Errorf("frame %d: row has storage %q, fallback from %q", i, row.Storage, row.FallbackFrom)
		}
		if _, own := w.bus.objects[f.ObjectKey]; own == out {
			t.Errorf("frame %d: in our own store %t", i, own)
		}
	}
	w.check("a")
	// Without a storage nothing goes out.
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(10 * time.Second)
	if row := w.rows.frames[len(w.rows.frames)-1]; row.Storage != "" || row.FallbackFrom != "" || len(ext.seen) != 3 {
		t.Errorf("row %+v", row)
	}
}

func TestAFrameThatNobodyTakesIsAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.External = &fakeExternal{err: errors.New("on purpose")} })
	w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{Storage: "my-s3"})
	w.run(10 * time.Second)
	if c := w.check("a"); c.Captured != 0 || c.Gaps == 0 || len(w.rows.frames) != 0 {
		t.Errorf("%+v, %d rows", c, len(w.rows.frames))
	}
}
