package recorder

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/storage"
	"stillwatch/recording/archive"
	"stillwatch/recording/composite"
)

// linkFor bounds how long the link in an event is good, where a file is kept
// for ever or for years.
const linkFor = 365 * 24 * time.Hour

// stored is a file that lies in storage, and what is known of it.
type stored struct {
	output
	row   db.RecordingFileRow
	parts []archive.Stored
}

// storeStep puts what was made into storage, tells of it, and removes what it
// was made of.
func (r *Recorder) storeStep(ctx context.Context, t *task) error {
	rows, err := r.queue.Of(ctx, r.cfg.DB, t.run.ID, "")
	if err != nil {
		return err
	}
	files, err := t.collect(rows)
	if err != nil {
		return err
	}
	if err := errors.Join(t.readStart(ctx), t.bringAll(ctx, anyMovie, stepSound, stepJoin, stepSplit, stepDump, stepEdit)); err != nil {
		return err
	}
	if t.noted, err = t.notes(rows); err != nil {
		return err
	}
	if !anyMedia(files) {
		return fmt.Errorf("%w: %w", errEmpty, errHopeless)
	}
	store, err := t.openStore()
	if err != nil {
		return err
	}
	defer store.Close()
	all, err := t.putAll(ctx, store, files)
	if err != nil {
		return err
	}
	if t.plan.Pushes(t.run.Type) {
		if err := t.push(ctx, all); err != nil {
			return err
		}
	}
	err = r.queue.Done(ctx, t.job, struct{}{}, func(ctx context.Context, tx bun.Tx) error { return t.finish(ctx, tx, all) })
	if err != nil {
		return err
	}
	r.count.stored.Add(int64(len(all)))
	after := t.after()
	if r.cfg.Ready != nil {
		r.cfg.Ready(after)
	}
	t.log.Info("recording ready", "call", t.run.CID, "files", len(all), "after", after.Round(time.Millisecond))
	t.leave(ctx)
	return nil
}

// leaveTimeout bounds the removal of what a run was made of; the sweep removes
// the rest.
const leaveTimeout = 30 * time.Second

// leave removes what a run was made of, after its last step. That step is done,
// so its lease is not renewed any more, which is no reason to stop.
func (t *task) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := errors.Join(t.r.cleanStored(ctx, t.run.ID), t.r.release(ctx, t.run.SessionID)); err != nil {
		t.log.Warn("what a recording was made of is removed later", "err", err)
	}
}

// after is how long ago the recording ended, or was ordered, as imports are.
func (t *task) after() time.Duration {
	from := t.run.StoppedAt.Time
	if t.run.CreatedAt.After(from) {
		from = t.run.CreatedAt.Time
	}
	return t.r.cfg.Now().Sub(from)
}

// anyMedia tells whether there is more than metadata.
func anyMedia(files []output) bool {
	for _, f := range files {
		switch f.Kind {
		case kindMovie, kindVideo, kindAudio, kindRaw:
			return true
		}
	}
	return false
}

func (t *task) openStore() (*archive.Store, error) {
	names := []string{t.run.Storage}
	if t.r.cfg.Backup != t.run.Storage {
		names = append(names, t.r.cfg.Backup)
	}
	waited := t.r.cfg.Now().Sub(t.job.CreatedAt.Time) >= t.r.cfg.StoreFor
	return archive.Open(archive.Config{
		Objects: t.r.cfg.Objects, Storages: names, Journal: filepath.Join(t.dir, "stored.jsonl"), Tries: 2,
		DownIsRefusal: waited, Log: t.log,
	})
}

// putAll stores the files with what describes them, the manifest last.
func (t *task) putAll(ctx context.Context, store *archive.Store, files []output) ([]stored, error) {
	var all []stored
	for i, f := range files {
		s, err := t.put(ctx, store, i, f)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	meta, err := t.describe(ctx, all)
	if err != nil {
		return nil, err
	}
	for _, f := range meta {
		s, err := t.put(ctx, store, len(all), f)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	path, err := t.manifest(ctx, all)
	if err != nil {
		return nil, err
	}
	s, err := t.put(ctx, store, len(all), output{Parts: []string{path}, Kind: kindManifest, Format: "json", From: files[0].From, To: files[0].To})
	if err != nil {
		return nil, err
	}
	return append(all, s), nil
}

// put stores one file with all its parts.
func (t *task) put(ctx context.Context, store *archive.Store, n int, f output) (stored, error) {
	row, err := t.row(n, f)
	if err != nil {
		return stored{}, err
	}
	s := stored{output: f, row: row}
	encrypt := t.plan.EncryptTo
	if f.Kind == kindManifest {
		encrypt = "" // it holds names, sizes, hashes and the plan, no content
	}
	files := make([]archive.File, len(f.Parts))
	for i, part := range f.Parts {
		key := row.ObjectKey
		if i > 0 {
			key = path.Join(path.Dir(row.ObjectKey), filepath.Base(part))
		}
		if encrypt != "" {
			key += ".gpg"
		}
		t.log.Debug("storing file", "call", t.run.CID, "file", key, "encrypted", encrypt != "")
		files[i] = archive.File{Path: filepath.Join(t.dir, part), Key: key, EncryptTo: encrypt, Replace: f.Format == composite.HLS}
	}
	if s.parts, err = store.PutTogether(ctx, files); err != nil {
		return s, err
	}
	for _, put := range s.parts {
		s.row.Items.V = append(s.row.Items.V, put.Item())
		s.row.Size += put.Size
	}
	first := s.parts[0]
	s.row.Storage, s.row.ObjectKey, s.row.SHA256 = first.Storage, first.Key, first.SHA256
	s.row.Filename, s.row.Encrypted = filepath.Base(first.Key), db.Bool(first.Encrypted)
	if f.Kind == kindMovie || f.Kind == kindVideo || f.Kind == kindAudio {
		if s.row.Media.V, err = archive.Probe(ctx, filepath.Join(t.dir, f.Parts[0])); err != nil {
			return s, fmt.Errorf("probe %s: %w", s.row.Filename, err)
		}
	}
	if f.Format == composite.HLS && !first.Encrypted {
		return t.playlist(ctx, store, s)
	}
	return s, nil
}

// row describes a file before it is stored.
func (t *task) row(n int, f output) (db.RecordingFileRow, error) {
	start := t.sessionStart()
	row := db.RecordingFileRow{
		ID: event.DeriveID("recording file", t.run.ID, f.Kind, f.Format, f.UserID, f.Track, fmt.Sprint(f.N)), RecordingID: t.run.ID,
		CID: t.run.CID, SessionID: t.run.SessionID, Type: t.run.Type, Lane: t.run.Lane, Kind: f.Kind, Format: f.Format,
		UserID: f.UserID, TrackType: f.Track, StartedAt: db.At(start.Add(f.From)), EndedAt: db.At(start.Add(f.To)),
		CreatedAt: db.At(t.r.cfg.Now()),
	}
	if keep := t.keep(); keep > 0 {
		from := t.run.StoppedAt.Time
		if t.run.CreatedAt.After(from) { // of an import
			from = t.run.CreatedAt.Time
		}
		row.ExpiresAt = db.At(from.Add(keep))
	}
	var err error
	row.ObjectKey, err = t.key(n, f, row)
	return row, err
}

// keep is the retention of the run's files, 0 for ever.
func (t *task) keep() time.Duration {
	if t.evidence() {
		return t.plan.KeepEvidence
	}
	return t.plan.KeepMovies
}

// key is where a file goes. A template with folders of its own is the whole
// key; else files lie by call and session.
func (t *task) key(n int, f output, row db.RecordingFileRow) (string, error) {
	kind := map[string]string{
		kindMovie: archive.KindMerged, kindVideo: archive.KindSplit, kindAudio: archive.KindAudio, kindRaw: archive.KindRaw,
	}[f.Kind]
	switch {
	case kind == "":
		kind = archive.KindBundle
	case kind == archive.KindAudio && f.UserID != "": // one's sound, not that of all
		kind = archive.KindSplit
	}
	template := t.plan.Filename
	if template == "" || kind == archive.KindBundle {
		template = archive.DefaultName(kind)
	}
	if f.Name != "" {
		template = "{{username}}" // which keeps what somebody typed in its place
	}
	typ, id, _ := strings.Cut(t.run.CID, ":")
	ext := extension(f)
	name, err := archive.Name(template, archive.Values{
		UUID: t.run.ID, ConfbridgeID: id, CallID: id, CallType: typ, Session: t.run.SessionID, UserID: f.UserID, Username: f.Name, Track: strings.ToLower(f.Track),
		N: n + 1, Start: row.StartedAt.Time, End: row.EndedAt.Time, Stream: id, Format: f.Format, Type: t.run.Type, Ext: ext,
	})
	if err != nil {
		return "", fmt.Errorf("%w: name file: %w", errHopeless, err)
	}
	if kind == archive.KindBundle {
		about := f.Kind
		if f.Track == blurred {
			about += "-" + blurred
		}
		name = strings.TrimSuffix(name, "."+ext) + "-" + about + "." + ext
	}
	if len(f.Parts) > 1 {
		// A folder of its own, so that the parts keep their names. They replace what
		// is there, so it is nobody else's, whatever the template says.
		name = strings.TrimSuffix(name, "."+ext) + "-" + row.ID[:8] + "/" + filepath.Base(name)
	}
	if strings.Contains(template, "/") && kind != archive.KindBundle {
		return name, nil
	}
	return strings.Join([]string{t.r.cfg.Prefix, typ, id, t.run.SessionID, name}, "/"), nil
}

func extension(f output) string {
	switch f.Format {
	case composite.HLS:
		return "m3u8"
	case "wav-8bit":
		return "wav"
	case "":
		return "bin"
	}
	return f.Format
}

// finish writes the files down and tells of each.
func (t *task) finish(ctx context.Context, tx bun.Tx, all []stored) error {
	now := t.r.cfg.Now()
	on, err := held(ctx, tx, t.run.ID)
	if err != nil {
		return err
	}
	bucket, err := bucketOf(ctx, tx, t.run.Storage)
	if err != nil {
		return err
	}
	gone, err := erased(ctx, tx, t.run)
	if err != nil {
		return err
	}
	var evs []event.Envelope
	for _, s := range all {
		s.row.Hold = db.Bool(on)
		if gone {
			s.row.ExpiresAt = overdue
		}
		// What was published early may have been held or deleted since: then the
		// sweep deletes the rest of it as well.
		_, err := tx.NewInsert().Model(&s.row).On("CONFLICT (id) DO UPDATE").Set("items = EXCLUDED.items").Set("size = EXCLUDED.size").
			Set("object_key = EXCLUDED.object_key").Set("storage = EXCLUDED.storage").Set("filename = EXCLUDED.filename").
			Set("sha256 = EXCLUDED.sha256").Set("media = EXCLUDED.media").Set("ended_at = EXCLUDED.ended_at").
			Set("hold = EXCLUDED.hold").Set("expires_at = EXCLUDED.expires_at").
			Set("deleted_at = CASE WHEN rf.deleted_at = 0 THEN 0 ELSE -1 END").Returning("NULL").Exec(ctx)
		if err != nil {
			return fmt.Errorf("write file %s: %w", s.row.Filename, err)
		}
		switch s.row.Kind {
		case kindMovie, kindVideo, kindAudio, kindRaw:
			if !gone {
				evs = append(evs, t.ready(s.row, bucket, now))
			}
		}
	}
	t.run.State, t.run.FinishedAt, t.run.UpdatedAt = db.RecordingReady, db.At(now), db.At(now)
	if _, err := tx.NewUpdate().Model(&t.run).Column("state", "finished_at", "updated_at").WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("finish recording %s: %w", t.run.ID, err)
	}
	return db.Enqueue(ctx, tx, event.TopicPublic, evs...)
}

// ready tells of a file. Its id follows from the file, so that it is told of
// once however often the step is done.
func (t *task) ready(row db.RecordingFileRow, bucket string, now time.Time) event.Envelope {
	body := event.RecordingReady{
		Type: event.CallRecordingReady, CreatedAt: now.UTC(), CallCID: row.CID, EgressID: t.run.ID, RecordingType: t.run.Type,
		CallRecording: describe(row, t.r.cfg.Objects, now), Custom: custom(t.run), Lane: t.run.Lane,
	}
	if row.Storage == t.run.Storage { // else the backup's
		body.CallRecording.Bucket = bucket
	}
	if items := body.CallRecording.Items; len(items) > maxItems {
		body.CallRecording.Items = items[:maxItems]
	}
	ev := event.New(body.Type, row.CID, now, body)
	ev.ID = event.DeriveID("recording ready", row.ID)
	return ev
}

// Signer makes links to objects.
type Signer interface {
	SignGet(ref string, expires time.Time) string
}

// maxItems is how many objects an event names: those of long HLS are listed in
// full by the API.
const maxItems = 40

// bucketOf is the bucket of an external storage, "" of our own.
func bucketOf(ctx context.Context, tx bun.IDB, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	row, err := db.ExternalStorage(ctx, tx, name)
	if db.IsNotFound(err) {
		return "", nil
	}
	return row.Bucket, err
}

// describe is a file as events show it, with links that are good as
// long as the file is kept, a year at most.
func describe(row db.RecordingFileRow, signer Signer, now time.Time) event.CallRecording {
	until := now.Add(linkFor)
	if !row.ExpiresAt.IsZero() && row.ExpiresAt.Before(until) {
		until = row.ExpiresAt.Time
	}
	url := signer.SignGet(storage.Ref(row.Storage, row.ObjectKey), until)
	out := event.CallRecording{
		Filename: row.Filename, URL: url, PlaybackURL: url, StartTime: row.StartedAt.UTC(), EndTime: row.EndedAt.UTC(),
		SessionID: row.SessionID, RecordingType: row.Type, IndexID: row.ID, Format: row.Format,
		Kind: row.Kind, UserID: row.UserID, TrackType: event.TrackType(row.TrackType),
		Size: row.Size, Media: row.Media.V, Items: row.Items.V,
	}
	if out.Media.Streams == nil {
		out.Media.Streams = []event.MediaStream{}
	}
	if out.Items == nil {
		out.Items = []event.RecordingItem{}
	}
	if row.Format == event.RecordingHLS && len(row.Items.V) > 1 && strings.HasSuffix(row.Items.V[len(row.Items.V)-1].Key, playName) {
		out.PlaybackURL = signer.SignGet(storage.Ref(row.Storage, row.Items.V[len(row.Items.V)-1].Key), until)
	}
	return out
}
