package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/mjr"
	"stillwatch/recording/raw"
)

// VerbImport is that of the audit.
const VerbImport = "recording.import"

// importAge is how old an unfinished import has to be to be swept away.
const importAge = 24 * time.Hour

// ImportOrder is an order to make recordings of files that Janus wrote, or of a
// stream that was received.
type ImportOrder struct {
	// Paths are .mjr files, WAV files of mixers, and folders of them; or the one
	// folder in which a stream.Receiver put a recording.
	Paths []string
	// Event tells who sent them and when; nil: their names and heads do.
	Event *mjr.ConferenceEvent
	// CallType and CallID name the call; "" is "default", and the event's
	// conference or the files' room.
	CallType, CallID string
	// Types are the recording types to make, one or more.
	Types []string
	// Again imports files that were imported before as another session.
	Again bool
	// By is who orders it, for the audit.
	By string
}

// Imported tells what became of an ImportOrder.
type Imported struct {
	*mjr.Result
	Recordings []ImportedRecording `json:"recordings"`
}

// ImportedRecording is a recording whose files are being made.
type ImportedRecording struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// ErrImported tells that the files were imported before.
var ErrImported = errors.New("these files were imported before")

// Import brings files of Janus, or a received stream, here and orders the steps that make recordings
// of them, by the plan of the call or of its type. Whoever does steps makes
// them: this process, a server or a worker with the same data folder.
//
// It wraps ErrImported, *recording.FieldError and the errors of package mjr.
// Retention counts from the import on, not from when the call was.
func (r *Recorder) Import(ctx context.Context, o ImportOrder) (*Imported, error) {
	if err := checkTypes(o.Types); err != nil {
		return nil, err
	}
	into := filepath.Join(r.cfg.Dir, "import")
	if err := os.MkdirAll(into, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of imports: %w", err)
	}
	// Not where the packets of sessions lie: what has no rows is destroyed there.
	parent, err := os.MkdirTemp(into, "")
	if err != nil {
		return nil, fmt.Errorf("make folder of import: %w", err)
	}
	var call db.CallRow
	var plan recording.Plan
	opt := mjr.Options{CallType: o.CallType, CallID: o.CallID, Log: r.log, Place: func(s raw.SessionInfo) (string, raw.Key, error) {
		key, dir := raw.NewKey(), filepath.Join(parent, s.SessionID)
		if err := r.unknown(ctx, s); err != nil {
			return "", key, err
		}
		var err error
		if call, plan, err = r.callFor(ctx, s); err != nil {
			return "", key, err
		}
		return dir, key, raw.SaveKey(dir, key, r.cfg.Seal)
	}}
	if o.Again {
		opt.SessionID = event.NewID()
	}
	res, err := bring(ctx, o, opt)
	if err != nil {
		return nil, errors.Join(err, dropImport(parent))
	}
	out := &Imported{Result: res.Result}
	plan.PreRoll = 0 // what came is what was recorded
	if err := r.adopt(ctx, o, call, plan, res.start, out); err != nil {
		return nil, errors.Join(err, dropImport(parent))
	}
	// The first step waits long enough for this.
	to := r.rawDir(res.Session.SessionID)
	if err := os.Rename(res.Dir, to); err != nil {
		return nil, errors.Join(fmt.Errorf("put packets in place: %w", err), dropImport(parent))
	}
	res.Dir = to
	r.poke()
	return out, os.Remove(parent)
}

func checkTypes(types []string) error {
	known := []string{recording.TypeComposite, recording.TypeIndividual, recording.TypeRaw}
	for i, t := range types {
		if !slices.Contains(known, t) || slices.Contains(types[:i], t) {
			return &recording.FieldError{Field: "types", Want: "must be different ones of " + strings.Join(known, ", ")}
		}
	}
	if len(types) == 0 {
		return &recording.FieldError{Field: "types", Want: "must name a recording type"}
	}
	return nil
}

// unknown refuses a session that is here already.
func (r *Recorder) unknown(ctx context.Context, s raw.SessionInfo) error {
	var ids []string
	err := r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).Column("id").Where("session_id = ?", s.SessionID).Order("id").Limit(10).Scan(ctx, &ids)
	if err != nil {
		return fmt.Errorf("look for earlier imports: %w", err)
	}
	if _, err := os.Lstat(r.rawDir(s.SessionID)); len(ids) > 0 || !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: recordings %s", ErrImported, strings.Join(ids, ", "))
	}
	return nil
}

// callFor finds the call that a session is of, or says what it will be, and
// how it is recorded.
func (r *Recorder) callFor(ctx context.Context, s raw.SessionInfo) (call db.CallRow, plan recording.Plan, err error) {
	err = r.cfg.DB.NewSelect().Model(&call).Where("cid = ?", s.CID).Scan(ctx)
	if db.IsNotFound(err) {
		var typ db.CallTypeRow
		err = r.cfg.DB.NewSelect().Model(&typ).Where("name = ?", s.CallType).Scan(ctx)
		if db.IsNotFound(err) {
			return call, plan, &recording.FieldError{Field: "call", Want: fmt.Sprintf("must be of a call type that exists: there is no %q", s.CallType)}
		}
		call = db.CallRow{CID: s.CID, Type: s.CallType, ID: s.CallID, Settings: typ.Settings}
		call.Custom.V, call.BlockedUserIDs.V = map[string]any{}, []string{}
	}
	if err != nil {
		return call, plan, fmt.Errorf("read call %s: %w", s.CID, err)
	}
	if d := call.RecordingDecision.V; d.Denied {
		return call, plan, &recording.FieldError{Field: "call", Want: fmt.Sprintf("must be one that may be recorded: the permissions of the %s keep %s from it", d.Source, s.CID)}
	}
	if !call.DeletedAt.IsZero() {
		return call, plan, &recording.FieldError{Field: "call", Want: s.CID + " was deleted; choose another id"}
	}
	plan, err = r.cfg.Plan(call.Settings.V, call.RecordingDecision.V)
	return call, plan, err
}

// adopt writes the rows of an import: the call if it is new, the session, who
// was there, and the recordings, which begin at start, with their first step.
func (r *Recorder) adopt(ctx context.Context, o ImportOrder, call db.CallRow, plan recording.Plan, start time.Time, out *Imported) error {
	s, now := out.Session, r.cfg.Now()
	end := s.StartedAt.Add(out.Length)
	return r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		out.Recordings = nil
		if err := r.unknown(ctx, s); err != nil {
			return err
		}
		rows := []any{&db.SessionRow{ID: s.SessionID, CID: s.CID, Node: r.cfg.Node, StartedAt: db.At(s.StartedAt), EndedAt: db.At(end)}}
		if call.CreatedAt.IsZero() {
			call.CreatedAt, call.UpdatedAt = db.At(now), db.At(now)
			rows = append(rows, &call)
		}
		for _, p := range out.People {
			if p.Role == raw.RoleMixer {
				continue
			}
			user := &db.UserRow{ID: p.UserID, Role: "user", CreatedAt: db.At(now), UpdatedAt: db.At(now)}
			user.Teams.V, user.BlockedUserIDs.V, user.Custom.V = []string{}, []string{}, map[string]any{}
			rows = append(rows, user, &db.ParticipantRow{
				UserSessionID: event.DeriveID("imported participant", s.SessionID, p.UserID), SessionID: s.SessionID, CID: s.CID, UserID: p.UserID,
				Role: "user", JoinedAt: db.At(s.StartedAt.Add(p.Join)), LeftAt: db.At(s.StartedAt.Add(p.Leave)), LeaveReason: "imported",
			})
		}
		for _, row := range rows {
			if _, err := tx.NewInsert().Model(row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
				return fmt.Errorf("write what is known of %s: %w", s.CID, err)
			}
		}
		for _, typ := range o.Types {
			// Not the id of a run that begins by itself: that one waits for a second
			// participant.
			run, err := newRun(event.DeriveID("imported recording", s.SessionID, typ), s.CID, s.SessionID, r.cfg.Node, typ, db.LaneBusiness, plan, start)
			if err != nil {
				return err
			}
			run.State, run.StoppedAt, run.CreatedAt, run.UpdatedAt, run.RequestedBy = db.RecordingProcessing, db.At(end), db.At(now), db.At(now), o.By
			if _, err := tx.NewInsert().Model(&run).Returning("NULL").Exec(ctx); err != nil {
				return fmt.Errorf("write recording %s: %w", run.ID, err)
			}
			if err := r.queue.AddAt(ctx, tx, run.ID, stepPlan, 0, struct{}{}, now.Add(settle)); err != nil {
				return err
			}
			if err := r.audit(ctx, tx, o.By, VerbImport, run.ID, map[string]any{"files": len(out.Tracks), "left_out": len(out.Problems)}); err != nil {
				return err
			}
			out.Recordings = append(out.Recordings, ImportedRecording{run.ID, typ})
		}
		return nil
	})
}

// dropImport destroys what an import that failed has written. Somebody else may
// do so as well.
func dropImport(parent string) error {
	dirs, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("drop import: %w", err)
	}
	var errs []error
	for _, d := range dirs {
		errs = append(errs, raw.Destroy(filepath.Join(parent, d.Name())))
	}
	if err := os.Remove(parent); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweepImports drops what a killed import has left.
func (r *Recorder) sweepImports() error {
	parents, err := os.ReadDir(filepath.Join(r.cfg.Dir, "import"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for imports: %w", err)
	}
	var errs []error
	for _, p := range parents {
		if info, err := p.Info(); err == nil && r.cfg.Now().Sub(info.ModTime()) >= importAge {
			errs = append(errs, dropImport(filepath.Join(r.cfg.Dir, "import", p.Name())))
		}
	}
	return errors.Join(errs...)
}
