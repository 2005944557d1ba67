package retention

import (
	"context"
	"errors"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
)

// deletedCall makes a call that was deleted with what is kept of it: two
// frames, with a verdict each, of which one may be held.
func (r rig) deletedCall(t *testing.T, hold bool) {
	t.Helper()
	now := db.At(r.clock.Now())
	r.frame(t, "f1", false)
	r.frame(t, "f2", hold)
	call := &db.CallRow{CID: "default:a", Type: "default", ID: "a", CreatedAt: now, UpdatedAt: now, DeletedAt: now}
	for _, row := range []any{
		call, &db.VerdictRow{ID: "v1", FrameID: "f1", CID: "default:a"}, &db.VerdictRow{ID: "v2", FrameID: "f2", CID: "default:a"},
		&db.GapRow{ID: "g", CID: "default:a"}, &db.MemberRow{CID: "default:a", UserID: "ann"},
		&db.SessionRow{ID: "s", CID: "default:a"}, &db.ParticipantRow{UserSessionID: "u", SessionID: "s", CID: "default:a"},
		&db.CallGrantRow{CID: "default:a", UserID: "ann", Capability: "kick-user"},
		&db.DecisionRow{ID: "d", CID: "default:a"}, &db.GapRow{ID: "other", CID: "default:b"},
		&db.TaskRow{ID: "task", Kind: db.TaskDeleteCall, Object: "default:a", Status: db.TaskWaiting, CreatedAt: now, UpdatedAt: now},
	} {
		if _, err := r.db.NewInsert().Model(row).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (r rig) task(t *testing.T) db.TaskRow {
	t.Helper()
	var row db.TaskRow
	if err := r.db.NewSelect().Model(&row).Where("id = 'task'").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	return row
}

// left counts the rows of the tables.
func (r rig) left(t *testing.T, tables ...string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, table := range tables {
		n, err := r.db.NewSelect().Table(table).Where("cid = 'default:a'").Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out[table] = int(n)
	}
	return out
}

func TestDeletedCallsAreErased(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"sqlite": sqlite, "postgres": func(t *testing.T) string { return testkit.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, url(t))
			r.deletedCall(t, false)
			sweeper := New(r.db, r.store, Config{Now: r.clock.Now, Page: 1})
			if n, err := sweeper.RunTasks(t.Context()); n != 1 || err != nil {
				t.Fatalf("finished %d, %v", n, err)
			}
			for table, n := range r.left(t, "calls", "frames", "verdicts", "gaps", "call_members", "call_grants", "sessions", "participants") {
				if n != 0 {
					t.Errorf("%d rows of %s are left", n, table)
				}
			}
			if n := r.left(t, "decisions")["decisions"]; n != 1 {
				t.Error("the decision is gone")
			}
			for _, id := range []string{"f1", "f2"} {
				if there, err := r.store.Exists(t.Context(), "frames/"+id+".jpg"); there || err != nil {
					t.Errorf("object of %s: %t %v", id, there, err)
				}
			}
			if task := r.task(t); task.Status != db.TaskCompleted || task.Result.V["frames_deleted"] != 2.0 {
				t.Errorf("task %+v", task)
			}
			if n, err := sweeper.RunTasks(t.Context()); n != 0 || err != nil {
				t.Errorf("again: %d, %v", n, err)
			}
		})
	}
}

func TestHeldFramesOutliveTheirCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	r.deletedCall(t, true)
	if n, err := New(r.db, r.store, Config{Now: r.clock.Now}).RunTasks(t.Context()); n != 1 || err != nil {
		t.Fatalf("finished %d, %v", n, err)
	}
	r.want(t, "f2", true, false)
	left := r.left(t, "calls", "frames", "verdicts", "gaps")
	if left["calls"] != 1 || left["frames"] != 1 || left["verdicts"] != 1 || left["gaps"] != 0 {
		t.Errorf("left: %v", left)
	}
	if task := r.task(t); task.Result.V["frames_held"] != 1.0 {
		t.Errorf("task %+v", task)
	}
}

func TestErasingWaitsForTheSessionsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	r.deletedCall(t, false)
	if _, err := r.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = 's'").Where("cid = 'default:a'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	sweeper := New(r.db, r.store, Config{Now: r.clock.Now})
	if n, err := sweeper.RunTasks(t.Context()); n != 0 || err != nil {
		t.Fatalf("while live: finished %d, %v", n, err)
	}
	r.want(t, "f1", true, false)
	r.clock.Advance(sessionGrace)
	if n, err := sweeper.RunTasks(t.Context()); n != 1 || err != nil {
		t.Fatalf("after the grace: finished %d, %v", n, err)
	}
}

// stuck is a store that deletes nothing until it is freed.
type stuck struct {
	Objects
	free bool
}

func (s *stuck) Delete(ctx context.Context, key string) error {
	if !s.free {
		return errors.New("on purpose")
	}
	return s.Objects.Delete(ctx, key)
}

func TestErasingIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	r.deletedCall(t, false)
	store := &stuck{Objects: r.store}
	sweeper := New(r.db, store, Config{Now: r.clock.Now})
	if n, err := sweeper.RunTasks(t.Context()); n != 0 || err == nil {
		t.Fatalf("finished %d, %v", n, err)
	}
	if task := r.task(t); task.Status != db.TaskWaiting || task.Error == "" {
		t.Errorf("task %+v", task)
	}
	if n, err := sweeper.RunTasks(t.Context()); n != 0 || err != nil {
		t.Errorf("at once: %d, %v; want a pause first", n, err)
	}
	store.free = true
	r.clock.Advance(taskRetry)
	if n, err := sweeper.RunTasks(t.Context()); n != 1 || err != nil {
		t.Fatalf("then finished %d, %v", n, err)
	}
	if task := r.task(t); task.Status != db.TaskCompleted || task.Error != "" {
		t.Errorf("task %+v", task)
	}
}

func TestErasingIsGivenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	r.deletedCall(t, false)
	sweeper := New(r.db, &stuck{Objects: r.store}, Config{Now: r.clock.Now})
	for range taskTries {
		_, _ = sweeper.RunTasks(t.Context())
		r.clock.Advance(taskRetry)
	}
	if task := r.task(t); task.Status != db.TaskFailed {
		t.Errorf("task %+v", task)
	}
	if left := r.left(t, "calls", "gaps"); left["calls"] != 1 || left["gaps"] != 1 {
		t.Errorf("a failed task deleted rows: %v", left)
	}
}

func TestTasksLeftBehindAreTakenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t))
	r.deletedCall(t, false)
	if _, err := r.db.NewUpdate().Model((*db.TaskRow)(nil)).Set("status = ?", db.TaskRunning).Where("id = 'task'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	sweeper := New(r.db, r.store, Config{Now: r.clock.Now})
	r.clock.Advance(taskLease - time.Second)
	if n, _ := sweeper.RunTasks(t.Context()); n != 0 {
		t.Error("a running task was taken from its process")
	}
	r.clock.Advance(time.Second)
	if n, err := sweeper.RunTasks(t.Context()); n != 1 || err != nil {
		t.Errorf("finished %d, %v", n, err)
	}
}
