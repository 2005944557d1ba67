package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sys/unix"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/jail"
	"stillwatch/recording"
	"stillwatch/recording/archive"
	"stillwatch/recording/composite"
	"stillwatch/recording/handover"
	"stillwatch/recording/stream"
)

// Codes of event.RecordingError.
const (
	CodeOther   = 1 // see the message
	CodeEmpty   = 2 // nothing was sent that can be shown or heard
	CodePackets = 3 // the packets cannot be read: gone, given up, changed, or sealed with another key
	CodeDisk    = 4 // no room on this machine
	CodeStore   = 5 // the store refuses, or was away for too long
	CodeLost    = 6 // packets were lost, or given up, while the call ran
	CodeKey     = 7 // the OpenPGP public key cannot be encrypted to
	CodeStream  = 8 // the endpoint did not take the stream; the files are made all the same
)

// noRoom says how much room was left where there was too little.
type noRoom struct {
	cause error
	// left is on the disk of the work folder; packets is how large those of the
	// session are, which is about what files without encoding take.
	left    uint64
	packets int64
}

// Error implements error.
func (n *noRoom) Error() string { return fmt.Sprintf("%v (%s)", n.cause, n.figures()) }

// Unwrap returns the cause.
func (n *noRoom) Unwrap() error { return n.cause }

func (n *noRoom) figures() string {
	return fmt.Sprintf("%d bytes are left; the packets take %d, and files of them about as much", n.left, n.packets)
}

// measured adds to a failure for want of room how much there was.
func (r *Recorder) measured(run db.RecordingRow, cause error) error {
	if codeOf(cause) != CodeDisk {
		return cause
	}
	left, _, err := diskFree(filepath.Join(r.cfg.Dir, "work"))
	if err != nil {
		return cause
	}
	return &noRoom{cause, left, folderSize(r.rawDir(run.SessionID))}
}

// codeOf says what kind of failure an error is.
func codeOf(err error) int {
	var refused *archive.Error
	var ffmpeg *jail.Error
	var undelivered *stream.Error
	switch {
	case errors.As(err, &undelivered):
		return CodeStream
	case errors.Is(err, errLost):
		return CodeLost
	case errors.Is(err, errEmpty):
		return CodeEmpty
	case errors.Is(err, archive.ErrKey):
		return CodeKey
	case errors.As(err, &ffmpeg) && strings.Contains(strings.ToLower(ffmpeg.Stderr), unix.ENOSPC.Error()), errors.Is(err, composite.ErrTorn):
		return CodeDisk
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return CodeDisk
	case errors.Is(err, errPackets), errors.Is(err, fs.ErrNotExist):
		return CodePackets
	case errors.Is(err, archive.ErrStoreDown), errors.Is(err, handover.ErrStore), errors.As(err, &refused) && refused.Class == archive.Destinations:
		return CodeStore
	}
	return CodeOther
}

// errPackets marks packets that cannot be read.
var errPackets = errors.New("the packets of the call cannot be read")

// away tells whether a failure is a store's that may come back.
func (r *Recorder) away(err error) bool {
	return errors.Is(err, archive.ErrStoreDown) || errors.Is(err, handover.ErrStore)
}

// giveUp fails a recording: its open steps end, its packets and what was made
// of them stay, and each file that was to be made is told of.
func (r *Recorder) giveUp(ctx context.Context, tx bun.Tx, recordingID string, cause error) error {
	now := r.cfg.Now()
	var run db.RecordingRow
	if err := tx.NewSelect().Model(&run).Where("id = ?", recordingID).Scan(ctx); err != nil {
		return fmt.Errorf("read recording %s: %w", recordingID, err)
	}
	if run.State != db.RecordingProcessing {
		return nil
	}
	cause = r.measured(run, cause)
	run.State, run.ErrorCode, run.Error = db.RecordingFailed, codeOf(cause), cause.Error()
	run.FinishedAt, run.UpdatedAt = db.At(now), db.At(now)
	if gone, err := erased(ctx, tx, run); err != nil {
		return err
	} else if gone {
		run.FinishedAt = overdue
	}
	if _, err := tx.NewUpdate().Model(&run).Column("state", "error_code", "error", "finished_at", "updated_at").WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("fail recording %s: %w", run.ID, err)
	}
	_, err := tx.NewUpdate().Model((*db.RecordingJobRow)(nil)).Set("state = ?", db.JobFailed).Set("error = ?", "another step failed").
		Where("recording_id = ?", run.ID).Where("state IN (?, ?)", db.JobWaiting, db.JobRunning).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end steps of %s: %w", run.ID, err)
	}
	return r.tellFailed(ctx, tx, run, cause, now)
}

// tellFailed enqueues one event for each file that was to be made.
func (r *Recorder) tellFailed(ctx context.Context, tx bun.Tx, run db.RecordingRow, cause error, now time.Time) error {
	t := task{run: run}
	if err := t.readPlan(); err != nil {
		return err
	}
	return r.tellFailedOf(ctx, tx, run, t.formats(), cause, now)
}

func (r *Recorder) tellFailedOf(ctx context.Context, tx bun.Tx, run db.RecordingRow, formats []string, cause error, now time.Time) error {
	stop := run.StoppedAt.Time
	if stop.IsZero() {
		stop = now
	}
	bucket, err := bucketOf(ctx, tx, run.Storage)
	if err != nil {
		return err
	}
	var evs []event.Envelope
	for _, format := range formats {
		body := event.RecordingFailed{
			Type: event.CallRecordingFailed, CreatedAt: now.UTC(), CallCID: run.CID, EgressID: run.ID, RecordingType: run.Type,
			SessionID: run.SessionID, Format: format, Bucket: bucket, StartTime: run.StartedAt.UTC(), EndTime: stop.UTC(),
			IndexID: event.DeriveID("recording file", run.ID, format, "failed"),
			Error:   event.RecordingError{Code: codeOf(cause), Message: publicText(cause)}, Custom: custom(run), Lane: run.Lane,
		}
		ev := event.New(body.Type, run.CID, now, body)
		ev.ID = event.DeriveID("recording failed", run.ID, format, fmt.Sprint(codeOf(cause)), fmt.Sprint(now.UnixNano()))
		evs = append(evs, ev)
	}
	return db.Enqueue(ctx, tx, event.TopicPublic, evs...)
}

// formats are those of the run's files.
func (t *task) formats() []string {
	switch {
	case t.run.Type == "raw":
		return []string{"rtpdump"}
	case t.run.Type == "individual":
		return t.plan.IndividualFormats
	}
	return t.plan.CompositeFormats
}

func custom(run db.RecordingRow) map[string]any {
	if run.Custom.V == nil {
		return map[string]any{}
	}
	return run.Custom.V
}

// publicText is what a backend may read of a failure: no paths, no addresses.
func publicText(err error) string {
	var refused *archive.Error
	var lacks *gaveUp
	if errors.As(err, &lacks) {
		return lacks.Error()
	}
	var undelivered *stream.Error
	if errors.As(err, &undelivered) {
		return "the recording was not streamed: " + undelivered.Reason
	}
	switch codeOf(err) {
	case CodeEmpty:
		return errEmpty.Error()
	case CodeDisk:
		if full := (*noRoom)(nil); errors.As(err, &full) {
			return "there is no room for the recording: " + full.figures() + "; its packets are kept"
		}
		return "there is no room for the recording; its packets are kept"
	case CodeKey:
		return "the OpenPGP public key that recordings are encrypted to cannot be used; the packets are kept"
	case CodePackets:
		return errPackets.Error()
	case CodeStore:
		if errors.As(err, &refused) {
			return "the store refuses the recording: " + refused.Reason
		}
		return "the store was away for too long; the packets are kept"
	case CodeLost:
		return "packets of the call could not be written"
	}
	return "the recording could not be made; its packets are kept and the log says why"
}

// tellLost tells once a session that its recordings miss packets.
func (l *live) tellLost(cause error) {
	if l.lost || len(l.runs) == 0 {
		return
	}
	l.lost = true
	now := l.r.cfg.Now()
	err := l.r.retry(func(ctx context.Context) error {
		return l.r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			for _, run := range l.runs {
				if err := l.r.tellFailed(ctx, tx, *run, fmt.Errorf("%w: %w", errLost, cause), now); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		l.r.log.Error("lost packets are not told of", "call", l.info.CID, "err", err)
	}
}

var errLost = errors.New("packets of the call could not be written")

// clean removes what was made of a recording on the way.
func (r *Recorder) clean(recordingID string) error {
	if err := os.RemoveAll(r.workDir(recordingID)); err != nil {
		return fmt.Errorf("remove work of %s: %w", recordingID, err)
	}
	return nil
}

// cleanStored is clean for what is stored, or gone: by the settings, it may stay.
func (r *Recorder) cleanStored(ctx context.Context, recordingID string) error {
	keep, err := r.keepsWork(ctx, recordingID)
	if err != nil || keep {
		return err
	}
	return r.clean(recordingID)
}

// keepsWork tells whether what a recording was made of stays when all of it is
// stored. It is plaintext, so it goes with the first of the files that does,
// and does not stay at all where those are encrypted.
func (r *Recorder) keepsWork(ctx context.Context, recordingID string) (bool, error) {
	if !r.cfg.KeepWork {
		return false, nil
	}
	var run db.RecordingRow
	err := r.cfg.DB.NewSelect().Model(&run).Where("id = ?", recordingID).Where("state = ?", db.RecordingReady).
		Where("EXISTS (SELECT 1 FROM recording_files WHERE recording_id = ?TableAlias.id)").
		Where("NOT EXISTS (SELECT 1 FROM recording_files WHERE recording_id = ?TableAlias.id AND deleted_at <> 0)").Scan(ctx)
	if db.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether work of %s is kept: %w", recordingID, err)
	}
	var plan recording.Plan
	if err := json.Unmarshal(run.Plan.V, &plan); err != nil {
		return false, nil //nolint:nilerr // whether it is encrypted is not known
	}
	return plan.EncryptTo == "", nil
}

// Retry goes on with a failed recording at the step that failed. Where what was
// made so far is gone, it begins anew from the packets.
func (r *Recorder) Retry(ctx context.Context, recordingID string) error {
	err := r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewUpdate().Model((*db.RecordingRow)(nil)).Set("state = ?", db.RecordingProcessing).Set("error = ''").Set("error_code = 0").
			Set("updated_at = ?", db.At(r.cfg.Now())).Where("id = ?", recordingID).Where("state = ?", db.RecordingFailed).Exec(ctx)
		if err != nil {
			return fmt.Errorf("retry %s: %w", recordingID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("retry %s: it has not failed", recordingID))
		}
		steps, err := r.queue.Of(ctx, tx, recordingID, "")
		if err != nil {
			return err
		}
		if _, err := os.Stat(r.workDir(recordingID)); err == nil && len(steps) > 0 {
			return r.queue.Again(ctx, tx, recordingID)
		}
		first, payload := stepPlan, json.RawMessage("{}")
		for _, s := range steps {
			if s.Kind == stepEdit {
				first, payload = stepEdit, s.Payload.V
			}
		}
		if _, err := tx.NewDelete().Model((*db.RecordingJobRow)(nil)).Where("recording_id = ?", recordingID).Exec(ctx); err != nil {
			return fmt.Errorf("forget steps of %s: %w", recordingID, err)
		}
		return r.queue.Add(ctx, tx, recordingID, first, 0, payload)
	})
	r.poke()
	return err
}
