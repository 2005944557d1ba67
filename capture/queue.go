package capture

import (
	"slices"
	"sync"
	"time"
)

// job is a frame on its way from keyframe to event.
type job struct {
	t   *sampled
	rec *recording
	// lack is how much of the track was shed lately, in twentieths.
	lack int
	rid  string
	slotJob
}

// lackMemory is over about how many frames of a track shedding is remembered.
const lackMemory = 8

// queue holds frames that wait for a worker. One track has at most one in it,
// the newest. Workers take first the track that was shed most lately, and among
// equals, which all are without overload, the freshest frame: a backlog never
// delays a fresh frame, and no track is left out for long. When it is full,
// the track that was shed least loses its frame, and among equals the oldest
// frame goes.
type queue struct {
	size    int
	maxWait time.Duration

	mu     sync.Mutex
	cond   *sync.Cond
	jobs   []*job
	closed bool
}

func newQueue(size int, maxWait time.Duration) *queue {
	q := &queue{size: size, maxWait: maxWait}
	q.cond = sync.NewCond(&q.mu)
	return q
}

// push adds a job and returns those that had to go for it, or the job itself
// when the queue is closed.
func (q *queue) push(j *job) (shed []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return []*job{j}
	}
	if i := slices.IndexFunc(q.jobs, func(o *job) bool { return o.t == j.t }); i >= 0 {
		shed = append(shed, q.jobs[i])
		q.jobs[i] = j
	} else {
		q.jobs = append(q.jobs, j)
	}
	if len(q.jobs) > q.size {
		shed = append(shed, q.cut(func(a, b *job) bool {
			if a.lack != b.lack {
				return a.lack < b.lack
			}
			return a.kf.LastAt.Before(b.kf.LastAt)
		}))
	}
	q.cond.Signal()
	return shed
}

// pop waits for a job. It returns jobs that have waited too long as well, and
// no job once the queue is closed and empty.
func (q *queue) pop(now func() time.Time) (j *job, shed []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		j, tooOld := q.takeLocked(now())
		shed = append(shed, tooOld...)
		if j != nil || len(shed) > 0 || q.closed {
			return j, shed
		}
		q.cond.Wait()
	}
}

func (q *queue) takeLocked(now time.Time) (j *job, shed []*job) {
	q.jobs = slices.DeleteFunc(q.jobs, func(o *job) bool {
		if now.Sub(o.kf.LastAt) > q.maxWait {
			shed = append(shed, o)
			return true
		}
		return false
	})
	if len(q.jobs) == 0 {
		return nil, shed
	}
	return q.cut(func(a, b *job) bool {
		if a.lack != b.lack {
			return a.lack > b.lack
		}
		return a.kf.LastAt.After(b.kf.LastAt)
	}), shed
}

// cut removes and returns the first job in an order.
func (q *queue) cut(before func(a, b *job) bool) *job {
	best := 0
	for i := range q.jobs {
		if before(q.jobs[i], q.jobs[best]) {
			best = i
		}
	}
	j := q.jobs[best]
	q.jobs = slices.Delete(q.jobs, best, best+1)
	return j
}

// done tells that the queue is closed and empty.
func (q *queue) done() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed && len(q.jobs) == 0
}

// close takes no more jobs; what waits is still given out.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.cond.Broadcast()
}

// empty removes and returns all jobs.
func (q *queue) empty() []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	jobs := q.jobs
	q.jobs = nil
	return jobs
}
