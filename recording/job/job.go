// Package job hands out the steps that turn raw packets into stored files: each
// to one worker at a time, by a lease in the database that the worker renews.
//
// A worker that dies loses its lease, and another does the step again. Every
// claim has a higher token than the one before; a result under an older token
// is refused (fencing), so that a step counts once however often it was begun.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Defaults of Config.
const (
	// DefaultLease is how long a step belongs to a worker that shows no life.
	DefaultLease = 20 * time.Second
	// DefaultTries is after how many failures a step is given up.
	DefaultTries = 5
	// firstPause is the pause after a step's first failure; it doubles up to
	// maxPause.
	firstPause = time.Second
	maxPause   = time.Minute
)

// ErrLost tells that the step belongs to somebody else by now: what was done
// under the old lease does not count.
var ErrLost = errors.New("job: the lease is lost")

// Job is a claimed step.
type Job struct {
	db.RecordingJobRow
}

// Read decodes the payload into v.
func (j *Job) Read(v any) error {
	if err := json.Unmarshal(j.Payload.V, v); err != nil {
		return fmt.Errorf("read payload of %s %s: %w", j.Kind, j.ID, err)
	}
	return nil
}

// Config sets a Queue; zero values mean the defaults.
type Config struct {
	// Worker names this process; two processes never share a name.
	Worker string
	// Node is the one whose folder this process reaches: it claims steps of
	// recordings of that node, whose packets lie there. "" claims all.
	Node string
	// Late are the kinds of handed-over steps that others than their node claim
	// only when they have waited for LateBy: it has most of what they need.
	Late   []string
	LateBy time.Duration
	Lease  time.Duration
	Tries  int
	Now    func() time.Time
}

// Queue is the steps of all recordings. It is safe for concurrent use.
type Queue struct {
	db  *db.DB
	cfg Config
}

// New makes a queue over the database.
func New(d *db.DB, cfg Config) *Queue {
	if cfg.Lease <= 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Tries <= 0 {
		cfg.Tries = DefaultTries
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Queue{db: d, cfg: cfg}
}

// Add writes a step in the caller's transaction. Its id follows from the
// recording, the kind and n, so that adding it twice adds it once.
func (q *Queue) Add(ctx context.Context, tx bun.IDB, recordingID, kind string, n int, payload any) error {
	return q.AddAt(ctx, tx, recordingID, kind, n, payload, time.Time{})
}

// AddFirst is Add of a step that goes before all that wait.
func (q *Queue) AddFirst(ctx context.Context, tx bun.IDB, recordingID, kind string, n int, payload any) error {
	return q.add(ctx, tx, recordingID, kind, n, payload, time.Time{}, time.Unix(1, 0))
}

// AddAt is Add of a step that is not to be begun before a moment.
func (q *Queue) AddAt(ctx context.Context, tx bun.IDB, recordingID, kind string, n int, payload any, notBefore time.Time) error {
	return q.add(ctx, tx, recordingID, kind, n, payload, notBefore, q.cfg.Now())
}

func (q *Queue) add(ctx context.Context, tx bun.IDB, recordingID, kind string, n int, payload any, notBefore, created time.Time) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("marshal %s of %s: %w", kind, recordingID, err)
	}
	row := db.RecordingJobRow{
		ID: event.DeriveID("recording job", recordingID, kind, fmt.Sprint(n)), RecordingID: recordingID, Kind: kind, N: n,
		State: db.JobWaiting, Payload: db.JSON[json.RawMessage]{V: raw}, Result: db.JSON[json.RawMessage]{V: json.RawMessage("{}")},
		NotBefore: db.Time{Time: notBefore}, CreatedAt: db.At(created), UpdatedAt: db.At(q.cfg.Now()),
	}
	if _, err := tx.NewInsert().Model(&row).On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("add %s %d of %s: %w", kind, n, recordingID, err)
	}
	return nil
}

// Claim takes the step that waits the longest, of recordings in the order in
// which they came and in each by kind's order of adding; nil if there is none.
// A step whose worker let the lease run out counts as waiting. Steps whose
// packets this process does not reach are somebody else's.
func (q *Queue) Claim(ctx context.Context) (*Job, error) { return q.claim(ctx, false) }

// ClaimAny is Claim also of steps of other nodes, whose session was handed over.
func (q *Queue) ClaimAny(ctx context.Context) (*Job, error) { return q.claim(ctx, true) }

func (q *Queue) claim(ctx context.Context, others bool) (*Job, error) {
	for {
		now := q.cfg.Now()
		var row db.RecordingJobRow
		sel := q.db.NewSelect().Model(&row).
			Where("(state = ? AND not_before <= ?) OR (state = ? AND lease_until <= ?)", db.JobWaiting, db.At(now), db.JobRunning, db.At(now))
		const elsewhere = "NOT EXISTS (SELECT 1 FROM recordings r WHERE r.id = ?TableAlias.recording_id AND r.node NOT IN ('', ?)"
		switch {
		case q.cfg.Node == "":
		case others:
			sel = sel.Where(elsewhere+" AND NOT (EXISTS (SELECT 1 FROM recording_handovers h WHERE h.session_id = r.session_id AND h.state = ?)"+
				" AND (?TableAlias.kind NOT IN (?) OR ?TableAlias.created_at <= ?)))",
				q.cfg.Node, db.HandoverReady, bun.List(append([]string{""}, q.cfg.Late...)), db.At(now.Add(-q.cfg.LateBy)))
		default:
			sel = sel.Where(elsewhere+")", q.cfg.Node)
		}
		err := sel.Order("created_at", "kind", "n").Limit(1).Scan(ctx)
		if db.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for a job: %w", err)
		}
		token := row.Token
		if row.State == db.JobRunning { // its worker died: that is a failed attempt
			row.Attempts++
		}
		row.State, row.Worker, row.Token = db.JobRunning, q.cfg.Worker, token+1
		row.LeaseUntil, row.UpdatedAt = db.At(now.Add(q.cfg.Lease)), db.At(now)
		ok, err := q.write(ctx, q.db, row, token)
		if err != nil {
			return nil, fmt.Errorf("claim %s: %w", row.ID, err)
		}
		if ok {
			return &Job{row}, nil
		}
	}
}

// write stores a row's state if its token is still the given one.
func (q *Queue) write(ctx context.Context, tx bun.IDB, row db.RecordingJobRow, token int64) (bool, error) {
	res, err := tx.NewUpdate().Model(&row).
		Column("state", "worker", "token", "attempts", "error", "lease_until", "not_before", "result", "updated_at").
		WherePK().Where("token = ?", token).Where("state IN (?, ?)", db.JobWaiting, db.JobRunning).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// Extend renews the lease, or returns ErrLost.
func (q *Queue) Extend(ctx context.Context, j *Job) error {
	now := q.cfg.Now()
	row := j.RecordingJobRow
	row.LeaseUntil, row.UpdatedAt = db.At(now.Add(q.cfg.Lease)), db.At(now)
	return q.commit(ctx, q.db, row, "extend")
}

// Done stores a step's result and whatever else belongs to it, in one
// transaction, if the lease still holds; else nothing, and ErrLost.
func (q *Queue) Done(ctx context.Context, j *Job, result any, with func(ctx context.Context, tx bun.Tx) error) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("marshal result of %s: %w", j.ID, err)
	}
	return q.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := j.RecordingJobRow
		row.State, row.Error, row.UpdatedAt = db.JobDone, "", db.At(q.cfg.Now())
		row.Result = db.JSON[json.RawMessage]{V: raw}
		if err := q.commit(ctx, tx, row, "finish"); err != nil {
			return err
		}
		if with == nil {
			return nil
		}
		return with(ctx, tx)
	})
}

// Fail notes a failure: the step is tried again after a pause, or given up
// after so many tries; then last runs in the same transaction.
func (q *Queue) Fail(ctx context.Context, j *Job, cause error, last func(ctx context.Context, tx bun.Tx) error) (givenUp bool, err error) {
	err = q.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := j.RecordingJobRow
		row.Attempts++
		row.Error = clip(cause.Error())
		pause := min(firstPause<<min(row.Attempts-1, 10), maxPause)
		row.State, row.UpdatedAt = db.JobWaiting, db.At(q.cfg.Now())
		row.NotBefore = db.At(q.cfg.Now().Add(pause))
		if givenUp = row.Attempts >= q.cfg.Tries || errors.Is(cause, ErrHopeless); givenUp {
			row.State = db.JobFailed
		}
		if err := q.commit(ctx, tx, row, "fail"); err != nil {
			return err
		}
		if givenUp && last != nil {
			return last(ctx, tx)
		}
		return nil
	})
	return givenUp, err
}

// ErrHopeless marks a failure that trying again cannot mend.
var ErrHopeless = errors.New("job: trying again does not help")

// Postpone puts a step back without counting a failure: what it needs is away.
func (q *Queue) Postpone(ctx context.Context, j *Job, why error, pause time.Duration) error {
	row := j.RecordingJobRow
	row.State, row.Error = db.JobWaiting, clip(why.Error())
	row.NotBefore, row.UpdatedAt = db.At(q.cfg.Now().Add(pause)), db.At(q.cfg.Now())
	return q.commit(ctx, q.db, row, "postpone")
}

func (q *Queue) commit(ctx context.Context, tx bun.IDB, row db.RecordingJobRow, verb string) error {
	ok, err := q.write(ctx, tx, row, row.Token)
	if err != nil {
		return fmt.Errorf("%s %s %s: %w", verb, row.Kind, row.ID, err)
	}
	if !ok {
		return fmt.Errorf("%s %s %s: %w", verb, row.Kind, row.ID, ErrLost)
	}
	return nil
}

// Release gives back at once what a worker of the name left unfinished, as
// when it starts again after it was killed.
func (q *Queue) Release(ctx context.Context, worker string) error {
	_, err := q.db.NewUpdate().Model((*db.RecordingJobRow)(nil)).Set("lease_until = 0").
		Where("state = ?", db.JobRunning).Where("worker = ?", worker).Exec(ctx)
	if err != nil {
		return fmt.Errorf("release jobs of %s: %w", worker, err)
	}
	return nil
}

// Again gives the steps of a recording that were given up as many tries as
// they had at first. Whoever still does one of them has lost it.
func (q *Queue) Again(ctx context.Context, tx bun.IDB, recordingID string) error {
	now := db.At(q.cfg.Now())
	_, err := tx.NewUpdate().Model((*db.RecordingJobRow)(nil)).Set("state = ?", db.JobWaiting).Set("token = token + 1").Set("attempts = 0").
		Set("error = ''").Set("not_before = 0").Set("created_at = ?", now).Set("updated_at = ?", now).
		Where("recording_id = ?", recordingID).Where("state = ?", db.JobFailed).Exec(ctx)
	if err != nil {
		return fmt.Errorf("try steps of %s again: %w", recordingID, err)
	}
	return nil
}

// Of lists the steps of a recording of a kind, in order; "" is all kinds.
func (q *Queue) Of(ctx context.Context, tx bun.IDB, recordingID, kind string) ([]db.RecordingJobRow, error) {
	var rows []db.RecordingJobRow
	sel := tx.NewSelect().Model(&rows).Where("recording_id = ?", recordingID).Order("created_at", "kind", "n")
	if kind != "" {
		sel = sel.Where("kind = ?", kind)
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read jobs of %s: %w", recordingID, err)
	}
	return rows, nil
}

// maxError bounds what is kept of an error's text, in bytes.
const maxError = 2000

func clip(s string) string {
	if len(s) > maxError {
		return s[:maxError] + "…"
	}
	return s
}
