package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/seal"
	"stillwatch/recording/handover"
	"stillwatch/recording/raw"
)

const (
	// handEvery is how often it is looked for what can be handed over, where
	// nobody told of it.
	handEvery = time.Second
	// lateBy is how long joining and storing wait for the node that has the
	// packets, and made the most of the rest.
	lateBy = time.Minute
	// purposeHandover is what seals the packets' key in the database.
	purposeHandover = "recording.handover"
)

// errNotHere marks what was handed over and cannot be read on this machine,
// though perhaps on another.
var errNotHere = errors.New("what was handed over cannot be read here")

// handLoop hands over the sessions of this node of which files are being made.
// Whatever fails here keeps no file from being made on this node.
func (r *Recorder) handLoop(ctx context.Context) {
	tick := time.NewTicker(handEvery)
	defer tick.Stop()
	for {
		pause := time.Duration(0)
		if err := r.handOverAll(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("sessions are handed over later", "err", err)
			pause = storePause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-r.kept:
		case <-tick.C:
		}
	}
}

func (r *Recorder) handOverAll(ctx context.Context) error {
	var sessions []string
	err := r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).ColumnExpr("DISTINCT session_id").
		Where("node = ?", r.cfg.Node).Where("state = ?", db.RecordingProcessing).
		// Its first step has decided that something is kept, and there is work to share.
		Where("EXISTS (SELECT 1 FROM recording_jobs j WHERE j.recording_id = ?TableAlias.id AND j.state = ? AND j.kind IN (?))",
			db.JobWaiting, bun.List([]string{stepChunk, stepSound, stepSplit})).
		Where("NOT EXISTS (SELECT 1 FROM recording_handovers h WHERE h.session_id = ?TableAlias.session_id AND h.state <> ?)", db.HandoverPutting).
		Limit(sweepPage).Scan(ctx, &sessions)
	if err != nil {
		return fmt.Errorf("look for what to hand over: %w", err)
	}
	var errs []error
	for _, id := range sessions {
		if r.busy(id) { // it runs, or may yet be flagged
			continue
		}
		errs = append(errs, r.handOver(ctx, id))
	}
	return errors.Join(errs...)
}

// handOver puts the packets of a session into the store, and what was made of
// them so far. From then on its steps are anybody's.
func (r *Recorder) handOver(ctx context.Context, sessionID string) error {
	dir := r.rawDir(sessionID)
	key, err := raw.LoadKey(dir, r.cfg.Seal)
	if err != nil {
		return fmt.Errorf("hand over session %s: %w", sessionID, err)
	}
	sealed, err := r.cfg.Seal.Seal(purposeHandover, sessionID, string(key[:]))
	if err != nil {
		return fmt.Errorf("hand over session %s: %w", sessionID, err)
	}
	// The row comes before the first object, so that there is none without a row.
	began, err := r.beginHandover(ctx, sessionID, sealed)
	if err != nil || !began {
		return err
	}
	p := handover.Parcel{Objects: r.cfg.Objects, SessionID: sessionID, Key: key}
	files, err := p.PutPackets(ctx, dir)
	if err != nil {
		return err
	}
	list, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("describe packets: %w", err)
	}
	size := int64(0)
	for _, f := range files {
		size += f.Size
	}
	made, put := int64(0), map[string]bool{}
	for {
		n, err := r.putMade(ctx, p, put)
		if err != nil {
			return err
		}
		made += n
		began, err = r.readyHandover(ctx, sessionID, string(list), size, put)
		if err == nil {
			break
		}
		if !errors.Is(err, errUnsent) {
			return err
		}
	}
	if !began { // all was made meanwhile
		return handover.Empty(ctx, r.cfg.Objects, sessionID)
	}
	r.count.handed.Add(size + made)
	r.log.Info("packets are handed over", "session", sessionID, "files", len(files), "bytes", size, "made", made)
	r.announce(ctx, sessionID)
	return nil
}

// beginHandover writes the row of a handover, unless nothing is made of the
// session any more.
func (r *Recorder) beginHandover(ctx context.Context, sessionID, key string) (began bool, err error) {
	err = r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		began = false
		now := db.At(r.cfg.Now())
		open, err := r.lockRuns(ctx, tx, sessionID)
		if err != nil || !open {
			return err
		}
		row := db.RecordingHandoverRow{SessionID: sessionID, Node: r.cfg.Node, State: db.HandoverPutting, Key: key, CreatedAt: now, UpdatedAt: now}
		row.Files.V = json.RawMessage("[]")
		if _, err := tx.NewInsert().Model(&row).On("CONFLICT (session_id) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
			return fmt.Errorf("begin handover of %s: %w", sessionID, err)
		}
		began = true
		return nil
	})
	return began, err
}

// lockRuns locks the runs of which files are made, as those do that end a step;
// see task.mark. It is false if there is none.
func (r *Recorder) lockRuns(ctx context.Context, tx bun.Tx, sessionID string) (bool, error) {
	res, err := tx.NewUpdate().Model((*db.RecordingRow)(nil)).Set("updated_at = ?", db.At(r.cfg.Now())).
		Where("session_id = ?", sessionID).Where("state = ?", db.RecordingProcessing).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("mark runs of session %s: %w", sessionID, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// readyHandover makes a session's steps anybody's, if all that was made of it so
// far was put; else it returns errUnsent. A step that ends at the same time
// waits for the run's row and then sees that, or is seen here; see task.done. It
// is false if nothing is made of the session any more.
func (r *Recorder) readyHandover(ctx context.Context, sessionID, files string, size int64, put map[string]bool) (ready bool, err error) {
	err = r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		ready = false
		open, err := r.lockRuns(ctx, tx, sessionID)
		if err != nil || !open {
			return err
		}
		rows, err := stepsDone(ctx, tx, sessionID)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(rows, func(row db.RecordingJobRow) bool { return !put[row.ID] }) {
			return errUnsent
		}
		res, err := tx.NewUpdate().Model((*db.RecordingHandoverRow)(nil)).Set("state = ?", db.HandoverReady).Set("files = ?", files).
			Set("size = ?", size).Set("updated_at = ?", db.At(r.cfg.Now())).
			Where("session_id = ?", sessionID).Where("state = ?", db.HandoverPutting).Exec(ctx)
		if err != nil {
			return fmt.Errorf("hand over session %s: %w", sessionID, err)
		}
		n, err := res.RowsAffected()
		ready = n > 0
		return err
	})
	return ready, err
}

// stepsDone are the steps of a session's open runs that are done.
func stepsDone(ctx context.Context, tx bun.IDB, sessionID string) ([]db.RecordingJobRow, error) {
	var rows []db.RecordingJobRow
	err := tx.NewSelect().Model(&rows).Where("state = ?", db.JobDone).
		Where("recording_id IN (SELECT id FROM recordings WHERE session_id = ? AND state = ?)", sessionID, db.RecordingProcessing).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for what was made: %w", err)
	}
	return rows, nil
}

// putMade puts what this node made of a session before its steps are anybody's,
// but for what was put already.
func (r *Recorder) putMade(ctx context.Context, p handover.Parcel, put map[string]bool) (int64, error) {
	rows, err := stepsDone(ctx, r.cfg.DB, p.SessionID)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, row := range rows {
		if put[row.ID] {
			continue
		}
		put[row.ID] = true
		files, err := madeBy(row)
		if err != nil {
			return sum, err
		}
		for _, f := range files {
			n, err := p.Put(ctx, madeName(row, f), filepath.Join(r.workDir(row.RecordingID), f))
			if errors.Is(err, fs.ErrNotExist) { // whoever needs it makes it again
				continue
			}
			if err != nil {
				return sum, err
			}
			sum += n
		}
	}
	return sum, nil
}

// shared is a session's handover in one of the states, nil if there is none.
func shared(ctx context.Context, tx bun.IDB, sessionID string, states ...string) (*db.RecordingHandoverRow, error) {
	var row db.RecordingHandoverRow
	err := tx.NewSelect().Model(&row).Where("session_id = ?", sessionID).Scan(ctx)
	if db.IsNotFound(err) || err == nil && !slices.Contains(states, row.State) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read handover of %s: %w", sessionID, err)
	}
	return &row, nil
}

// parcel opens a handover.
func (r *Recorder) parcel(row *db.RecordingHandoverRow) (handover.Parcel, error) {
	p := handover.Parcel{Objects: r.cfg.Objects, SessionID: row.SessionID}
	plain, err := r.cfg.Seal.Open(purposeHandover, row.SessionID, row.Key)
	if err == nil && len(plain) != len(p.Key) {
		err = seal.ErrBroken
	}
	if err != nil {
		return p, fmt.Errorf("%w: open key of session %s: %w", errNotHere, row.SessionID, err)
	}
	copy(p.Key[:], plain)
	return p, nil
}

// handedDir is where the packets lie that other machines handed over; they
// have no key there.
func (r *Recorder) handedDir(sessionID string) string {
	return filepath.Join(r.cfg.Dir, "handed", sessionID)
}

// openPackets opens the packets of a session: those that lie here, or those
// that another machine handed over, which are fetched.
func (r *Recorder) openPackets(ctx context.Context, sessionID string) (*raw.Reader, error) {
	reader, missing := r.openRaw(sessionID)
	if !errors.Is(missing, fs.ErrNotExist) {
		return reader, missing
	}
	row, err := shared(ctx, r.cfg.DB, sessionID, db.HandoverReady)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, missing
	}
	p, err := r.parcel(row)
	if err != nil {
		return nil, err
	}
	if err := r.fetchPackets(ctx, row, p); err != nil {
		return nil, err
	}
	reader, err = raw.Open(r.handedDir(sessionID), p.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotHere, err)
	}
	return reader, nil
}

// fetchPackets brings a session's packets here, once. The folder appears when
// it is whole, so that several processes may fetch it.
func (r *Recorder) fetchPackets(ctx context.Context, row *db.RecordingHandoverRow, p handover.Parcel) error {
	dir := r.handedDir(row.SessionID)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	var files []handover.File
	if err := json.Unmarshal(row.Files.V, &files); err != nil {
		return fmt.Errorf("%w: read list of packets: %w", errNotHere, err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), row.SessionID+tmpMark)
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	err = p.FetchPackets(ctx, files, tmp, 2*r.cfg.SpoolBytes)
	switch {
	case errors.Is(err, blob.ErrNotFound): // all was made meanwhile, or soon will be
		return fmt.Errorf("%w: %w", handover.ErrStore, err)
	case err != nil && ctx.Err() == nil && !errors.Is(err, handover.ErrStore):
		return fmt.Errorf("%w: %w", errNotHere, err)
	case err != nil:
		return err
	}
	r.count.fetched.Add(row.Size)
	r.log.Info("packets are fetched", "session", row.SessionID, "bytes", row.Size)
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return fmt.Errorf("put packets in place: %w", err)
		}
	}
	return nil
}

// tmpMark stands behind the session's id in the name of a folder that is being
// fetched.
const tmpMark = ".tmp-"

// endHandover destroys the key of what was handed over, and then what lies in
// the store. It may be repeated, by any machine, once nobody needs the session.
func (r *Recorder) endHandover(ctx context.Context, sessionID string) error {
	row, err := shared(ctx, r.cfg.DB, sessionID, db.HandoverPutting, db.HandoverReady, db.HandoverEnding)
	if err != nil || row == nil {
		return err
	}
	_, err = r.cfg.DB.NewUpdate().Model((*db.RecordingHandoverRow)(nil)).Set("state = ?", db.HandoverEnding).Set("key = ''").Set("files = '[]'").
		Set("updated_at = ?", db.At(r.cfg.Now())).Where("session_id = ?", sessionID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end handover of %s: %w", sessionID, err)
	}
	if err := handover.Empty(ctx, r.cfg.Objects, sessionID); err != nil {
		return fmt.Errorf("empty handover of %s: %w", sessionID, err)
	}
	_, err = r.cfg.DB.NewDelete().Model((*db.RecordingHandoverRow)(nil)).Where("session_id = ?", sessionID).Where("state = ?", db.HandoverEnding).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end handover of %s: %w", sessionID, err)
	}
	r.log.Info("what was handed over is gone from the store", "session", sessionID)
	r.announce(ctx, sessionID)
	return nil
}

// sweepHandovers ends the handovers that nobody needs any more, and deletes
// what lies in the store without one: what somebody put who was too late.
func (r *Recorder) sweepHandovers(ctx context.Context) error {
	var there []string
	if r.cfg.Handover {
		var err error
		if there, err = handover.Sessions(ctx, r.cfg.Objects); err != nil {
			return err
		}
	}
	var rows []db.RecordingHandoverRow
	if err := r.cfg.DB.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return fmt.Errorf("look for handovers: %w", err)
	}
	var errs []error
	known := map[string]bool{}
	for _, row := range rows {
		known[row.SessionID] = true
		needed, err := r.needed(ctx, row.SessionID)
		if err == nil && (!needed || row.State == db.HandoverEnding) {
			err = r.endHandover(ctx, row.SessionID)
		}
		errs = append(errs, err)
	}
	for _, id := range there {
		if !known[id] {
			errs = append(errs, handover.Empty(ctx, r.cfg.Objects, id))
		}
	}
	return errors.Join(errs...)
}

// sweepHanded removes the packets of other machines that are not handed over
// any more.
func (r *Recorder) sweepHanded(ctx context.Context) error {
	dirs, err := os.ReadDir(filepath.Join(r.cfg.Dir, "handed"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for packets of others: %w", err)
	}
	var errs []error
	for _, d := range dirs {
		id, _, _ := strings.Cut(d.Name(), tmpMark)
		row, err := shared(ctx, r.cfg.DB, id, db.HandoverReady)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if row != nil {
			continue
		}
		r.forget(id)
		if err := os.RemoveAll(filepath.Join(r.cfg.Dir, "handed", d.Name())); err != nil {
			errs = append(errs, fmt.Errorf("remove packets of another machine: %w", err))
		}
	}
	return errors.Join(errs...)
}
