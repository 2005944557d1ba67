package actions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// The events of which TestPeopleHaveTheLastWord tries every series. What the
// policy asks for is carried out at the next "run", and at the end.
var wordEvents = []string{"policy flags", "policy bans", "run", "mo marks reviewed", "mo unbans", "mo bans"}

// wordModel says in a few lines how a series must end.
type wordModel struct {
	waiting       []string
	item, cleared bool
	bannedBy      string
	withheld      int
}

func (m *wordModel) step(ev string) {
	switch ev {
	case "policy flags", "policy bans":
		m.waiting = append(m.waiting, ev)
	case "run":
		for _, ev := range m.waiting {
			switch {
			case ev == "policy flags":
				m.item = true
			case m.bannedBy == "mo":
				m.withheld++
			case m.cleared:
				m.withheld++
				m.item = true
			default:
				m.bannedBy = "system"
			}
		}
		m.waiting = nil
	case "mo marks reviewed":
		m.cleared = m.cleared || m.item
		m.item = false
	case "mo unbans":
		bans := 0
		var rest []string
		for _, ev := range m.waiting {
			if ev == "policy bans" {
				bans++
			} else {
				rest = append(rest, ev)
			}
		}
		m.waiting, m.withheld = rest, m.withheld+bans
		m.cleared = m.cleared || bans > 0 || m.bannedBy != ""
		m.bannedBy = ""
	case "mo bans":
		m.bannedBy = "mo"
	}
}

// wordRig plays one series on one participant.
type wordRig struct {
	*world
	exec    *Executor
	desk    *Desk
	clock   *testkit.Clock
	user    string
	cid     string
	session string
	waiting []event.ActionRequested
	// cleared is when mo last decided in the participant's favour.
	cleared time.Time
}

func (r *wordRig) ask(kind event.ActionKind) {
	req := banOf(r.user)
	req.Kind, req.CID, req.SessionID, req.CapturedAt = kind, r.cid, r.session, r.clock.Now()
	row, err := Row(req, r.clock.Now())
	r.ok(err)
	_, err = r.db.NewInsert().Model(&row).Exec(context.Background())
	r.ok(err)
	r.waiting = append(r.waiting, req)
}

func (r *wordRig) run() {
	for _, req := range r.waiting {
		r.ok(r.exec.Execute(context.Background(), req))
	}
	r.waiting = nil
}

func (r *wordRig) items(status string) (ids []string) {
	r.ok(r.db.NewSelect().Model((*db.ReviewItemRow)(nil)).Column("id").Where("entity_creator_id = ?", r.user).
		Where("status = ?", status).Scan(context.Background(), &ids))
	return ids
}

func (r *wordRig) step(ev string) {
	ctx := context.Background()
	r.clock.Advance(time.Second)
	switch ev {
	case "policy flags":
		r.ask(event.ActionFlag)
	case "policy bans":
		r.ask(event.ActionBan)
	case "run":
		r.run()
	case "mo marks reviewed":
		for _, id := range r.items(event.ReviewPending) {
			_, err := r.desk.Decide(ctx, Decision{ItemID: id, Type: DecideMarkReviewed, ByUserID: "mo"}, nil, nil)
			r.ok(err)
			r.cleared = r.clock.Now()
		}
	case "mo unbans":
		n, err := r.desk.Unban(ctx, UnbanRequest{UserID: r.user, ByUserID: "mo"})
		r.ok(err)
		if n > 0 {
			r.cleared = r.clock.Now()
		}
	case "mo bans":
		id, err := r.desk.Ban(ctx, BanRequest{UserID: r.user, ByUserID: "mo", Timeout: time.Hour, Reason: r.clock.Now().String()})
		r.ok(err)
		_, req, err := loadAction(ctx, r.db, id)
		r.ok(err)
		r.ok(r.exec.Execute(ctx, req))
	}
}

// bans are the bans that hold, by who gave them.
func (r *wordRig) bans() (by []string) {
	var rows []db.BanRow
	r.ok(r.db.NewSelect().Model(&rows).Where("user_id = ?", r.user).Where("lifted_at = 0").Order("created_at").Scan(context.Background()))
	for _, b := range rows {
		by = append(by, b.ByUserID)
		if b.ByUserID == "system" && !r.cleared.IsZero() && b.CreatedAt.After(r.cleared) {
			r.Errorf("the policy banned at %v, after mo decided otherwise at %v", b.CreatedAt, r.cleared)
		}
	}
	return by
}

func newWordRig(w *world, clock *testkit.Clock, n int) *wordRig {
	r := &wordRig{
		world: w, clock: clock, exec: executorOf(w, clock), desk: NewDesk(DeskConfig{DB: w.db, Now: clock.Now}),
		user: fmt.Sprint("user", n), cid: fmt.Sprint("default:c", n), session: fmt.Sprint("s", n),
	}
	row := db.SessionRow{ID: r.session, CID: r.cid, StartedAt: db.At(clock.Now())}
	_, err := w.db.NewInsert().Model(&row).Exec(context.Background())
	w.ok(err)
	return r
}

// TestPeopleHaveTheLastWord plays every series of three events, on a
// participant of whom nothing is known, who is flagged, and who is banned by
// the policy, and holds the outcome against the model: automation that comes
// later never undoes what a moderator decided, and what it would have done is
// put to people.
func TestPeopleHaveTheLastWord(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	n := 0
	for _, before := range [][]string{nil, {"policy flags", "run"}, {"policy bans", "run"}} {
		for _, first := range wordEvents {
			for _, second := range wordEvents {
				for _, third := range wordEvents {
					n++
					playSeries(t, newWordRig(w, clock, n), append(slices.Clone(before), first, second, third, "run"))
				}
			}
		}
	}
	if n != 3*216 {
		t.Errorf("played %d series", n)
	}
}

func playSeries(t *testing.T, r *wordRig, series []string) {
	t.Helper()
	m, name := wordModel{}, strings.Join(series, ", ")
	for _, ev := range series {
		r.step(ev)
		m.step(ev)
	}
	by := slices.Compact(r.bans())
	if len(by) > 1 {
		t.Errorf("%s: banned by %v at once", name, by)
	}
	if got := strings.Join(by, " "); got != m.bannedBy {
		t.Errorf("%s: banned by %q, want %q", name, got, m.bannedBy)
	}
	if open := len(r.items(event.ReviewPending)) > 0; open != m.item {
		t.Errorf("%s: open item %v, want %v", name, open, m.item)
	}
	withheld, err := r.db.NewSelect().Model((*db.ActionRow)(nil)).Where("user_id = ?", r.user).
		Where("state = ?", db.ActionStateWithheld).Count(t.Context())
	r.ok(err)
	if int(withheld) != m.withheld {
		t.Errorf("%s: %d bans withheld, want %d", name, withheld, m.withheld)
	}
}

func TestAWithheldBanIsRecommended(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	r := newWordRig(w, clock, 1)
	for _, ev := range []string{"policy flags", "run", "mo marks reviewed", "policy bans", "run"} {
		r.step(ev)
	}
	item, err := w.db.ReviewItem(t.Context(), r.items(event.ReviewPending)[0], clock.Now())
	w.ok(err)
	if item.RecommendedAction != "ban" || item.FlagsCount != 1 || len(r.bans()) != 0 || w.audits("ban.withheld") != 1 {
		t.Errorf("%+v", item)
	}
	// Another session is another matter.
	clock.Advance(time.Minute)
	r.session, r.cleared = "later", time.Time{}
	_, err = w.db.NewInsert().Model(&db.SessionRow{ID: r.session, CID: r.cid, StartedAt: db.At(clock.Now())}).Exec(t.Context())
	w.ok(err)
	for _, ev := range []string{"policy bans", "run"} {
		r.step(ev)
	}
	if by := r.bans(); len(by) != 1 || by[0] != "system" {
		t.Errorf("in a new session: banned by %v", by)
	}
}

func TestTheSameBanTwiceIsOne(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	d := NewDesk(DeskConfig{DB: w.db, Now: clock.Now})
	ask := func(r BanRequest) string {
		t.Helper()
		id, err := d.Ban(t.Context(), r)
		w.ok(err)
		_, req, err := loadAction(t.Context(), w.db, id)
		w.ok(err)
		w.ok(executorOf(w, clock).Execute(t.Context(), req))
		return id
	}
	live := func() int {
		n, err := w.db.NewSelect().Model((*db.BanRow)(nil)).Where("lifted_at = 0").Count(t.Context())
		w.ok(err)
		return int(n)
	}
	ban := BanRequest{UserID: "bob", ByUserID: "mo", Reason: "nudity", Timeout: time.Hour}
	first := ask(ban)
	clock.Advance(time.Second)
	if again := ask(ban); again != first || live() != 1 || len(w.outbox(event.UserBanned)) != 1 {
		t.Errorf("asked twice: %s and %s, %d bans", first, again, live())
	}
	// Another ban takes the place of the one that holds.
	ban.Timeout = 2 * time.Hour
	clock.Advance(time.Second)
	if other := ask(ban); other == first || live() != 1 || len(w.outbox(event.UserBanned)) != 2 {
		t.Errorf("%d bans hold after a longer one", live())
	}
	// After an unban the same ban is a new one.
	_, err := d.Unban(t.Context(), UnbanRequest{UserID: "bob", ByUserID: "mo"})
	w.ok(err)
	clock.Advance(time.Second)
	ask(ban)
	if live() != 1 || len(w.outbox(event.UserBanned)) != 3 {
		t.Errorf("%d bans after ban, unban, ban", live())
	}
	// A minute later it is no repetition either.
	clock.Advance(2 * repeatWithin)
	ask(ban)
	if live() != 1 || len(w.outbox(event.UserBanned)) != 4 {
		t.Errorf("%d bans hold, told %d", live(), len(w.outbox(event.UserBanned)))
	}
}

func TestUnbanWithholdsWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := NewDesk(DeskConfig{DB: w.db})
	id, err := d.Ban(t.Context(), BanRequest{UserID: "bob", ByUserID: "mo"})
	w.ok(err)
	n, err := d.Unban(t.Context(), UnbanRequest{UserID: "bob", ByUserID: "ada"})
	if err != nil || n != 1 || w.action(id).State != db.ActionStateWithheld {
		t.Fatalf("lifted %d, %v", n, err)
	}
	w.ok(executorOf(w, nil).Execute(t.Context(), decoded[event.ActionRequested](t, w.outbox(event.TypeActionRequested)[0])))
	if w.rows((*db.BanRow)(nil)) != 0 || len(w.outbox(event.UserUnbanned)) != 0 {
		t.Error("a ban that was taken back came into force")
	}
}
