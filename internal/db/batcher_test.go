package db

import (
	"fmt"
	"testing"
	"time"

	"stillwatch/internal/testkit"
)

func gap(id string) GapRow { return GapRow{ID: id, CID: "default:a", FromAt: At(time.Now())} }

func testBatcher(t *testing.T, d *DB) {
	b := NewBatcher[GapRow](d)
	b.every, b.max = time.Millisecond, 10
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 35 {
		if !b.Put(gap(fmt.Sprint(i))) {
			t.Fatal("no room")
		}
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return b.Written() == 35 }, "written")
	b.Put(gap("last"))
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := count(t, d, "gaps"); n != 36 || b.Dropped() != 0 {
		t.Errorf("%d rows, %d dropped", n, b.Dropped())
	}
	if b.Put(gap("late")) || b.Dropped() != 1 {
		t.Error("a row after closing was taken")
	}
}

func testBatcherFull(t *testing.T, d *DB) {
	b := NewBatcher[GapRow](d)
	b.rows = make(chan GapRow, 2) // not started: nothing drains it
	for i := range 5 {
		b.Put(gap(fmt.Sprint(i)))
	}
	if b.Dropped() != 3 {
		t.Errorf("%d dropped, want 3", b.Dropped())
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "gaps"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

func testBatcherBadRow(t *testing.T, d *DB) {
	b := NewBatcher[UserRow](d)
	b.every = time.Hour // closing flushes
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		row := UserRow{ID: fmt.Sprint(i), Role: "user"}
		if i == 2 {
			row.Custom.V = map[string]any{"cannot": make(chan int)}
		}
		b.Put(row)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "users"); n != 4 || b.Dropped() != 1 || b.Written() != 4 {
		t.Errorf("%d rows, %d dropped, %d written", n, b.Dropped(), b.Written())
	}
}

func testBatcherDuplicate(t *testing.T, d *DB) {
	b := NewBatcher[GapRow](d)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Put(gap("same"))
	b.Put(gap("same"))
	b.Put(gap("other"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "gaps"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}
