package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/internal/event"
)

// markKey exists as long as Redis remembers what it was given.
const markKey = "epoch"

// Remembers tells whether Redis still holds the mark of Remember: false
// after FLUSHALL, after a start without its data, and at first.
func (b *Bus) Remembers(ctx context.Context) (bool, error) {
	n, err := b.rdb.Exists(ctx, b.cfg.Prefix+markKey).Result()
	return n == 1, err
}

// Remember sets the mark.
func (b *Bus) Remember(ctx context.Context) error {
	return b.rdb.Set(ctx, b.cfg.Prefix+markKey, time.Now().UTC().Format(time.RFC3339Nano), 0).Err()
}

// staleGroup is how long every consumer of an ephemeral group may be silent
// before the group is dropped.
const staleGroup = 24 * time.Hour

// settlePage is how many entries Settle looks at in one step.
const settlePage = 500

// Settle finds the entries of a lossless topic that every group has
// acknowledged, hands their events' ids to done, and trims the stream below
// them once done returned nil. A topic without a group is left alone: its
// group may come later.
func (b *Bus) Settle(ctx context.Context, topic event.Topic, done func(eventIDs []string) error) error {
	if topic.Lossy() {
		return nil
	}
	low, err := b.lowWater(ctx, topic)
	if err != nil || low == "" {
		return err
	}
	for {
		// "(" excludes low itself, the first entry that someone needs.
		msgs, err := b.rdb.XRangeN(ctx, b.stream(topic), "-", "("+low, settlePage).Result()
		if err != nil {
			return fmt.Errorf("settle %s: %w", topic, err)
		}
		if len(msgs) == 0 {
			return nil
		}
		ids := make([]string, 0, len(msgs))
		for _, m := range msgs {
			if ev, err := decode(m); err == nil {
				ids = append(ids, ev.ID)
			}
		}
		if err := done(ids); err != nil {
			return err
		}
		if err := b.rdb.XTrimMinID(ctx, b.stream(topic), after(msgs[len(msgs)-1].ID)).Err(); err != nil {
			return fmt.Errorf("trim %s: %w", topic, err)
		}
	}
}

// lowWater is the smallest id that some group has not acknowledged, or ""
// when there is nothing to go by.
func (b *Bus) lowWater(ctx context.Context, topic event.Topic) (string, error) {
	groups, err := b.rdb.XInfoGroups(ctx, b.stream(topic)).Result()
	if err != nil {
		if strings.Contains(err.Error(), "no such key") {
			return "", nil
		}
		return "", fmt.Errorf("list groups of %s: %w", topic, err)
	}
	low := ""
	for _, g := range groups {
		if gone, err := b.dropStale(ctx, topic, g); err != nil {
			return "", err
		} else if gone {
			continue
		}
		need := after(g.LastDeliveredID)
		if g.Pending > 0 {
			p, err := b.rdb.XPending(ctx, b.stream(topic), g.Name).Result()
			if err != nil {
				return "", fmt.Errorf("read pending of %s: %w", topic, err)
			}
			if p.Count > 0 && less(p.Lower, need) {
				need = p.Lower
			}
		}
		if low == "" || less(need, low) {
			low = need
		}
	}
	return low, nil
}

// dropStale drops an ephemeral group whose consumers have all fallen silent.
func (b *Bus) dropStale(ctx context.Context, topic event.Topic, g redis.XInfoGroup) (bool, error) {
	if !strings.HasPrefix(g.Name, EphemeralPrefix) {
		return false, nil
	}
	consumers, err := b.rdb.XInfoConsumers(ctx, b.stream(topic), g.Name).Result()
	if err != nil {
		return false, fmt.Errorf("list consumers of %s: %w", g.Name, err)
	}
	if len(consumers) == 0 {
		return false, nil // just made
	}
	for _, c := range consumers {
		if c.Idle < staleGroup {
			return false, nil
		}
	}
	slog.Warn("group dropped: its process is gone", "component", "bus", "topic", topic, "group", g.Name)
	return true, b.DropGroup(ctx, topic, g.Name)
}

// DropGroup removes a group and what is pending in it.
func (b *Bus) DropGroup(ctx context.Context, topic event.Topic, group string) error {
	if err := b.rdb.XGroupDestroy(ctx, b.stream(topic), group).Err(); err != nil && !isMissing(err) {
		return fmt.Errorf("drop group %s of %s: %w", group, topic, err)
	}
	return nil
}

// splitID reads an entry id "<ms>-<n>".
func splitID(id string) (ms, n uint64) {
	_, _ = fmt.Sscanf(id, "%d-%d", &ms, &n)
	return ms, n
}

func less(a, b string) bool {
	am, an := splitID(a)
	bm, bn := splitID(b)
	return am < bm || am == bm && an < bn
}

// after is the id right behind id.
func after(id string) string {
	ms, n := splitID(id)
	return fmt.Sprintf("%d-%d", ms, n+1)
}
