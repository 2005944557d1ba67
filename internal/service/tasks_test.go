package service

import (
	"context"
	"sync/atomic"
	"testing"
)

func TestTasksRunUntilClosed(t *testing.T) {
	t.Parallel()
	var tasks Tasks
	var ended atomic.Int32
	wait := func(ctx context.Context) { <-ctx.Done(); ended.Add(1) }
	if !tasks.Go(wait, wait) || !tasks.Go(wait) {
		t.Fatal("did not start")
	}
	for range 2 {
		if err := tasks.Close(); err != nil {
			t.Fatal(err)
		}
		if ended.Load() != 3 {
			t.Fatalf("%d of 3 ended", ended.Load())
		}
	}
	if tasks.Go(wait) {
		t.Error("started after Close")
	}
}

func TestTasksCloseBeforeStart(t *testing.T) {
	t.Parallel()
	var tasks Tasks
	if err := tasks.Close(); err != nil || tasks.Go(func(context.Context) {}) {
		t.Error("started after Close")
	}
}
