package db

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

const (
	// sqliteConns bounds the pool: one writer and readers beside it.
	sqliteConns = 8
	// sqliteBusyMS is how long a write outside InTx waits for its turn.
	sqliteBusyMS = 10_000
	// postgresConns stays below PostgreSQL's default limit of 100 with
	// several processes.
	postgresConns = 24
)

func openSQLite(path string) (*bun.DB, error) {
	path, _, _ = strings.Cut(path, "?")
	if path == "" {
		return nil, errors.New("sqlite:// names no file")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the database's folder: %w", err)
	}
	// What users are called and were looked at for is nobody else's to read,
	// whatever folder the operator has made for it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("make the database: %w", err)
	}
	sqldb, err := sql.Open("sqlite", sqliteDSN(path))
	if err != nil {
		return nil, err
	}
	sqldb.SetMaxOpenConns(sqliteConns)
	sqldb.SetMaxIdleConns(sqliteConns)
	return bun.NewDB(sqldb, sqlitedialect.New()), nil
}

// sqliteDSN sets what makes commits durable (synchronous FULL), readers free
// of the writer (WAL), and a transaction a writer from its first statement
// on (immediate), so that it cannot fail halfway with SQLITE_BUSY.
func sqliteDSN(path string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", sqliteBusyMS),
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(0)",
	}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func openPostgres(dsn string) (*bun.DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("the postgres:// address cannot be read (not shown: it may hold a password)")
	}
	// bun writes values into the statement, so preparing each would cost a
	// round trip and fill the statement cache for nothing.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	sqldb := stdlib.OpenDB(*cfg)
	sqldb.SetMaxOpenConns(postgresConns)
	sqldb.SetMaxIdleConns(postgresConns)
	sqldb.SetConnMaxIdleTime(5 * time.Minute)
	return bun.NewDB(sqldb, pgdialect.New()), nil
}
