package db

import (
	"bytes"
	"context"
	"embed"
	"io/fs"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to the newest migration.
func migrate(ctx context.Context, d *bun.DB) error {
	p, err := migrator(d)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// migrator knows the migrations in the words of d's dialect. On PostgreSQL a
// session lock lets several processes start at once.
func migrator(d *bun.DB) (*goose.Provider, error) {
	gooseDialect := goose.DialectSQLite3
	words := []string{
		"{{serial}}", "INTEGER PRIMARY KEY AUTOINCREMENT", "{{elements}}", "json_each", "{{json}}", "TEXT",
		"{{append_only}}", sqliteAppendOnly, "{{append_only_end}}", sqliteAppendOnlyEnd,
	}
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if d.Dialect().Name() == dialect.PG {
		gooseDialect = goose.DialectPostgres
		words = []string{
			"{{serial}}", "BIGSERIAL PRIMARY KEY", "{{elements}}", "jsonb_array_elements", "{{json}}", "JSONB",
			"{{append_only}}", postgresAppendOnly, "{{append_only_end}}", postgresAppendOnlyEnd,
		}
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return nil, err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(gooseDialect, d.DB, rendered{sub, strings.NewReplacer(words...)}, opts...)
}

// rendered is a folder of SQL in which the dialect's own words are filled in
// on reading: {{serial}}, a primary key that counts by itself; {{elements}}, the
// function that gives a JSON array's elements as rows; {{json}}, JSON's type;
// {{append_only}}, what keeps the audit from being changed.
type rendered struct {
	fs.FS
	words *strings.Replacer
}

// Open implements fs.FS.
func (r rendered) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return f, err
	}
	defer f.Close()
	raw, err := fs.ReadFile(r.FS, name)
	if err != nil {
		return nil, err
	}
	return &renderedFile{Reader: bytes.NewReader([]byte(r.words.Replace(string(raw)))), name: name}, nil
}

type renderedFile struct {
	*bytes.Reader
	name string
}

func (f *renderedFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *renderedFile) Close() error               { return nil }
func (f *renderedFile) Name() string               { return f.name }
func (f *renderedFile) Mode() fs.FileMode          { return 0o444 }
func (f *renderedFile) ModTime() time.Time         { return time.Time{} }
func (f *renderedFile) IsDir() bool                { return false }
func (f *renderedFile) Sys() any                   { return nil }
