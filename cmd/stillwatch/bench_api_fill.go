package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

const (
	// benchUsers is how many users there are, and benchWorkers how many
	// requests fill the server at once.
	benchUsers   = 500
	benchWorkers = 4
	// fillStep is how many rows go into one INSERT.
	fillStep = 200
)

func callName(n int) string { return fmt.Sprintf("call-%05d", n) }

func userName(n int) string { return fmt.Sprintf("user-%03d", n) }

// fill writes what no request can make: stills, gaps, verdicts' decisions and
// their actions, before the server starts.
func (b *apiBench) fill(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	d, err := db.Open(ctx, "sqlite://"+filepath.Join(dir, "stillwatch.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	start := time.Now().Add(-time.Hour)
	for from := 0; from < b.cmd.Calls; from += fillStep {
		err := d.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			return fillRows(ctx, tx, start, from, min(from+fillStep, b.cmd.Calls))
		})
		if err != nil {
			return fmt.Errorf("fill the database: %w", err)
		}
	}
	return nil
}

func fillRows(ctx context.Context, tx bun.Tx, start time.Time, from, to int) error {
	none := db.JSON[json.RawMessage]{V: json.RawMessage(`{}`)}
	var frames []db.FrameRow
	var gaps []db.GapRow
	var decisions []db.DecisionRow
	var actions []db.ActionRow
	for i := from; i < to; i++ {
		cid, user, at := "default:"+callName(i), userName(i%benchUsers), db.At(start.Add(time.Duration(i)*100*time.Millisecond))
		for range 2 {
			frames = append(frames, db.FrameRow{
				ID: event.NewID(), CID: cid, SessionID: "s-" + cid, EgressID: "e", UserID: user, TrackID: "t", TrackType: string(event.TrackVideo),
				Codec: string(event.VP8), CapturedAt: at, ObjectKey: "frames/" + event.NewID() + ".jpg", Width: 1280, Height: 720, Bytes: 60000,
				ExpiresAt: db.At(at.Add(14 * 24 * time.Hour)),
			})
		}
		gaps = append(gaps, db.GapRow{
			ID: event.NewID(), CID: cid, SessionID: "s-" + cid, UserID: user, TrackID: "t", TrackType: string(event.TrackVideo),
			Reason: string(event.GapMuted), FromAt: at, ToAt: db.At(at.Add(time.Minute)), Due: 30,
		})
		if i%20 == 0 {
			decision := event.NewID()
			decisions = append(decisions, db.DecisionRow{
				ID: decision, CID: cid, SessionID: "s-" + cid, UserID: user, Rule: "bench", PolicyVersion: "1", Action: string(event.ActionFlag),
				Labels: db.JSON[[]string]{V: []string{"Porn"}}, Score: 0.9, Evidence: none, At: at,
			})
			actions = append(actions, db.ActionRow{
				ID: event.NewID(), DecisionID: decision, Kind: string(event.ActionFlag), CID: cid, UserID: user, ByUserID: "system", Reason: "bench",
				Payload: none, State: db.ActionStateConfirmed, RequestedAt: at, ConfirmedAt: at,
			})
		}
	}
	for _, rows := range []any{&frames, &gaps, &decisions, &actions} {
		if _, err := tx.NewInsert().Model(rows).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes users, calls and review items as a backend would.
func (b *apiBench) prepare() error {
	for from := 0; from < benchUsers; from += 100 {
		users := map[string]any{"mo": map[string]any{"id": "mo", "role": "moderator"}}
		for i := from; i < from+99; i++ {
			users[userName(i)] = map[string]any{"id": userName(i), "name": "Bench"}
		}
		body, err := json.Marshal(map[string]any{"users": users})
		if err != nil {
			return err
		}
		if err := b.server.call("POST", "/api/v2/users", string(body)); err != nil {
			return err
		}
	}
	if err := b.server.call("POST", "/api/v2/video/calltypes", `{"name":"bench"}`); err != nil {
		return err
	}
	return b.makeCalls()
}

func (b *apiBench) makeCalls() error {
	work, failed := make(chan int), make(chan error, benchWorkers)
	var wg sync.WaitGroup
	for range benchWorkers {
		wg.Go(func() {
			for i := range work {
				if err := b.makeCall(i); err != nil {
					select {
					case failed <- err:
					default: // the first is enough
					}
				}
			}
		})
	}
	for i := range b.cmd.Calls {
		work <- i
	}
	close(work)
	wg.Wait()
	close(failed)
	return <-failed
}

func (b *apiBench) makeCall(i int) error {
	body := fmt.Sprintf(`{"data":{"created_by_id":%q,"members":[{"user_id":%q}],"custom":{"n":%d}}}`, userName(i%benchUsers), userName((i+1)%benchUsers), i)
	if _, err := b.request(b.ctx, "POST", "/api/v2/video/call/default/"+callName(i), body); err != nil {
		return err
	}
	if i%20 != 0 {
		return nil
	}
	flag := fmt.Sprintf(`{"entity_type":"call","entity_id":"default:%s","entity_creator_id":%q,"reason":"bench"}`, callName(i), userName(i%benchUsers))
	a, err := b.request(b.ctx, "POST", benchMod+"/flag", flag)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, a.ItemID)
	return nil
}
