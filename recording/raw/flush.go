package raw

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// flushLoop writes what was taken.
func (w *Writer) flushLoop() {
	tick := time.NewTicker(w.opt.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		case <-w.wake:
		}
		w.flush()
	}
}

// flush writes all that waits, and says so when packets begin to be lost.
func (w *Writer) flush() {
	w.disk.Lock()
	var failed error
	for _, s := range w.live() {
		if err := w.flushOutput(&s.out); err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		if s.out.finished {
			w.retire(s)
		}
	}
	began := w.account(failed)
	if err := w.flushOutput(&w.journal); err != nil {
		failed = cmp.Or(failed, err)
	}
	if failed != nil {
		w.failed(failed)
	} else {
		w.failing = false
	}
	w.disk.Unlock()
	w.tellLost(began)
}

func (w *Writer) tellLost(err error) {
	if err != nil && w.opt.OnLost != nil {
		w.opt.OnLost(err)
	}
}

// failed logs the first error of a burst.
func (w *Writer) failed(err error) {
	if !w.failing {
		w.failing = true
		w.log.Warn("recording is not written; it is tried again", "err", err)
	}
}

// flushOutput writes what waits for one file.
func (w *Writer) flushOutput(o *output) error {
	var ended bool
	o.pending, ended = o.take(o.pending)
	for len(o.pending) > 0 {
		if err := w.write(o, &o.pending[0], 0); err != nil {
			return err
		}
		if o.info != nil {
			w.packets.Add(uint64(o.pending[0].packets))
		}
		o.written(o.pending[0])
		o.pending = slices.Delete(o.pending, 0, 1)
	}
	if !ended || o.finished {
		return nil
	}
	o.finished = true
	if o.f == nil && o.info != nil {
		return nil // no packet came: the journal tells of the stream
	}
	last := chunk{b: make([]byte, pieceHead, pieceHead+tagBytes), first: toLast(o), last: toLast(o)}
	if err := w.write(o, &last, flagFinal); err != nil {
		o.finished = false
		return err
	}
	return nil
}

// toLast is when the last packet came.
func toLast(o *output) uint32 {
	if n := len(o.marks); n > 0 {
		return o.marks[n-1].last
	}
	return o.last
}

// write writes one chunk as far as the bound allows.
func (w *Writer) write(o *output, c *chunk, flags uint8) error {
	size := int64(len(c.b) + tagBytes)
	if c.sealed {
		size -= tagBytes
	}
	if limit := w.opt.MaxBytes; limit > 0 {
		if o.info != nil {
			limit -= min(64<<10, limit/16)
		}
		if w.used+size > limit {
			return ErrFull
		}
	}
	if w.opt.fail != nil {
		if err := w.opt.fail(int(size)); err != nil {
			return err
		}
	}
	if o.f == nil {
		if err := o.create(w.key); err != nil {
			return err
		}
		w.addUsed(o.off)
		w.created = true
	}
	o.seal(c, flags)
	if err := o.write(c); err != nil {
		return err
	}
	w.addUsed(size)
	return nil
}

// retire leaves a stream's file to the sync.
func (w *Writer) retire(s *StreamWriter) {
	w.mu.Lock()
	w.streams = slices.DeleteFunc(w.streams, func(other *StreamWriter) bool { return other == s })
	w.mu.Unlock()
	if s.out.f != nil {
		w.ended = append(w.ended, &s.out)
	}
	if l := s.out.losses(true); l.packets > 0 {
		w.noteLost(s, l, cmp.Or(w.burst, error(ErrSlow)))
	}
}

// account notes what was lost. It returns the cause if that is new.
func (w *Writer) account(cause error) (began error) {
	still := false
	for _, s := range w.live() {
		l := s.out.losses(false)
		if l.packets == 0 {
			continue
		}
		if w.burst == nil {
			began = cmp.Or(cause, error(ErrSlow))
			w.burst = began
			_ = w.Note(Entry{Kind: Lost, At: fromMS(l.from), Detail: began.Error()}) // a full journal cannot say it
		}
		if len(s.out.pending) > 0 {
			still = true
			continue
		}
		w.noteLost(s, s.out.losses(true), w.burst)
	}
	if !still {
		w.burst = nil
	}
	return began
}

func (w *Writer) noteLost(s *StreamWriter, l lost, cause error) {
	w.log.Error("packets were lost", "track", s.info.TrackID, "packets", l.packets, "err", cause)
	_ = w.Note(Entry{
		Kind: Lost, At: fromMS(l.from), UserID: s.info.UserID, UserSessionID: s.info.UserSessionID, TrackID: s.info.TrackID,
		Stream: &s.info, Detail: fmt.Sprintf("%d packets in %s: %v", l.packets, fromMS(l.to-l.from), cause),
	})
}

// syncLoop makes the system write to the medium, apart from the flusher,
// since that may take long.
func (w *Writer) syncLoop() {
	tick := time.NewTicker(w.opt.SyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			w.sync()
		}
	}
}

func (w *Writer) sync() {
	w.disk.Lock()
	done := w.ended
	w.ended = nil
	created := w.created
	w.created = false
	outs := append(slices.Clone(done), &w.journal)
	for _, s := range w.live() {
		if s.out.f != nil {
			outs = append(outs, &s.out)
		}
	}
	starts := make([]start, len(outs))
	for i, o := range outs {
		starts[i] = o.start
	}
	w.disk.Unlock()
	var errs []error
	for i, o := range outs {
		if !o.dirty.Swap(false) {
			continue
		}
		if err := syncData(o.f); err != nil {
			errs = append(errs, err)
			starts[i] = start{}
			o.dirty.Store(true)
		}
	}
	if created {
		errs = append(errs, syncDir(w.dir))
	}
	w.disk.Lock()
	defer w.disk.Unlock()
	for i, o := range outs {
		freed, err := o.reclaim(starts[i])
		w.addUsed(-freed)
		errs = append(errs, err)
	}
	for _, o := range done {
		errs = append(errs, o.f.Close())
		w.gone = append(w.gone, old{path: o.path, last: toLast(o), size: o.off - (o.punched - o.body)})
	}
	if err := errors.Join(errs...); err != nil {
		w.failed(fmt.Errorf("sync: %w", err))
	}
}
