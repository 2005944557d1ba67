package db

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// suite is what must hold on every database.
var suite = map[string]func(t *testing.T, d *DB){
	"rows come back as they went in":                    testRoundTrip,
	"opening again keeps schema and rows":               testOpenAgain,
	"a failed transaction leaves nothing":               testRollback,
	"a panic rolls back and frees the writer":           testPanicRollsBack,
	"a call inside a transaction joins it":              testJoin,
	"transactions beside each other all commit":         testConcurrentTx,
	"a single write beside a transaction gets its turn": testWriteBesideTx,
	"readers do not wait for a transaction":             testReadBesideTx,
	"what is read inside a transaction is its own":      testReadInsideTx,
	"a transaction ends waiting with its context":       testTxContext,
	"once is once":                                      testOnce,
	"once is once for many at a time":                   testOnceConcurrent,
	"the outbox counts up and keeps the first of an id": testEnqueue,
	"enqueueing outside of a transaction is refused":    testEnqueueOutside,
	"bans":                                             testBanned,
	"bans from every call at once":                     testBannedEverywhere,
	"a user in public":                                 testUser,
	"a user of whom nothing is known":                  testUserUnknown,
	"users who are banned":                             testUserBanned,
	"seeing a user":                                    testSawUser,
	"a call in public":                                 testCallBody,
	"a call without anything":                          testCallBodyBare,
	"what a call shows of its recordings":              testCallRecorded,
	"ensuring a call type":                             testEnsureCallType,
	"the relay publishes in order":                     testRelayOrder,
	"the relay is woken by the commit":                 testRelayWoken,
	"the relay keeps what did not go out":              testRelayRetries,
	"the relay refills a broker without memory":        testRelayRefills,
	"the relay prunes":                                 testRelayPrunes,
	"two relays do not overtake each other":            testTwoRelays,
	"a batcher writes in batches and on closing":       testBatcher,
	"a batcher drops when full, and counts":            testBatcherFull,
	"a batcher loses only the bad row":                 testBatcherBadRow,
	"a batcher takes the same row twice":               testBatcherDuplicate,
	"words with quotes, zero bytes and SQL stay words": testHostileText,
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		for name, test := range suite {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, open(t, "sqlite://"+filepath.Join(t.TempDir(), "a b?#%.d", "x.db")))
			})
		}
	})
	t.Run("postgres", func(t *testing.T) {
		server := testkit.Postgres(t)
		admin := open(t, server)
		n := 0
		for name, test := range suite {
			n++
			own := fmt.Sprintf("t%d", n)
			if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+own); err != nil {
				t.Fatal(err)
			}
			t.Run(name, func(t *testing.T) {
				d := open(t, strings.Replace(server, "/postgres?", "/"+own+"?", 1))
				d.SetMaxOpenConns(8)
				test(t, d)
			})
		}
	})
}

// addresses remembers where an open database is, to open it again.
func open(t *testing.T, url string) *DB {
	t.Helper()
	url = strings.ReplaceAll(url, "?#", "-") // "?" ends the path
	d, err := Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func count(t *testing.T, d *DB, table string) int {
	t.Helper()
	n, err := d.NewSelect().Table(table).Count(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func insert(t *testing.T, d *DB, rows ...any) {
	t.Helper()
	for _, row := range rows {
		if _, err := d.NewInsert().Model(row).Exec(context.Background()); err != nil {
			t.Fatalf("insert %T: %v", row, err)
		}
	}
}

func TestOpenRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "x.db", "mysql://h/db", "sqlite://", "postgres://u:p@h:notaport/db"} {
		d, err := Open(context.Background(), url)
		if err == nil {
			d.Close()
			t.Errorf("Open(%q) passed", url)
			continue
		}
		if strings.Contains(err.Error(), "u:p") {
			t.Errorf("Open(%q) tells the password: %v", url, err)
		}
	}
}

func TestOpenTellsWhyAFileCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // a folder is no database
	if d, err := Open(context.Background(), "sqlite://"+dir); err == nil {
		d.Close()
		t.Fatal("a folder was opened as a database")
	}
}

func TestSQLiteIsDurable(t *testing.T) {
	t.Parallel()
	d := open(t, "sqlite://"+filepath.Join(t.TempDir(), "x.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "0", "busy_timeout": "10000"} {
		var got sql.NullString
		if err := d.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got.String != want {
			t.Errorf("%s is %q (%v), want %q", pragma, got.String, err, want)
		}
	}
}
