package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// frameTries is how often a frame is offered to a receiver.
const frameTries = 3

// framePause is the pause before the next try of a frame; it doubles.
const framePause = 250 * time.Millisecond

// noteTimeout bounds the writing of an attempt's outcome.
const noteTimeout = 5 * time.Second

// hook serves one hook: goroutines that post frames, and one that looks for
// due deliveries and posts them, a bounded number at once.
type hook struct {
	s      *Sender
	frames *queue
	wake   chan struct{}
	gone   chan struct{}
	slots  chan struct{}

	mu      sync.Mutex
	row     db.HookRow
	retired bool
	// flying are the ids of deliveries under way.
	flying map[string]bool
	health health
}

func newHook(s *Sender, row db.HookRow) *hook {
	return &hook{
		s: s, row: row, frames: newQueue(s.cfg.FrameQueue), wake: make(chan struct{}, 1), gone: make(chan struct{}),
		slots: make(chan struct{}, s.cfg.PerHook), flying: map[string]bool{},
	}
}

func (h *hook) settings() db.HookRow {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.row
}

// update takes in the hook's row and looks for due deliveries.
func (h *hook) update(row db.HookRow) {
	h.mu.Lock()
	h.row = row
	h.mu.Unlock()
	h.signal()
}

func (h *hook) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// retire ends run.
func (h *hook) retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.retired {
		h.retired = true
		close(h.gone)
	}
}

func (h *hook) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range h.s.cfg.PerHook {
		wg.Go(func() { h.sendFrames(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.gone:
			cancel()
			return
		case <-h.wake:
			if err := h.sendDue(ctx, &wg); err != nil && ctx.Err() == nil {
				h.s.log.Error("cannot deliver", "hook", h.settings().ID, "err", err)
			}
		}
	}
}

// sendDue starts the deliveries that are due, as many as there are slots. A
// finished one wakes the hook again.
func (h *hook) sendDue(ctx context.Context, wg *sync.WaitGroup) error {
	row, now := h.settings(), h.s.cfg.Now()
	free := cap(h.slots) - len(h.slots)
	if free == 0 {
		return nil
	}
	var due []db.DeliveryRow
	err := h.s.cfg.DB.NewSelect().Model(&due).Where("hook_id = ?", row.ID).Where("state = ?", db.DeliveryPending).
		Where("next_at <= ?", db.At(now)).Order("next_at").Limit(int64(free)).Scan(ctx)
	if err != nil {
		return fmt.Errorf("read due deliveries: %w", err)
	}
	for _, d := range due {
		if !h.take(d.ID) {
			continue
		}
		wg.Go(func() {
			defer func() { h.release(d.ID); h.signal() }()
			if err := h.deliver(ctx, row, d); err != nil && !errors.Is(err, context.Canceled) {
				h.s.log.Error("cannot note a delivery", "hook", row.ID, "delivery", d.ID, "err", err)
			}
		})
	}
	return nil
}

// take claims a slot and the delivery within this process.
func (h *hook) take(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.flying[id] || len(h.slots) == cap(h.slots) {
		return false
	}
	h.slots <- struct{}{} // cannot block: only this goroutine fills them
	h.flying[id] = true
	return true
}

func (h *hook) release(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.flying, id)
	<-h.slots
}

// deliver makes one attempt at a delivery.
func (h *hook) deliver(ctx context.Context, row db.HookRow, d db.DeliveryRow) error {
	d.Attempts++
	if ok, err := h.claim(ctx, row, d); err != nil || !ok {
		return err
	}
	res := h.s.post(ctx, row, d.EventID, d.Attempts, []byte(d.Body))
	// What is known of an attempt is written down even while closing, or an
	// accepted event would go out again.
	note, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if ctx.Err() != nil && res.status == 0 {
		return h.unclaim(note, d)
	}
	return h.settle(note, row, d, res)
}

// unclaim gives up the claim on an attempt that closing broke off, so that
// the next start makes it at once.
func (h *hook) unclaim(ctx context.Context, d db.DeliveryRow) error {
	_, err := h.s.cfg.DB.NewUpdate().Model((*db.DeliveryRow)(nil)).Set("next_at = ?", db.At(h.s.cfg.Now())).
		Where("id = ?", d.ID).Where("state = ?", db.DeliveryPending).Where("attempts = ?", d.Attempts).Exec(ctx)
	if err != nil {
		return fmt.Errorf("give the claim back: %w", err)
	}
	return nil
}

// claim counts the attempt and keeps other processes off while it lasts. A
// crash in the middle leaves the delivery due when the claim runs out.
func (h *hook) claim(ctx context.Context, row db.HookRow, d db.DeliveryRow) (bool, error) {
	until := db.At(h.s.cfg.Now().Add(timeout(row) + claimSlack))
	res, err := h.s.cfg.DB.NewUpdate().Model((*db.DeliveryRow)(nil)).
		Set("attempts = ?", d.Attempts).Set("next_at = ?", until).
		Where("id = ?", d.ID).Where("state = ?", db.DeliveryPending).
		Where("attempts = ?", d.Attempts-1).Where("next_at = ?", d.NextAt).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("claim: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// settle writes down what became of an attempt.
func (h *hook) settle(ctx context.Context, row db.HookRow, d db.DeliveryRow, res result) error {
	now := h.s.cfg.Now()
	q := h.s.cfg.DB.NewUpdate().Model((*db.DeliveryRow)(nil)).Where("id = ?", d.ID).
		Set("last_status = ?", res.status).Set("last_error = ?", res.reason())
	next, again := pause(d.Attempts, h.s.cfg.Jitter(), res.retryAfter)
	dead := !res.ok() && (!again || res.gone())
	switch {
	case res.ok():
		q = q.Set("state = ?", db.DeliveryDone).Set("done_at = ?", db.At(now))
	case dead:
		q = q.Set("state = ?", db.DeliveryDead).Set("done_at = ?", db.At(now))
	default:
		q = q.Set("next_at = ?", db.At(now.Add(next)))
	}
	if _, err := q.Exec(ctx); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	h.tally(row, d, res, dead)
	if res.gone() {
		return h.disable(ctx, row)
	}
	return nil
}

// tally counts an attempt whose outcome is written.
func (h *hook) tally(row db.HookRow, d db.DeliveryRow, res result, dead bool) {
	h.observe(row, res)
	if res.ok() {
		h.s.count.delivered.Add(1)
		return
	}
	h.s.count.failed.Add(1)
	if dead {
		h.s.count.dead.Add(1)
		h.s.log.Error("delivery given up", "hook", row.ID, "event", d.EventID, "type", d.EventType, "attempts", d.Attempts, "reason", res.reason())
	}
}

// disable switches the hook off: its receiver said that it is gone for good.
// Its other deliveries wait for somebody to switch it on again.
func (h *hook) disable(ctx context.Context, row db.HookRow) error {
	now := h.s.cfg.Now()
	err := h.s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*db.HookRow)(nil)).Set("enabled = 0").Set("updated_at = ?", db.At(now)).
			Where("id = ?", row.ID).Exec(ctx)
		if err != nil {
			return err
		}
		audit := db.AuditRow{ID: event.NewID(), At: db.At(now), Actor: "system", Verb: "hook.disabled", Object: "hook:" + row.ID}
		audit.Detail.V = []byte(`{"why":"answered 410 Gone"}`)
		_, err = tx.NewInsert().Model(&audit).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("disable hook %s: %w", row.ID, err)
	}
	h.s.log.Warn("hook disabled: it answered 410 Gone", "hook", row.ID)
	h.s.Reload()
	return nil
}

// sendFrames posts frames one after the other.
func (h *hook) sendFrames(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.frames.ready:
		}
		for ctx.Err() == nil {
			ev, ok := h.frames.pop()
			if !ok {
				break
			}
			h.sendFrame(ctx, ev)
		}
	}
}

// sendFrame tries a frame a few times and then lets it go.
func (h *hook) sendFrame(ctx context.Context, ev event.Envelope) {
	wait := framePause
	for try := 1; ; try++ {
		row := h.settings()
		res := h.s.post(ctx, row, ev.ID, try, ev.Data)
		if ctx.Err() == nil {
			h.observe(row, res)
		}
		switch {
		case res.ok():
			h.s.count.frames.Add(1)
			return
		case res.gone():
			h.s.count.frameDropped.Add(1)
			if err := h.disable(ctx, row); err != nil {
				h.s.log.Error("cannot disable a hook", "err", err)
			}
			return
		}
		h.s.count.frameFailed.Add(1)
		if try == frameTries || ctx.Err() != nil {
			h.s.count.frameDropped.Add(1)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(wait, min(res.retryAfter, 5*time.Second))):
		}
		wait *= 2
	}
}
