package db

import "github.com/uptrace/bun"

// States of a task.
const (
	TaskWaiting   = "waiting"
	TaskRunning   = "running"
	TaskCompleted = "completed"
	TaskFailed    = "failed"
)

// TaskDeleteCall is the kind of a task that deletes what is kept of the call
// Object, apart from what is under hold.
const TaskDeleteCall = "call.delete"

// TaskRow is a row of tasks. There is at most one open task of a kind and
// object.
type TaskRow struct {
	bun.BaseModel `bun:"table:tasks,alias:tk"`
	ID            string `bun:",pk"`
	Kind          string
	Object        string
	Status        string
	Result        JSON[map[string]any]
	Error         string
	CreatedAt     Time
	UpdatedAt     Time
}
