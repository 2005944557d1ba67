package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

const (
	// DefaultFailingFor is after how long of failures alone a hook is
	// switched off.
	DefaultFailingFor = 5 * 24 * time.Hour
	// warnAfter is when the owner is told that a hook fails.
	warnAfter = 24 * time.Hour
	// quietWindow is the gap between failures after which they no longer
	// count as one row: longer than the longest pause of the schedule.
	quietWindow = 48 * time.Hour
	// troublePause is how long nothing more is said of a hook that fails.
	troublePause = time.Minute
)

// verdict is what a failure leads to.
type verdict int

const (
	keep verdict = iota
	warn
	switchOff
)

// failed takes one more failure into a hook's health.
func failed(h db.HookHealthRow, now time.Time, failingFor time.Duration) (db.HookHealthRow, verdict) {
	if h.FailingSince.IsZero() || now.Sub(h.FailedAt.Time) > quietWindow {
		h.FailingSince, h.NotifiedAt = db.At(now), db.Time{}
	}
	h.FailedAt = db.At(now)
	switch since := now.Sub(h.FailingSince.Time); {
	case since >= failingFor:
		return h, switchOff
	case since >= warnAfter && h.NotifiedAt.IsZero():
		h.NotifiedAt = db.At(now)
		return h, warn
	}
	return h, keep
}

func failingFor(h Hook) time.Duration {
	if f := h.Settings.FailoverConfig; f != nil && f.FailingFor > 0 {
		return time.Duration(f.FailingFor) * time.Hour
	}
	return DefaultFailingFor
}

// health takes an attempt into what is known of its hook, and does what
// follows: tells the owner, switches the hook off. What is to be done once
// the transaction is through is returned.
func (s *Sender) health(ctx context.Context, tx bun.Tx, hook Hook, res Result) (after []func(), err error) {
	row := db.HookHealthRow{HookID: hook.ID}
	err = tx.NewSelect().Model(&row).Where("hook_id = ?", hook.ID).Scan(ctx)
	if err != nil && !db.IsNotFound(err) {
		return nil, fmt.Errorf("read health of hook %s: %w", hook.ID, err)
	}
	row.HookID = hook.ID
	if !row.DisabledAt.IsZero() {
		return nil, nil // switched off while this attempt was under way
	}
	if res.OK() {
		if row.FailingSince.IsZero() {
			return nil, nil
		}
		n, err := s.revive(ctx, tx, row)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			after = append(after, func() {
				s.log.Warn("events that were given up while the hook failed are tried again", "hook", hook.ID, "events", n)
				s.Reload()
			})
		}
		return after, s.clearHealth(ctx, tx, hook.ID)
	}
	row, then := failed(row, s.cfg.Now(), failingFor(hook))
	row.LastStatus, row.LastError = res.Status, s.told(res)
	reason := fmt.Sprintf("nothing but failures since %s", row.FailingSince.UTC().Format(time.RFC3339))
	if res.Gone {
		then, reason = switchOff, "the receiver is gone for good: "+row.LastError
	}
	switch then {
	case warn:
		if err := s.audit(ctx, tx, "system", "hook.failing", hook.ID, map[string]any{"why": reason}); err != nil {
			return nil, err
		}
		if err := s.tell(ctx, tx, event.HookFailing, hook, row, reason); err != nil {
			return nil, err
		}
		after = append(after, func() {
			s.count.warned.Add(1)
			s.log.Warn("a hook fails", "hook", hook.ID, "since", row.FailingSince.Time, "reason", row.LastError)
			s.Reload()
		})
	case switchOff:
		row.DisabledAt, row.DisabledReason = db.At(s.cfg.Now()), reason
		if err := s.switchOff(ctx, tx, hook, row); err != nil {
			return nil, err
		}
		after = append(after, func() {
			s.count.disabled.Add(1)
			s.log.Error("a hook was switched off", "hook", hook.ID, "reason", reason)
			s.Reload()
		})
	}
	return after, s.keepHealth(ctx, tx, row)
}

// revive makes due what was given up while the hook did nothing but fail, once
// each: an outage as long as the schedule loses nothing, and an event that its
// receiver never takes does not come back for ever.
func (s *Sender) revive(ctx context.Context, tx bun.Tx, row db.HookHealthRow) (int64, error) {
	res, err := tx.NewUpdate().Model((*db.DeliveryRow)(nil)).Set("state = ?", db.DeliveryPending).
		Set("next_at = ?", db.At(s.cfg.Now())).Set("base = attempts").Set("done_at = 0").
		Where("hook_id = ?", row.HookID).Where("state = ?", db.DeliveryDead).Where("base = 0").
		Where("done_at > ?", row.FailingSince).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("revive deliveries of hook %s: %w", row.HookID, err)
	}
	return res.RowsAffected()
}

func (s *Sender) keepHealth(ctx context.Context, tx bun.IDB, row db.HookHealthRow) error {
	q := tx.NewInsert().Model(&row).On("CONFLICT (hook_id) DO UPDATE")
	for _, c := range []string{"failing_since", "failed_at", "notified_at", "last_status", "last_error", "disabled_at", "disabled_reason"} {
		q = q.Set("? = EXCLUDED.?", bun.Ident(c), bun.Ident(c))
	}
	if _, err := q.Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("write health of hook %s: %w", row.HookID, err)
	}
	return nil
}

// forgive forgets the failures of a hook.
func (s *Sender) forgive(ctx context.Context, hookID string) error {
	return s.clearHealth(ctx, s.cfg.DB, hookID)
}

func (s *Sender) clearHealth(ctx context.Context, tx bun.IDB, hookID string) error {
	if _, err := tx.NewDelete().Model((*db.HookHealthRow)(nil)).Where("hook_id = ?", hookID).Exec(ctx); err != nil {
		return fmt.Errorf("clear health of hook %s: %w", hookID, err)
	}
	return nil
}

// switchOff disables the hook. Its deliveries wait for somebody to switch it
// on again.
func (s *Sender) switchOff(ctx context.Context, tx bun.Tx, hook Hook, row db.HookHealthRow) error {
	_, err := tx.NewUpdate().Model((*db.HookRow)(nil)).Set("enabled = 0").Set("updated_at = ?", row.DisabledAt).
		Where("id = ?", hook.ID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("switch hook %s off: %w", hook.ID, err)
	}
	if err := s.audit(ctx, tx, "system", "hook.disabled", hook.ID, map[string]any{"why": row.DisabledReason}); err != nil {
		return err
	}
	return s.tell(ctx, tx, event.HookDisabled, hook, row, row.DisabledReason)
}

// observe notes an attempt for the lane's pace, and says in the log when a
// hook begins to fail and when it is well again. An operator hears of the
// first failure at once: a hook that reaches nobody would otherwise be silent
// until its deliveries are given up.
func (l *lane) observe(hook Hook, res Result, began time.Time) {
	now := l.s.cfg.Now()
	l.mu.Lock()
	l.throttle.note(res, began, now)
	was := !l.health.FailingSince.IsZero()
	say := was == res.OK()
	if !res.OK() {
		if !was {
			l.health.FailingSince = db.At(now)
		}
		if say = say && now.Sub(l.said) >= troublePause; say {
			l.said = now
		}
	} else {
		l.health = db.HookHealthRow{}
	}
	l.mu.Unlock()
	switch {
	case !say || res.Gone: // that a gone hook is switched off is said there
	case res.OK():
		l.s.log.Info("hook delivers again", "hook", hook.ID)
	default:
		l.s.log.Warn("hook fails; its events wait and are tried again", "hook", hook.ID, "reason", l.s.told(res))
	}
}

// observeFrame is observe for a frame. What changes a hook's health is
// written down, the rest now and then.
func (l *lane) observeFrame(ctx context.Context, hook Hook, res Result, began time.Time) {
	now := l.s.cfg.Now()
	l.mu.Lock()
	write := res.OK() != l.health.FailingSince.IsZero() || !res.OK() && now.Sub(l.health.FailedAt.Time) >= troublePause || res.Gone
	if write && !res.OK() {
		l.health.FailedAt = db.At(now)
	}
	l.mu.Unlock()
	l.observe(hook, res, began)
	if !write {
		return
	}
	var after []func()
	err := l.s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		after, err = l.s.health(ctx, tx, hook, res)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			l.s.log.Error("cannot note the health of a hook", "hook", hook.ID, "err", err)
		}
		return
	}
	for _, do := range after {
		do()
	}
}
