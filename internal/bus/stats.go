package bus

import (
	"context"
	"fmt"
	"strings"

	"stillwatch/internal/event"
)

// Stats are numbers for metrics.
type Stats struct {
	// Published, Handled, Failed (tries), Parked, Skipped (lossy events not
	// handled), Deleted (entries trimmed while pending) and Claimed (taken
	// over from dead consumers) count since this Bus was opened.
	Published, Handled, Failed, Parked, Skipped, Deleted, Claimed int64
	// Topics are read from Redis; a topic without entries is left out.
	Topics []TopicStats
}

// TopicStats are a topic's numbers.
type TopicStats struct {
	Topic  event.Topic
	Length int64
	Dead   int64
	Groups []GroupStats
}

// GroupStats are a group's numbers. Lag is how many entries it has not been
// given, -1 when Redis cannot tell; Pending those given but not acknowledged.
type GroupStats struct {
	Group     string
	Lag       int64
	Pending   int64
	Consumers int64
}

// Stats asks Redis for the state of every topic.
func (b *Bus) Stats(ctx context.Context) (Stats, error) {
	s := Stats{
		Published: b.count.published.Load(), Handled: b.count.handled.Load(), Failed: b.count.failed.Load(),
		Parked: b.count.parked.Load(), Skipped: b.count.skipped.Load(),
		Deleted: b.count.deleted.Load(), Claimed: b.count.claimed.Load(),
	}
	for _, topic := range event.Topics() {
		t := TopicStats{Topic: topic}
		var err error
		if t.Length, err = b.rdb.XLen(ctx, b.stream(topic)).Result(); err != nil {
			return s, fmt.Errorf("measure %s: %w", topic, err)
		}
		if t.Dead, err = b.rdb.XLen(ctx, b.dead(topic)).Result(); err != nil {
			return s, fmt.Errorf("measure dead letters of %s: %w", topic, err)
		}
		groups, err := b.rdb.XInfoGroups(ctx, b.stream(topic)).Result()
		if err != nil && !strings.Contains(err.Error(), "no such key") {
			return s, fmt.Errorf("list groups of %s: %w", topic, err)
		}
		for _, g := range groups {
			t.Groups = append(t.Groups, GroupStats{Group: g.Name, Lag: g.Lag, Pending: g.Pending, Consumers: g.Consumers})
		}
		if t.Length > 0 || t.Dead > 0 || len(t.Groups) > 0 {
			s.Topics = append(s.Topics, t)
		}
	}
	return s, nil
}
