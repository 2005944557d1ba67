package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/config"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/evidence"
	"stillwatch/internal/netguard"
	"stillwatch/internal/storage"
)

// Verbs of the audit.
const (
	verbEvidenceExport  = "evidence.export"
	verbEvidenceDamaged = "evidence.damaged"
)

// evidenceSource is the database and the object stores of the settings,
// without a server.
type evidenceSource struct {
	db     *db.DB
	stores *storage.Stores
	client func(plain bool) *http.Client
	closes []func() error
}

func openEvidence(e *env) (x *evidenceSource, err error) {
	cfg := e.cfg
	at := cfg.Database.URL
	if at == "" {
		file := filepath.Join(cfg.Data.Dir, "stillwatch.db")
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("find the database: %w; set data.dir or database.url", err)
		}
		at = "sqlite://" + file
	}
	x = &evidenceSource{}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	if x.db, err = db.Open(e.ctx, at); err != nil {
		return x, err
	}
	x.closes = append(x.closes, x.db.Close)
	return x, x.openStores(e.ctx, cfg, e.log)
}

func (x *evidenceSource) openStores(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	cred, err := loadCredentials(cfg)
	if err != nil {
		return err
	}
	box, err := openSeal(cfg)
	if err != nil {
		return err
	}
	at := cfg.Blob.URL
	if at == "" {
		at = (&url.URL{Scheme: "file", Path: filepath.Join(cfg.Data.Dir, "objects")}).String()
	}
	own, err := blob.Open(ctx, blob.Config{URL: at, Key: cred.URLKey})
	if err != nil {
		return err
	}
	x.closes = append(x.closes, own.Close)
	guarded := netguard.Config{}
	for _, cidr := range cfg.Netguard.Allow {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return fmt.Errorf("netguard.allow %q: %w", cidr, err)
		}
		guarded.Allow = append(guarded.Allow, prefix)
	}
	guard := netguard.New(guarded)
	guarded.AllowOnly = !cfg.Webhook.PlainHTTP
	plain := netguard.New(guarded)
	x.closes = append(x.closes, guard.Close, plain.Close)
	x.client = func(p bool) *http.Client {
		if p {
			return plain.HTTPClient()
		}
		return guard.HTTPClient()
	}
	x.stores = storage.New(storage.Config{DB: x.db, Seal: box, Own: own, Log: log, Client: x.client})
	x.closes = append(x.closes, x.stores.Close)
	return nil
}

func (x *evidenceSource) close() {
	for len(x.closes) > 0 {
		last := len(x.closes) - 1
		_ = x.closes[last]()
		x.closes = x.closes[:last]
	}
}

// errDamaged is an object that is not what was stored; errGone is one that is
// not there.
var (
	errDamaged = errors.New("an object is not what was stored")
	errGone    = fmt.Errorf("%w: it is gone", errDamaged)
)

// export writes a recording into dir: whole, or not at all.
func (x *evidenceSource) export(ctx context.Context, id, dir string, key evidence.Key) (*evidence.Manifest, error) {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there already", dir)
	}
	var row db.RecordingRow
	if err := x.db.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		if db.IsNotFound(err) {
			return nil, errors.New("there is no such recording")
		}
		return nil, err
	}
	if row.State == db.RecordingOn || row.State == db.RecordingProcessing {
		return nil, fmt.Errorf("its state is %s: its files are not all made; wait until it is ready", row.State)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*") // 0700
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(work)
	x2 := &exporter{evidenceSource: x, dir: work, m: evidence.New("recording:"+id, "stillwatch "+version, time.Now()), row: row}
	if err := x2.all(ctx); err != nil {
		if errors.Is(err, errDamaged) {
			err = errors.Join(err, x.audit(ctx, verbEvidenceDamaged, id, map[string]any{"error": err.Error()}))
		}
		return nil, err
	}
	if err := evidence.WriteFolder(work, x2.m, key); err != nil {
		return nil, err
	}
	if err := os.Rename(work, dir); err != nil {
		return nil, fmt.Errorf("put export in place: %w", err)
	}
	last := evidence.First
	if n := len(x2.m.Head.Hashes); n > 0 {
		last = x2.m.Head.Hashes[n-1]
	}
	return x2.m, x.audit(ctx, verbEvidenceExport, id, map[string]any{"entries": len(x2.m.Entries), "head": last, "key": x2.m.Head.Key})
}

func (x *evidenceSource) audit(ctx context.Context, verb, id string, detail map[string]any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	row := db.AuditRow{
		ID: event.NewID(), At: db.At(time.Now()), Actor: "command line", Verb: verb, Object: "recording:" + id,
		Detail: db.JSON[json.RawMessage]{V: text},
	}
	if _, err := x.db.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return nil
}

// exporter writes one export.
type exporter struct {
	*evidenceSource
	dir string
	m   *evidence.Manifest
	row db.RecordingRow
}

// all adds what there is, in this order.
func (x *exporter) all(ctx context.Context) error {
	for _, part := range []struct {
		of  string
		add func(context.Context) error
	}{
		{"recording", x.recording},
		{"files", x.files},
		{"frames", x.frames},
		{"verdicts", x.verdicts},
		{"decisions", x.decisions},
		{"actions", x.actions},
		{"holds", x.holds},
		{"audit", x.audits},
	} {
		if err := part.add(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.of, err)
		}
	}
	return nil
}

// note is what an entry tells besides.
type note map[string]any

func (x *exporter) add(e evidence.Entry, n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("write note of %s: %w", e.ID, err)
	}
	e.Note, e.Clock = text, evidence.ClockServer
	return x.m.Add(e)
}

// fetch copies an object into the export and names it in the entry. Its hash
// has to be want, what was noted when it was stored.
func (x *exporter) fetch(ctx context.Context, e *evidence.Entry, ref, name, want string) error {
	e.Name, e.Key = name, ref
	full := filepath.Join(x.dir, filepath.FromSlash(name))
	if !evidence.CleanName(name) {
		return fmt.Errorf("%s: no name for a file", ref)
	}
	in, err := x.stores.Open(ctx, ref)
	if err != nil {
		if errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("%w: %s", errGone, ref)
		}
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	out, err := os.OpenFile(full, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	sum := sha256.New()
	e.Size, err = io.Copy(io.MultiWriter(out, sum), in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", ref, err)
	}
	if e.SHA256 = hex.EncodeToString(sum.Sum(nil)); e.SHA256 != want {
		return fmt.Errorf("%w: %s has the hash %s, and had %s when it was stored", errDamaged, ref, e.SHA256, want)
	}
	return nil
}

// inFolder makes one part of a file's name of an object's key.
func inFolder(key string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("\\:/\x00", r) {
			return '_'
		}
		return r
	}, path.Base(key))
}

// due tells whether retention was to delete something: beside a running
// server, that may happen while we read.
func due(expires db.Time, hold db.Bool) bool {
	return !bool(hold) && !expires.IsZero() && !expires.After(time.Now())
}

func until(t db.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}
