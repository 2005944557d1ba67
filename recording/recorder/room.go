package recorder

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sys/unix"

	"stillwatch/internal/db"
	"stillwatch/recording/raw"
)

// roomEvery is how often it is looked whether there is room for packets.
const roomEvery = 5 * time.Second

// gaveUp tells that packets were given up, or not written, for want of room.
type gaveUp struct {
	// before is when packets are there again; zero for a session that has none.
	before time.Time
}

// Error implements error. It may be told to whoever uses the API.
func (g *gaveUp) Error() string {
	const why = "given up while the call was not flagged and there was no room on the machine"
	if g.before.IsZero() {
		return "the packets of the call were " + why
	}
	return "the packets from before " + g.before.UTC().Format(time.RFC3339) + " were " + why
}

// diskFree returns the room that is left on a folder's disk, and the disk's
// size, in bytes.
func diskFree(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// lack says which bound the packets of this node have reached, "" if none. With
// a margin, a bound counts as reached a tenth earlier, so that what begins is
// not given up at once.
func (r *Recorder) lack(margin bool) string {
	most, least := float64(r.cfg.SpoolMaxBytes), float64(r.cfg.MinFree)
	if margin {
		most, least = most*0.9, least*1.1
	}
	if used := r.spooled(); most > 0 && float64(used) >= most {
		return fmt.Sprintf("the packets of all calls take %d MiB; at most %d MiB may", used>>20, r.cfg.SpoolMaxBytes>>20)
	}
	if least <= 0 {
		return ""
	}
	free, total, err := r.cfg.DiskFree(filepath.Join(r.cfg.Dir, "raw"))
	if err != nil {
		r.log.Warn("it is not known how much room there is for packets", "err", err)
		return ""
	}
	if float64(free) < float64(total)*least/100 {
		return fmt.Sprintf("the disk has %d MiB of %d MiB left; %d %% are to stay free", free>>20, total>>20, r.cfg.MinFree)
	}
	return ""
}

// spooled is how many bytes the packets of all sessions of this node take.
func (r *Recorder) spooled() (sum int64) {
	dirs, err := os.ReadDir(filepath.Join(r.cfg.Dir, "raw"))
	if err != nil {
		return 0
	}
	for _, d := range dirs {
		if l := r.session(d.Name()); l != nil {
			sum += l.bytes.Load()
			continue
		}
		sum += folderSize(r.rawDir(d.Name()))
	}
	return sum
}

// folderSize is how many bytes the files of a folder have; one that went
// meanwhile has none.
func folderSize(dir string) (sum int64) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// roomLoop keeps room for packets.
func (r *Recorder) roomLoop(ctx context.Context) {
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.makeRoom(ctx)
		}
	}
}

// makeRoom gives up the oldest packets that nobody asked to keep while a bound
// is reached, and until there is room again lets none begin.
func (r *Recorder) makeRoom(ctx context.Context) {
	tried := map[*live]bool{}
	for ctx.Err() == nil {
		why := r.lack(r.tight.Load())
		if why == "" {
			r.tight.Store(false)
			return
		}
		if !r.tight.Swap(true) {
			r.log.Warn("there is no room for packets of calls that nobody asked to record", "why", why)
		}
		if why = r.lack(false); why == "" {
			return // what begins has to wait, and what is there may stay
		}
		l := r.oldest(tried)
		if l == nil {
			return
		}
		tried[l] = true
		done := make(chan struct{})
		if !l.do(func() { defer close(done); l.giveUp(why) }) {
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			return
		case <-time.After(roomEvery): // its database is away
		}
	}
}

// oldest is the live session whose packets are there for longest, without those
// that were tried.
func (r *Recorder) oldest(tried map[*live]bool) *live {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*live
	for _, l := range r.sessions {
		if !tried[l] && l.opened.Load() != 0 && !l.isOver() {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *live) int { return cmp.Compare(a.opened.Load(), b.opened.Load()) })
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// giveUp destroys the packets of the session, if nobody asked to keep them. The
// call goes on; what is needed later begins with what comes then.
func (l *live) giveUp(why string) {
	if l.writer == nil || len(l.runs) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	needed, err := l.r.needed(ctx, l.info.SessionID)
	if err != nil || needed {
		return
	}
	// A flag that was not heard of yet is one all the same.
	if flags, err := l.r.flagsOf(ctx, l.r.cfg.DB, l.info, l.r.cfg.Now()); err != nil || len(flags) > 0 {
		return
	}
	size := l.writer.Stats().Bytes
	l.untap()
	if err := l.writer.Discard(); err != nil {
		l.r.log.Error("packets that were given up are not all gone", "call", l.info.CID, "session", l.info.SessionID, "err", err)
	}
	l.writer = nil
	l.opened.Store(0)
	l.bytes.Store(0)
	l.r.forget(l.info.SessionID)
	l.dropped(size, why)
}

// dropped notes that packets of the session are not there.
func (l *live) dropped(size int64, why string) {
	l.gap = true
	l.r.count.dropped.Add(1)
	l.r.log.Error("packets of a call are given up for want of room", "call", l.info.CID, "session", l.info.SessionID, "bytes", size, "why", why)
	row := db.RecordingDropRow{
		SessionID: l.info.SessionID, CID: l.info.CID, Node: l.r.cfg.Node, StartedAt: db.At(l.info.StartedAt),
		DroppedAt: db.At(l.r.cfg.Now()), Bytes: size, Reason: why,
	}
	err := l.r.retry(func(ctx context.Context) error {
		_, err := l.r.cfg.DB.NewInsert().Model(&row).On("CONFLICT (session_id) DO UPDATE").Set("dropped_at = EXCLUDED.dropped_at").
			Set("bytes = rd.bytes + EXCLUDED.bytes").Set("reason = EXCLUDED.reason").Returning("NULL").Exec(ctx)
		return err
	})
	if err != nil {
		l.r.log.Error("it is not noted that packets are given up", "call", l.info.CID, "err", err)
	}
}

// spool begins to write packets that nobody asked for yet, if there is room.
func (l *live) spool() {
	if !l.plan.Spools() && !l.plan.PreRolls() || l.writer != nil {
		return
	}
	if l.r.tight.Load() {
		if !l.gap {
			l.dropped(0, "there was no room when the call began")
		}
		return
	}
	l.open()
}

// begun is when the session's packets begin: at its start, or behind a gap.
func (l *live) begun() time.Time {
	if l.from.IsZero() {
		return l.info.StartedAt
	}
	return l.from
}

// drop finds out whether packets of a session were given up.
func (r *Recorder) drop(ctx context.Context, tx bun.IDB, sessionID string) (row db.RecordingDropRow, there bool, err error) {
	err = tx.NewSelect().Model(&row).Where("session_id = ?", sessionID).Scan(ctx)
	if db.IsNotFound(err) {
		return row, false, nil
	}
	if err != nil {
		return row, false, fmt.Errorf("look whether packets of session %s were given up: %w", sessionID, err)
	}
	return row, true, nil
}

// gapIn is what a folder lacks whose session was given up before, nil if
// nothing.
func gapIn(reader *raw.Reader) *gaveUp {
	for _, e := range reader.Entries() {
		if e.Kind == raw.Dropped {
			return &gaveUp{reader.Session().StartedAt.Add(e.At)}
		}
	}
	return nil
}

// forgetDrop forgets that packets of a session were given up, once nobody can
// ask for them any more.
func (r *Recorder) forgetDrop(ctx context.Context, sessionID string) error {
	_, err := r.cfg.DB.NewDelete().Model((*db.RecordingDropRow)(nil)).Where("session_id = ?", sessionID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("forget what session %s lacks: %w", sessionID, err)
	}
	return nil
}
