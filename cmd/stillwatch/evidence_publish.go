package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"stillwatch/internal/config"
	"stillwatch/internal/db"
	"stillwatch/internal/evidence"
	"stillwatch/internal/service"
	"stillwatch/internal/storage"
)

const (
	// publishEvery is how often heads are published, new ones or none.
	publishEvery = 24 * time.Hour
	// publishTick is how often it is looked whether that is due, and what a
	// place did not take is offered again.
	publishTick = time.Hour
	// publishTimeout bounds one bulletin's way to one place.
	publishTimeout = time.Minute
	// publishOverlap is for rows that are written later than they say.
	publishOverlap = 24 * time.Hour
	// publishMost bounds the heads of one bulletin; the next takes the others.
	publishMost = 10_000
)

// headPublisher publishes the heads of evidence in a second place, as bulletins
// that stand on each other. A copy of each, which is where the next continues,
// lies in the data folder.
type headPublisher struct {
	tasks  service.Tasks
	cfg    config.Config
	db     *db.DB
	stores *storage.Stores
	client func(plain bool) *http.Client
	key    evidence.Key
	log    *slog.Logger
	now    func() time.Time
}

// wanted tells whether the settings name a place.
func (p *headPublisher) wanted() bool {
	return p.cfg.Evidence.PublishStorage != "" || p.cfg.Evidence.PublishURL != ""
}

func (p *headPublisher) dir() string { return filepath.Join(p.cfg.Data.Dir, "evidence-heads") }

// Start begins to publish.
func (p *headPublisher) Start(context.Context) error {
	p.tasks.Go(func(ctx context.Context) {
		tick := time.NewTicker(publishTick)
		defer tick.Stop()
		for {
			if err := p.publish(ctx, false); err != nil && ctx.Err() == nil {
				p.log.Error("heads of evidence are not published; it is tried again", "component", "evidence", "err", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

// Close waits for what is under way.
func (p *headPublisher) Close() error { return p.tasks.Close() }

// publish makes a bulletin if one is due, or if there are new heads and it is
// to be now, and brings to each place what that has not got yet.
func (p *headPublisher) publish(ctx context.Context, now bool) error {
	if err := os.MkdirAll(p.dir(), 0o700); err != nil {
		return fmt.Errorf("make folder of heads: %w", err)
	}
	all, err := evidence.ReadBulletins(p.dir())
	if err != nil {
		return err
	}
	for try := 0; ; try++ { // a command may publish beside the server
		b, err := p.next(ctx, all, now)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		err = p.keep(b)
		if errors.Is(err, fs.ErrExist) && try < 5 {
			if all, err = evidence.ReadBulletins(p.dir()); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		all = append(all, b)
		if len(b.Heads) < publishMost {
			break
		}
	}
	stamped := p.stampAll(ctx, all)
	return errors.Join(p.send(ctx, all), stamped, p.sendStamps(ctx, all))
}

// next is the bulletin that is due, nil if none is.
func (p *headPublisher) next(ctx context.Context, all []*evidence.Bulletin, now bool) (*evidence.Bulletin, error) {
	var last *evidence.Bulletin
	since, known := time.Time{}, map[string]bool{}
	if n := len(all); n > 0 {
		last = all[n-1]
		since = last.At.Add(-publishOverlap)
	}
	for _, b := range all {
		for _, h := range b.Heads {
			known[h.ID] = true
		}
	}
	due := last == nil || p.now().Sub(last.At) >= publishEvery
	if !due && !now {
		return nil, nil
	}
	heads, err := p.heads(ctx, since, known)
	if err != nil || !due && len(heads) == 0 {
		return nil, err
	}
	return evidence.NewBulletin(last, p.now(), heads, p.key)
}

// heads are those of the exports that the audit tells of, and of the manifests
// that were stored with recordings.
func (p *headPublisher) heads(ctx context.Context, since time.Time, known map[string]bool) ([]evidence.Published, error) {
	var out []evidence.Published
	from := db.Time{}
	if !since.IsZero() {
		from = db.At(since)
	}
	var exports []db.AuditRow
	if err := p.db.NewSelect().Model(&exports).Where("verb = ?", verbEvidenceExport).Where("at >= ?", from).Order("at", "id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read exports: %w", err)
	}
	for _, row := range exports {
		var detail struct{ Head string }
		if err := json.Unmarshal(row.Detail.V, &detail); err != nil || detail.Head == "" || known[row.ID] {
			continue
		}
		out = append(out, evidence.Published{ID: row.ID, Case: row.Object, At: row.At.UTC(), Head: detail.Head})
	}
	var files []db.RecordingFileRow
	err := p.db.NewSelect().Model(&files).Column("id", "recording_id", "created_at", "sha256").Where("kind = ?", "manifest").
		Where("sha256 <> ''").Where("created_at >= ?", from).Order("created_at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read stored manifests: %w", err)
	}
	for _, row := range files {
		if !known[row.ID] {
			out = append(out, evidence.Published{ID: row.ID, Case: "recording:" + row.RecordingID, At: row.CreatedAt.UTC(), Manifest: row.SHA256})
		}
	}
	return out[:min(len(out), publishMost)], nil
}

// bulletinName orders bulletins by their names too.
func bulletinName(n int) string { return fmt.Sprintf("%08d.json", n) }

// keep writes a bulletin into the data folder: whole, and only if no other
// process made one of that number. Then the error is fs.ErrExist.
func (p *headPublisher) keep(b *evidence.Bulletin) error {
	text, err := b.Encode()
	if err != nil {
		return fmt.Errorf("write bulletin: %w", err)
	}
	f, err := os.CreateTemp(p.dir(), ".bulletin-*") // 0600
	if err != nil {
		return fmt.Errorf("keep bulletin: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep bulletin: %w", err)
	}
	if err := os.Link(f.Name(), filepath.Join(p.dir(), bulletinName(b.N))); err != nil {
		return fmt.Errorf("keep bulletin: %w", err)
	}
	return nil
}

// send brings to each place, in order, the bulletins that it has not taken yet.
// A place that is away keeps no other from getting them.
func (p *headPublisher) send(ctx context.Context, all []*evidence.Bulletin) error {
	var errs []error
	for place, put := range map[string]func(ctx context.Context, n int, text []byte) error{"storage": p.store, "url": p.post} {
		if place == "storage" && p.cfg.Evidence.PublishStorage == "" || place == "url" && p.cfg.Evidence.PublishURL == "" {
			continue
		}
		errs = append(errs, p.sendTo(ctx, place, all, put))
	}
	return errors.Join(errs...)
}

func (p *headPublisher) sendTo(ctx context.Context, place string, all []*evidence.Bulletin, put func(ctx context.Context, n int, text []byte) error) error {
	mark := filepath.Join(p.dir(), "next-"+place)
	next := 0
	if text, err := os.ReadFile(mark); err == nil {
		next, _ = strconv.Atoi(strings.TrimSpace(string(text))) // else all are sent again
	}
	for _, b := range all {
		if b.N < next {
			continue
		}
		text, err := b.Encode()
		if err != nil {
			return fmt.Errorf("write bulletin: %w", err)
		}
		once, cancel := context.WithTimeout(ctx, publishTimeout)
		err = put(once, b.N, text)
		cancel()
		if err != nil {
			return fmt.Errorf("publish bulletin %d: %s: %w", b.N, place, err)
		}
		if err := os.WriteFile(mark, []byte(strconv.Itoa(b.N+1)+"\n"), 0o600); err != nil {
			return fmt.Errorf("note what was published: %w", err)
		}
		p.log.Info("heads of evidence are published", "component", "evidence", "bulletin", b.N, "heads", len(b.Heads), "place", place)
	}
	return nil
}

// store puts a bulletin into the external storage.
func (p *headPublisher) store(ctx context.Context, n int, text []byte) error {
	key := path.Join(p.cfg.Evidence.PublishPrefix, bulletinName(n))
	return p.stores.Upload(ctx, storage.Ref(p.cfg.Evidence.PublishStorage, key), bytes.NewReader(text), "application/json")
}

// post sends a bulletin to the endpoint; 2xx is that it has it. The address may
// hold a secret and stays out of errors.
func (p *headPublisher) post(ctx context.Context, n int, text []byte) error {
	at := p.cfg.Evidence.PublishURL
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(text))
	if err != nil {
		return errors.New("evidence.publish_url is no address")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "bulletin-"+p.key.Public().Fingerprint()[:16]+"-"+strconv.Itoa(n))
	_, err = p.answer(req)
	return err
}

// maxReply bounds what is read of an answer, in bytes: a time stamp with its
// certificates has some thousand.
const maxReply = 64 << 10

// answer makes a request and returns the body of a 2xx answer.
func (p *headPublisher) answer(req *http.Request) ([]byte, error) {
	resp, err := p.client(req.URL.Scheme == "http").Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read answer: %w", err)
	case resp.StatusCode/100 != 2:
		return nil, fmt.Errorf("it answers %d", resp.StatusCode)
	case len(text) > maxReply:
		return nil, errors.New("its answer is too large")
	}
	return text, nil
}

// startHeads publishes heads of evidence where the settings name a place.
func (p *Program) startHeads(ctx context.Context) error {
	key, err := evidence.LoadKey(filepath.Join(p.cfg.Data.Dir, "evidence.key"))
	if err != nil {
		return err
	}
	h := &headPublisher{
		cfg: p.cfg, db: p.db, stores: p.stores, key: key, log: p.log, now: time.Now,
		client: func(plain bool) *http.Client { return p.guardFor(plain).HTTPClient() },
	}
	if !h.wanted() {
		return nil
	}
	return p.begin(ctx, "heads of evidence", h)
}
