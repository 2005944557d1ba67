package moderation

import (
	"context"
	"fmt"

	"stillwatch/internal/bus"
	"stillwatch/internal/event"
)

// GroupOutside is the consumer group that takes in the verdicts of classifiers
// that are not ours.
const GroupOutside = "outside"

// OutsideTrack is the track that pushed verdicts stand on.
const OutsideTrack = "outside"

func (s *Service) consumeOutside(ctx context.Context) {
	err := s.cfg.Bus.Consume(ctx, bus.Subscription{
		Topic: event.TopicChecks, Group: GroupOutside, Consumer: s.cfg.Consumer, Concurrency: s.cfg.Concurrency, Handler: s.HandleOutside,
	})
	if err != nil {
		s.log.Error("cannot consume pushed verdicts", "err", err)
	}
}

// HandleOutside takes in one pushed verdict; other events are passed over. It
// counts as one frame would: a push alone decides nothing.
func (s *Service) HandleOutside(ctx context.Context, ev event.Envelope) error {
	if ev.Type != event.TypeOutsideVerdict {
		return nil
	}
	var v event.Verdict
	if err := ev.Decode(&v); err != nil {
		return err
	}
	v.Source = event.SourceOutside
	if v = sane(v); v.State != event.VerdictKnown {
		s.log.Warn("pushed verdict is not whole", "verdict", v.VerdictID, "reason", v.Reason)
		return nil
	}
	if err := s.noteOutside(ctx, v); err != nil {
		return err
	}
	return s.decide(ctx, v)
}

func (s *Service) noteOutside(ctx context.Context, v event.Verdict) error {
	row, err := verdictRow(v)
	if err != nil {
		return fmt.Errorf("marshal verdict %s: %w", v.VerdictID, err)
	}
	if _, err := s.cfg.DB.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("note pushed verdict %s: %w", v.VerdictID, err)
	}
	return nil
}
