package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// reviewSuite is what must hold of reviews on every database.
var reviewSuite = map[string]func(t *testing.T, w *world){
	"a decision moves the item and is told":             testDecide,
	"the same decision twice does it once":              testDecideTwice,
	"an item that another holds is left alone":          testDecideLocked,
	"an escalated item stays open":                      testEscalate,
	"a refused effect leaves nothing":                   testDecideRefused,
	"a custom action is told with its options":          testCustomAction,
	"flags at once all count":                           testFlagsAtOnce,
	"anything can be flagged":                           testFlagOther,
	"the same flag twice is one":                        testFlagTwice,
	"appeals are opened once and closed by decisions":   testAppeals,
	"nobody appeals against nothing":                    testAppealNothing,
	"an item shows its creator's record and its appeal": testItemInFull,
}

func TestReviews(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		for name, test := range reviewSuite {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, newWorld(t))
			})
		}
	})
	t.Run("postgres", func(t *testing.T) {
		server := testkit.Postgres(t)
		admin, err := db.Open(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		n := 0
		for name, test := range reviewSuite {
			n++
			own := fmt.Sprintf("r%d", n)
			if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+own); err != nil {
				t.Fatal(err)
			}
			t.Run(name, func(t *testing.T) {
				d, err := db.Open(t.Context(), strings.Replace(server, "/postgres?", "/"+own+"?", 1))
				if err != nil {
					t.Fatal(err)
				}
				d.SetMaxOpenConns(8)
				defer d.Close()
				test(t, &world{TB: t, db: d})
			})
		}
	})
}

func deskOf(w *world, clock *testkit.Clock) *Desk {
	return NewDesk(DeskConfig{DB: w.db, Signer: signer{}, Now: clock.Now})
}

// flagged puts bob, of the call default:abc, into the queue.
func flagged(w *world, d *Desk) string {
	w.Helper()
	w.call("default:abc")
	id, err := d.Flag(context.Background(), FlagRequest{UserID: "bob", CID: "default:abc", SessionID: "s1", ByUserID: "mo", Reason: "look", Labels: []string{"nudity"}})
	w.ok(err)
	return id
}

// counting is an effect that counts.
func counting(n *int) func(context.Context, bun.Tx, Decision) error {
	return func(context.Context, bun.Tx, Decision) error {
		*n++
		return nil
	}
}

func testDecide(t *testing.T, w *world) {
	clock := testkit.NewClock()
	d := deskOf(w, clock)
	id := flagged(w, d)
	clock.Advance(time.Minute)
	var seen Decision
	out, err := d.Decide(t.Context(), Decision{ItemID: id, Type: DecideBan, ByUserID: "mo", Reason: "nudity", Custom: map[string]any{"timeout": 60}}, nil,
		func(_ context.Context, _ bun.Tx, r Decision) error { seen = r; return nil })
	w.ok(err)
	if seen.TargetUserID != "bob" || seen.CID != "default:abc" {
		t.Errorf("carried out on %+v", seen)
	}
	item := out.Item
	if item.Status != event.ReviewReviewed || item.ReviewedBy != "mo" || !item.ReviewedAt.Equal(clock.Now()) || !item.CompletedAt.Equal(clock.Now()) ||
		item.LatestModeratorAction != "ban" || len(item.Actions) != 1 || item.Actions[0].Reason != "nudity" || out.Again {
		t.Errorf("item %+v", item)
	}
	changed := decoded[event.ReviewItemChange](t, w.outbox(event.ReviewItemUpdated)[0])
	if changed.Action == nil || changed.Action.Type != "ban" || changed.ReviewQueueItem.Status != event.ReviewReviewed || changed.Action.TargetUserID != "bob" {
		t.Errorf("told %+v", changed)
	}
	if f := decoded[event.FlagChange](t, w.outbox(event.FlagUpdated)[0]); f.ReviewQueueItemID != id || f.User.ID != "bob" || f.CreatedBy.ID != "mo" {
		t.Errorf("told %+v", f)
	}
	if w.audits("review.ban") != 1 {
		t.Error("no audit")
	}
	// A later decision on a decided item does not complete it again.
	clock.Advance(time.Minute)
	out, err = d.Decide(t.Context(), Decision{ItemID: id, Type: DecideUnban, ByUserID: "ada"}, nil, nil)
	w.ok(err)
	if out.Item.CompletedAt.Equal(clock.Now()) || out.Item.ReviewedBy != "ada" || len(w.outbox(event.FlagUpdated)) != 1 || len(out.Item.Actions) != 2 {
		t.Errorf("item %+v", out.Item)
	}
	if _, err := d.Decide(t.Context(), Decision{ItemID: "nope", Type: DecideUnban, ByUserID: "ada"}, nil, nil); !db.IsNotFound(err) {
		t.Errorf("an unknown item: %v", err)
	}
}

func testDecideTwice(t *testing.T, w *world) {
	clock := testkit.NewClock()
	d := deskOf(w, clock)
	id := flagged(w, d)
	did, mu, wg := 0, sync.Mutex{}, sync.WaitGroup{}
	for range 4 {
		wg.Go(func() {
			_, err := d.Decide(t.Context(), Decision{ItemID: id, Type: DecideBan, ByUserID: "mo", Reason: "nudity"}, nil,
				func(context.Context, bun.Tx, Decision) error {
					mu.Lock()
					defer mu.Unlock()
					did++
					return nil
				})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if did != 1 || w.rows((*db.ReviewActionRow)(nil)) != 1 || len(w.outbox(event.ReviewItemUpdated)) != 1 {
		t.Fatalf("carried out %d times", did)
	}
	// Another reason, another person, or a minute later are decisions anew.
	for i, r := range []Decision{{Reason: "other", ByUserID: "mo"}, {Reason: "other", ByUserID: "ada"}} {
		r.ItemID, r.Type = id, DecideBan
		clock.Advance(time.Second)
		if out, err := d.Decide(t.Context(), r, nil, counting(&did)); err != nil || out.Again || did != 2+i {
			t.Errorf("%d: %v, carried out %d times", i, err, did)
		}
	}
	clock.Advance(2 * repeatWithin)
	if _, err := d.Decide(t.Context(), Decision{ItemID: id, Type: DecideBan, ByUserID: "ada", Reason: "other"}, nil, counting(&did)); err != nil || did != 4 {
		t.Errorf("later: %v, carried out %d times", err, did)
	}
}

func testDecideLocked(t *testing.T, w *world) {
	clock := testkit.NewClock()
	d := deskOf(w, clock)
	id := flagged(w, d)
	_, err := w.db.NewUpdate().Model((*db.ReviewItemRow)(nil)).Set("assigned_to = 'ada'").
		Set("lock_expires_at = ?", db.At(clock.Now().Add(time.Minute))).Where("id = ?", id).Exec(t.Context())
	w.ok(err)
	did := 0
	_, err = d.Decide(t.Context(), Decision{ItemID: id, Type: DecideMarkReviewed, ByUserID: "mo"}, nil, counting(&did))
	var locked *LockedError
	if !errors.As(err, &locked) || locked.By != "ada" || did != 0 || w.rows((*db.ReviewActionRow)(nil)) != 0 {
		t.Fatalf("%v, carried out %d times", err, did)
	}
	if item, err := w.db.ReviewItem(t.Context(), id, clock.Now()); err != nil || item.AssignedTo == nil || item.AssignedTo.ID != "ada" {
		t.Errorf("assigned to %v, %v", item.AssignedTo, err)
	}
	clock.Advance(2 * time.Minute)
	out, err := d.Decide(t.Context(), Decision{ItemID: id, Type: DecideMarkReviewed, ByUserID: "mo"}, nil, counting(&did))
	if err != nil || did != 1 || out.Item.AssignedTo != nil {
		t.Errorf("after the lock: %v", err)
	}
	if ev := decoded[event.MarkedReviewed](t, w.outbox(event.ModerationMarkReviewed)[0]); ev.Item.ID != id {
		t.Errorf("told %+v", ev)
	}
}

func testEscalate(t *testing.T, w *world) {
	clock := testkit.NewClock()
	d := deskOf(w, clock)
	id := flagged(w, d)
	out, err := d.Decide(t.Context(), Decision{
		ItemID: id, Type: DecideEscalate, ByUserID: "mo", Reason: "not sure", Escalation: &event.Escalation{Reason: "not sure", Notes: "n", Priority: "high"},
	}, nil, nil)
	w.ok(err)
	i := out.Item
	if i.Status != event.ReviewPending || !i.Escalated || i.EscalatedBy != "mo" || i.EscalationMetadata.Priority != "high" || !i.CompletedAt.IsZero() {
		t.Errorf("%+v", i)
	}
	out, err = d.Decide(t.Context(), Decision{ItemID: id, Type: DecideDeEscalate, ByUserID: "ada"}, nil, nil)
	w.ok(err)
	if i := out.Item; i.Escalated || i.EscalatedBy != "" || i.EscalationMetadata != nil || i.Status != event.ReviewPending {
		t.Errorf("%+v", i)
	}
}

func testDecideRefused(t *testing.T, w *world) {
	d := deskOf(w, testkit.NewClock())
	id := flagged(w, d)
	no := errors.New("no")
	_, err := d.Decide(t.Context(), Decision{ItemID: id, Type: DecideBan, ByUserID: "mo"}, func(event.ReviewItem) error { return no }, nil)
	_, err2 := d.Decide(t.Context(), Decision{ItemID: id, Type: DecideBan, ByUserID: "mo"}, nil, func(context.Context, bun.Tx, Decision) error { return no })
	if !errors.Is(err, no) || !errors.Is(err2, no) || w.rows((*db.ReviewActionRow)(nil)) != 0 || len(w.outbox(event.ReviewItemUpdated)) != 0 {
		t.Errorf("%v, %v", err, err2)
	}
}

func testCustomAction(t *testing.T, w *world) {
	d := deskOf(w, testkit.NewClock())
	id := flagged(w, d)
	out, err := d.Decide(t.Context(), Decision{
		ItemID: id, Type: DecideCustom, ByUserID: "mo", CustomID: "notify-guardian", Custom: map[string]any{"urgent": true},
	}, nil, nil)
	w.ok(err)
	ev := decoded[event.CustomAction](t, w.outbox(event.ModerationCustomAction)[0])
	if ev.ActionID != "notify-guardian" || ev.ActionOptions["urgent"] != true || ev.ReviewQueueItem.ID != id || out.Item.Status != event.ReviewPending {
		t.Errorf("%+v", ev)
	}
}

func testFlagsAtOnce(t *testing.T, w *world) {
	d := deskOf(w, testkit.NewClock())
	w.call("default:abc")
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			var err error
			ids[i], err = d.Flag(t.Context(), FlagRequest{UserID: "bob", CID: "default:abc", ByUserID: fmt.Sprint("u", i), Reason: "me too"})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	item, err := w.db.ReviewItem(t.Context(), ids[0], time.Now())
	w.ok(err)
	if n := len(slices.Compact(ids)); n != 1 {
		t.Errorf("%d items", n)
	}
	if item.FlagsCount != 8 || len(item.Flags) != 8 || item.EntityCreator.FlaggedCount != 8 || w.rows((*db.FlagRow)(nil)) != 8 ||
		len(w.outbox(event.ReviewItemNew)) != 1 {
		t.Errorf("%d flags counted, %d shown, %d on record", item.FlagsCount, len(item.Flags), item.EntityCreator.FlaggedCount)
	}
}

func testFlagOther(t *testing.T, w *world) {
	d := deskOf(w, testkit.NewClock())
	user, err := d.Flag(t.Context(), FlagRequest{UserID: "bob", EntityType: event.EntityUser, ByUserID: "mo", Reason: "name"})
	w.ok(err)
	other, err := d.Flag(t.Context(), FlagRequest{
		EntityType: "message", EntityID: "m-1", ByUserID: "mo", Custom: map[string]any{"room": "7"}, Severity: 90,
		Payload: event.ModerationPayload{Texts: []string{"hello"}, Custom: map[string]any{"lang": "en"}},
	})
	w.ok(err)
	if user == other {
		t.Fatal("one item for both")
	}
	item, err := w.db.ReviewItem(t.Context(), other, time.Now())
	w.ok(err)
	if item.EntityType != "message" || item.Severity != 90 || item.ModerationPayload.Texts[0] != "hello" || item.ModerationPayload.Custom["lang"] != "en" ||
		item.Flags[0].Custom["room"] != "7" || item.Call != nil {
		t.Errorf("%+v", item)
	}
	if flags := w.outbox(event.UserFlagged); len(flags) != 1 || decoded[event.UserFlag](t, flags[0]).ReviewQueueItemID != user {
		t.Errorf("user.flagged went out %d times", len(flags))
	}
	if ev := w.outbox(event.ModerationFlagged); len(ev) != 2 || decoded[event.Flagged](t, ev[1]).ObjectID != "m-1" || decoded[event.Flagged](t, ev[0]).ContentType != "user" {
		t.Errorf("moderation.flagged went out %d times", len(ev))
	}
}

func testFlagTwice(t *testing.T, w *world) {
	clock := testkit.NewClock()
	d := deskOf(w, clock)
	id := flagged(w, d)
	again, err := d.Flag(t.Context(), FlagRequest{UserID: "bob", CID: "default:abc", SessionID: "s1", ByUserID: "mo", Reason: "look", Labels: []string{"nudity"}})
	if err != nil || again != id || w.rows((*db.FlagRow)(nil)) != 1 {
		t.Errorf("%s, %v", again, err)
	}
	clock.Advance(2 * repeatWithin)
	_, err = d.Flag(t.Context(), FlagRequest{UserID: "bob", CID: "default:abc", SessionID: "s1", ByUserID: "mo", Reason: "look", Labels: []string{"nudity"}})
	if err != nil || w.rows((*db.FlagRow)(nil)) != 2 {
		t.Errorf("later: %v", err)
	}
}

func testAppeals(t *testing.T, w *world) {
	clock := testkit.NewClock()
	d := deskOf(w, clock)
	id := flagged(w, d)
	ask := AppealRequest{UserID: "bob", EntityType: event.EntityCall, EntityID: "default:abc", Reason: "it was a painting"}
	first, err := d.Appeal(t.Context(), ask)
	w.ok(err)
	if first.Status != event.AppealSubmitted || first.ReviewQueueItemID != id || first.User.ID != "bob" || len(w.outbox(event.AppealCreated)) != 1 {
		t.Errorf("%+v", first)
	}
	if again, err := d.Appeal(t.Context(), ask); err != nil || again.ID != first.ID || len(w.outbox(event.AppealCreated)) != 1 {
		t.Errorf("again: %s, %v", again.ID, err)
	}
	other := ask
	other.Reason = "and another thing"
	var open *OpenAppealError
	if _, err := d.Appeal(t.Context(), other); !errors.As(err, &open) || open.ID != first.ID {
		t.Errorf("a second one: %v", err)
	}
	reject := Decision{AppealID: first.ID, Type: DecideRejectAppeal, ByUserID: "ada", Reason: "it was not"}
	out, err := d.Decide(t.Context(), reject, nil, nil)
	w.ok(err)
	if out.Appeal.Status != event.AppealRejected || out.Appeal.DecisionReason != "it was not" || out.Appeal.ReviewedBy != "ada" ||
		out.Item.Status != event.ReviewPending || len(w.outbox(event.AppealWasRejected)) != 1 {
		t.Errorf("%+v", out)
	}
	if out, err := d.Decide(t.Context(), reject, nil, nil); err != nil || !out.Again {
		t.Errorf("the same again: %v", err)
	}
	var decidedErr *DecidedError
	if _, err := d.Decide(t.Context(), Decision{AppealID: first.ID, Type: DecideUnban, ByUserID: "mo"}, nil, nil); !errors.As(err, &decidedErr) {
		t.Errorf("after the rejection: %v", err)
	}
	second, err := d.Appeal(t.Context(), other)
	w.ok(err)
	out, err = d.Decide(t.Context(), Decision{AppealID: second.ID, Type: DecideMarkReviewed, ByUserID: "mo"}, nil, nil)
	w.ok(err)
	if out.Appeal.Status != event.AppealAccepted || out.Item.Status != event.ReviewReviewed || len(w.outbox(event.AppealWasAccepted)) != 1 {
		t.Errorf("%+v", out)
	}
}

func testAppealNothing(t *testing.T, w *world) {
	d := deskOf(w, testkit.NewClock())
	flagged(w, d)
	var nothing *NothingDoneError
	for _, r := range []AppealRequest{
		{UserID: "eve", EntityType: event.EntityCall, EntityID: "default:abc", Reason: "x"},
		{UserID: "bob", EntityType: event.EntityCall, EntityID: "default:other", Reason: "x"},
		{UserID: "eve", EntityType: event.EntityUser, EntityID: "eve", Reason: "x"},
	} {
		if _, err := d.Appeal(t.Context(), r); !errors.As(err, &nothing) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	// A ban without an item is enough, and the decision goes without one.
	_, err := w.db.NewInsert().Model(&db.BanRow{ID: "b", UserID: "eve", ByUserID: "mo"}).Exec(t.Context())
	w.ok(err)
	a, err := d.Appeal(t.Context(), AppealRequest{UserID: "eve", EntityType: event.EntityUser, EntityID: "eve", Reason: "x"})
	w.ok(err)
	did := 0
	out, err := d.Decide(t.Context(), Decision{AppealID: a.ID, Type: DecideUnban, ByUserID: "mo"}, nil, counting(&did))
	if err != nil || out.Item != nil || out.Appeal.Status != event.AppealAccepted || did != 1 {
		t.Errorf("%+v, %v", out, err)
	}
}

func testItemInFull(t *testing.T, w *world) {
	d := deskOf(w, testkit.NewClock())
	id := flagged(w, d)
	for _, b := range []db.BanRow{
		{ID: "everywhere", UserID: "bob", ByUserID: "mo", Reason: "nudity"},
		{ID: "here", UserID: "bob", CID: "default:abc", ByUserID: "mo"},
		{ID: "elsewhere", UserID: "bob", CID: "default:other", ByUserID: "mo"},
		{ID: "lifted", UserID: "bob", ByUserID: "mo", LiftedAt: db.At(time.Now())},
	} {
		_, err := w.db.NewInsert().Model(&b).Exec(t.Context())
		w.ok(err)
	}
	_, err := d.Appeal(t.Context(), AppealRequest{UserID: "bob", EntityType: event.EntityCall, EntityID: "default:abc", Reason: "x"})
	w.ok(err)
	item, err := w.db.ReviewItem(t.Context(), id, time.Now())
	w.ok(err)
	if len(item.Bans) != 2 || item.EntityCreator.BanCount != 4 || item.EntityCreator.FlaggedCount != 1 || !item.EntityCreator.Banned ||
		item.Call == nil || item.Call.CID != "default:abc" || item.Appeal == nil || item.Appeal.Status != event.AppealSubmitted {
		t.Errorf("%+v", item)
	}
}
