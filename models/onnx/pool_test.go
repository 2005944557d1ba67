//go:build cgo

package onnx

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"stillwatch/models"
)

// small opens mobilenet_v2 with one place.
func small(t *testing.T, wait time.Duration) *pool {
	t.Helper()
	const library = "../../build/lib/libonnxruntime.so.1"
	if _, err := os.Stat(library); err != nil {
		t.Skip("no inference runtime: run make setup")
	}
	r, err := New(library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	c, err := r.Open("../../build/models/mobilenet_v2", Options{Wait: wait})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*pool)
}

func TestWaitingForAPlaceIsBounded(t *testing.T) {
	t.Parallel()
	rgb := make([]byte, 224*224*3)
	p := small(t, time.Millisecond)
	pl, err := p.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Classify(context.Background(), rgb); !errors.Is(err, models.ErrBusy) {
		t.Errorf("no place in time: %v, want %v", err, models.ErrBusy)
	}
	p.wait = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Classify(ctx, rgb); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v, want %v", err, context.Canceled)
	}
	p.free <- pl
	if _, err := p.Classify(context.Background(), rgb); err != nil {
		t.Errorf("a place is free again: %v", err)
	}
}

func TestCloseWaitsForPicturesUnderWay(t *testing.T) {
	t.Parallel()
	p := small(t, time.Hour)
	pl, err := p.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := p.take(context.Background())
		waiting <- err
	}()
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	if err := <-waiting; !errors.Is(err, models.ErrClosed) {
		t.Errorf("one who waits when it closes: %v, want %v", err, models.ErrClosed)
	}
	select {
	case <-closed:
		t.Error("closed while a picture was under way")
	default:
	}
	p.free <- pl
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := p.Classify(context.Background(), make([]byte, 224*224*3)); !errors.Is(err, models.ErrClosed) {
		t.Errorf("closed: %v, want %v", err, models.ErrClosed)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}
