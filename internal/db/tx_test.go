package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

var errTest = errors.New("on purpose")

func testRollback(t *testing.T, d *DB) {
	ch, stop := d.subscribe()
	defer stop()
	err := d.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if err := Enqueue(ctx, tx, event.TopicActions, event.New("x", "k", time.Now(), 1)); err != nil {
			t.Error(err)
		}
		return errTest
	})
	if !errors.Is(err, errTest) {
		t.Errorf("got %v", err)
	}
	if n := count(t, d, "outbox"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	select {
	case <-ch:
		t.Error("the relay was woken for nothing")
	default:
	}
}

func testPanicRollsBack(t *testing.T, d *DB) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = d.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			_ = Enqueue(ctx, tx, event.TopicActions, event.New("x", "k", time.Now(), 1))
			panic("on purpose")
		})
	}()
	if err := d.Emit(t.Context(), event.TopicActions, event.New("x", "k", time.Now(), 1)); err != nil {
		t.Fatalf("the writer is stuck: %v", err)
	}
	if n := count(t, d, "outbox"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func testJoin(t *testing.T, d *DB) {
	err := d.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if err := d.Emit(ctx, event.TopicActions, event.New("x", "k", time.Now(), 1)); err != nil {
			return err
		}
		return errTest
	})
	if !errors.Is(err, errTest) {
		t.Fatal(err)
	}
	if n := count(t, d, "outbox"); n != 0 {
		t.Errorf("the inner call committed by itself: %d rows", n)
	}
}

func testConcurrentTx(t *testing.T, d *DB) {
	const workers, each = 8, 15
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				err := d.InTx(context.Background(), func(ctx context.Context, tx bun.Tx) error {
					first, err := d.Once(ctx, tx, "g", fmt.Sprintf("%d-%d", w, i))
					if err != nil || !first {
						return fmt.Errorf("first %t: %w", first, err)
					}
					return Enqueue(ctx, tx, event.TopicActions, event.New("x", "k", time.Now(), i))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if h, o := count(t, d, "handled"), count(t, d, "outbox"); h != workers*each || o != workers*each {
		t.Errorf("%d handled and %d outbox rows, want %d each", h, o, workers*each)
	}
}

func testWriteBesideTx(t *testing.T, d *DB) {
	outside := make(chan error, 1)
	err := d.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if _, err := d.Once(ctx, tx, "g", "inside"); err != nil {
			return err
		}
		go func() {
			_, err := d.Once(context.Background(), d, "g", "outside")
			outside <- err
		}()
		_, err := d.Once(ctx, tx, "g", "inside too")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-outside; err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "handled"); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

func testReadBesideTx(t *testing.T, d *DB) {
	err := d.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if _, err := d.Once(ctx, tx, "g", "1"); err != nil {
			return err
		}
		read, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n, err := d.NewSelect().Table("handled").Count(read)
		if n != 0 {
			t.Errorf("a reader saw %d uncommitted rows", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testTxContext(t *testing.T, d *DB) {
	if d.turn == nil {
		return // PostgreSQL's transactions do not queue
	}
	_ = d.InTx(t.Context(), func(context.Context, bun.Tx) error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := d.InTx(ctx, func(context.Context, bun.Tx) error { t.Error("it ran"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		return nil
	})
}

func testOnce(t *testing.T, d *DB) {
	once := func(group, id string, outcome error) (first bool) {
		err := d.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) (err error) {
			if first, err = d.Once(ctx, tx, group, id); err != nil {
				t.Error(err)
			}
			return outcome
		})
		if !errors.Is(err, outcome) {
			t.Error(err)
		}
		return first
	}
	if !once("g", "1", errTest) {
		t.Error("the first time does not count as first")
	}
	if !once("g", "1", nil) {
		t.Error("what was rolled back counts as handled")
	}
	if once("g", "1", nil) {
		t.Error("the second time counts as first")
	}
	if !once("h", "1", nil) || !once("g", "2", nil) {
		t.Error("another group or event counts as handled")
	}
}

func testOnceConcurrent(t *testing.T, d *DB) {
	var firsts atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := d.InTx(context.Background(), func(ctx context.Context, tx bun.Tx) error {
				first, err := d.Once(ctx, tx, "g", "1")
				if first {
					firsts.Add(1)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := firsts.Load(); n != 1 {
		t.Errorf("%d times first", n)
	}
}

func testEnqueue(t *testing.T, d *DB) {
	evs := []event.Envelope{
		event.New("x", "k", time.Now(), map[string]string{"s": "a'b\"c\\?\n"}),
		event.New("y", "k", time.Now(), 2),
	}
	if err := d.Emit(t.Context(), event.TopicActions, evs...); err != nil {
		t.Fatal(err)
	}
	changed := evs[0]
	changed.Type = "changed"
	if err := d.Emit(t.Context(), event.TopicActions, changed); err != nil {
		t.Fatal(err)
	}
	rows, err := unsent(t.Context(), d)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if rows[0].Seq >= rows[1].Seq {
		t.Errorf("sequence %d, %d does not grow", rows[0].Seq, rows[1].Seq)
	}
	for i, row := range rows {
		got, want := row.Envelope.V, evs[i]
		if got.ID != want.ID || got.Type != want.Type || string(got.Data) != string(want.Data) || !got.At.Equal(want.At) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func testEnqueueOutside(t *testing.T, d *DB) {
	err := Enqueue(t.Context(), d, event.TopicActions, event.New("x", "k", time.Now(), 1))
	if !errors.Is(err, ErrNotInTx) {
		t.Errorf("got %v", err)
	}
}

func testReadInsideTx(t *testing.T, d *DB) {
	now := time.Now()
	err := d.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&BanRow{ID: "1", UserID: "bob", ByUserID: "m", CreatedAt: At(now)}).Exec(ctx); err != nil {
			return err
		}
		// These must join the transaction, not wait behind it.
		if err := d.SawUser(ctx, "bob", true, now); err != nil {
			return err
		}
		if _, err := d.EnsureCallType(ctx, CallTypeRow{Name: "default"}); err != nil {
			return err
		}
		u, err := d.User(ctx, "bob")
		if err != nil || !u.Banned || !u.Online {
			t.Errorf("got %+v, %v", u, err)
		}
		if _, banned, err := d.Banned(ctx, "bob", "", now); err != nil || !banned {
			t.Errorf("banned %t, %v", banned, err)
		}
		return errTest
	})
	if !errors.Is(err, errTest) {
		t.Fatal(err)
	}
	if u, err := d.User(t.Context(), "bob"); err != nil || u.Banned || u.Online {
		t.Errorf("after rolling back: %+v, %v", u, err)
	}
}
