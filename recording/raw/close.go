package raw

import (
	"errors"
	"fmt"
)

// Close writes and syncs all that was taken. Its error tells what could not be
// written. Closing again waits and returns the same.
func (w *Writer) Close() error {
	streams := w.halt()
	began, err := w.finish(streams)
	w.tellLost(began)
	return err
}

// finish writes what is left. began is why packets were lost, if that is new.
func (w *Writer) finish(streams []*StreamWriter) (began, err error) {
	w.disk.Lock()
	defer w.disk.Unlock()
	if w.shut {
		return nil, w.err
	}
	var errs []error
	for _, s := range streams {
		s.out.end()
		if err := w.flushOutput(&s.out); err != nil {
			errs = append(errs, err)
			for _, c := range s.out.pending {
				s.out.mu.Lock()
				s.out.lost.add(c.packets, c.last)
				s.out.mu.Unlock()
				w.lost.Add(uint64(c.packets))
			}
			s.out.pending = nil
		}
	}
	began = w.account(errors.Join(errs...))
	w.journal.end()
	errs = append(errs, w.flushOutput(&w.journal))
	errs = append(errs, w.closeFiles(true), syncDir(w.dir))
	if err := errors.Join(errs...); err != nil {
		w.err = fmt.Errorf("close recording: %w", err)
	}
	return began, w.err
}

// Discard throws away what was taken and destroys the folder, as Destroy does.
func (w *Writer) Discard() error {
	streams := w.halt()
	for _, s := range streams {
		s.out.end()
	}
	w.journal.end()
	w.disk.Lock()
	defer w.disk.Unlock()
	var err error
	if !w.shut {
		err = w.closeFiles(false)
	}
	return errors.Join(err, Destroy(w.dir))
}

// halt ends the goroutines. It returns the streams that are still open.
func (w *Writer) halt() []*StreamWriter {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.stop)
	}
	w.mu.Unlock()
	w.wg.Wait()
	return w.live()
}

// closeFiles closes all files and forgets the key.
func (w *Writer) closeFiles(sync bool) error {
	w.shut = true
	clear(w.key[:])
	outs := append(w.ended, &w.journal)
	for _, s := range w.live() {
		outs = append(outs, &s.out)
	}
	var errs []error
	for _, o := range outs {
		if o.f == nil {
			continue
		}
		if sync {
			errs = append(errs, o.f.Sync())
		}
		errs = append(errs, o.f.Close())
	}
	w.ended = nil
	return errors.Join(errs...)
}
