// Package db is the one truth of the program: what was decided, done and
// seen, in SQLite or PostgreSQL under one schema, with an outbox that carries
// events out of committed transactions.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// DB is an open database. Reads and single writes go through the embedded
// bun.DB; writes that belong together, and all that emit events, through InTx.
type DB struct {
	*bun.DB

	// PublicURL is the program's own address, put before the paths in call
	// bodies. Set it before the first use.
	PublicURL string

	now func() time.Time
	// turn holds one token where writers must queue (SQLite), else it is nil.
	turn chan struct{}

	mu      sync.Mutex
	wakeups map[chan struct{}]struct{}
}

// Open opens the database that url names and brings its schema up to date.
// "sqlite:///abs/path.db" (or "sqlite://rel/path.db") is a file, made if it is
// missing; "postgres://user:pass@host/db" is a PostgreSQL 14 or newer.
func Open(ctx context.Context, url string) (*DB, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return nil, fmt.Errorf("open database: %q has no scheme; want sqlite:// or postgres://", redact(url))
	}
	d := &DB{now: time.Now, wakeups: map[chan struct{}]struct{}{}}
	var err error
	switch scheme {
	case "sqlite":
		d.turn = make(chan struct{}, 1)
		d.DB, err = openSQLite(rest)
	case "postgres", "postgresql":
		d.DB, err = openPostgres(url)
	default:
		err = fmt.Errorf("unknown scheme %q; want sqlite or postgres", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := migrate(ctx, d.DB); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate database: %w", err), d.DB.Close())
	}
	return d, nil
}

// txState travels in the context of InTx.
type txState struct {
	db       *DB
	tx       bun.Tx
	enqueued bool
}

type txKey struct{}

// InTx runs fn in one transaction and commits when fn returns nil. fn must
// use the context and tx it is given. A call inside fn with that context
// joins the outer transaction. On SQLite transactions queue for the one
// writer; reads outside go on meanwhile.
func (d *DB) InTx(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) error {
	if st, ok := ctx.Value(txKey{}).(*txState); ok && st.db == d {
		return fn(ctx, st.tx)
	}
	if d.turn != nil {
		select {
		case d.turn <- struct{}{}:
			defer func() { <-d.turn }()
		case <-ctx.Done():
			return fmt.Errorf("wait for the writer: %w", context.Cause(ctx))
		}
	}
	st := &txState{db: d}
	err := d.DB.RunInTx(ctx, &sql.TxOptions{}, func(ctx context.Context, tx bun.Tx) error {
		st.tx = tx
		return fn(context.WithValue(ctx, txKey{}, st), tx)
	})
	if err != nil {
		return err
	}
	if st.enqueued {
		d.wake()
	}
	return nil
}

// reader is the transaction that ctx comes from, or else the pool: what a
// transaction wrote, it can read.
func (d *DB) reader(ctx context.Context) bun.IDB {
	if st, ok := ctx.Value(txKey{}).(*txState); ok && st.db == d {
		return st.tx
	}
	return d.DB
}

// wake tells every relay that a commit left something in the outbox.
func (d *DB) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ch := range d.wakeups {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (d *DB) subscribe() (ch chan struct{}, stop func()) {
	ch = make(chan struct{}, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wakeups[ch] = struct{}{}
	return ch, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.wakeups, ch)
	}
}

// IsNotFound tells whether err means that a query found no row.
func IsNotFound(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// redact hides what stands between "//" and "@": a password, perhaps.
func redact(url string) string {
	at := strings.LastIndex(url, "@")
	if at < 0 {
		return url
	}
	head, _, found := strings.Cut(url, "//")
	if !found {
		head = ""
	}
	return head + "//***" + url[at:]
}
