package bus

import (
	"sync"
	"time"

	"stillwatch/internal/event"
)

// job is an entry on its way through a consumer.
type job struct {
	id      string // of the stream entry
	ev      event.Envelope
	raw     string
	bad     error  // why the entry cannot be decoded
	slot    string // lossy: a newer job of the slot takes its place
	at      time.Time
	tries   int // handled so often in this process
	earlier int // delivered so often to others before
	lastErr error
}

// lanes hands jobs to workers so that of one key only one is at work, in
// order, while other keys go on. A job that must be tried again holds up its
// own key alone.
type lanes struct {
	mu    sync.Mutex
	byKey map[string]*lane
	ready chan *lane
	// held are the ids of all jobs here, queued or at work.
	held map[string]struct{}
	room chan struct{}
}

type lane struct {
	key  string
	jobs []*job
	busy bool // a worker has the first job, or it waits for its next try
}

// newLanes makes lanes for at most limit jobs.
func newLanes(limit int) *lanes {
	return &lanes{
		byKey: map[string]*lane{}, held: map[string]struct{}{},
		ready: make(chan *lane, limit), room: make(chan struct{}, limit),
	}
}

// push queues a job for which room was taken. It returns the job that it
// replaced, if any, whose room is free again.
func (l *lanes) push(j *job) (replaced *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, dup := l.held[j.id]; dup {
		<-l.room
		return nil
	}
	l.held[j.id] = struct{}{}
	ln := l.byKey[j.ev.Key]
	if ln == nil {
		ln = &lane{key: j.ev.Key}
		l.byKey[ln.key] = ln
		ln.jobs = append(ln.jobs, j)
		l.ready <- ln // never blocks: lanes are no more than jobs
		return nil
	}
	if j.slot != "" {
		for i, old := range ln.jobs {
			if old.slot == j.slot && (i > 0 || !ln.busy) {
				ln.jobs[i] = j
				delete(l.held, old.id)
				<-l.room
				return old
			}
		}
	}
	ln.jobs = append(ln.jobs, j)
	return nil
}

// first is the job of a lane taken from ready. Nothing takes its place from
// now on.
func (l *lanes) first(ln *lane) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln.busy = true
	return ln.jobs[0]
}

// finish drops the lane's first job and makes the lane ready for its next.
func (l *lanes) finish(ln *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, ln.jobs[0].id)
	ln.jobs[0] = nil
	ln.jobs = ln.jobs[1:]
	ln.busy = false
	<-l.room
	if len(ln.jobs) == 0 {
		delete(l.byKey, ln.key)
		return
	}
	l.ready <- ln
}

// again makes the lane ready with the same first job.
func (l *lanes) again(ln *lane) { l.ready <- ln }

// ids returns the entries held.
func (l *lanes) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, 0, len(l.held))
	for id := range l.held {
		out = append(out, id)
	}
	return out
}
