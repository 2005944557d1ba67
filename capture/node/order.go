package node

import (
	"context"
	"errors"
	"fmt"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// obey takes orders until ctx ends. Orders of one call keep their order.
func (n *Node) obey(ctx context.Context) {
	err := n.cfg.Bus.Consume(ctx, bus.Subscription{
		Topic: event.TopicControl, Group: "node-" + n.cfg.ID, Consumer: n.cfg.ID, Concurrency: 4, Handler: n.handle,
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		n.log.Error("orders are no longer taken", "error", err)
	}
}

// handle carries one order out and confirms it. Doing it twice is harmless:
// the second time there is nothing left to touch.
func (n *Node) handle(ctx context.Context, ev event.Envelope) error {
	var c event.Control
	if err := ev.Decode(&c); err != nil {
		return err
	}
	affected, err := n.carryOut(ctx, c)
	if err != nil {
		return fmt.Errorf("carry out %s %s: %w", c.Kind, c.ControlID, err)
	}
	done := event.ControlDone{ControlID: c.ControlID, ActionID: c.ActionID, Node: n.cfg.ID, Affected: affected, At: n.cfg.Now().UTC()}
	return n.cfg.Bus.Publish(ctx, event.TopicConfirmed, event.New(event.TypeControlDone, ev.Key, done.At, done))
}

func (n *Node) carryOut(ctx context.Context, c event.Control) (affected int, err error) {
	switch c.Kind {
	case event.ControlDisconnect:
		return n.cfg.Calls.Disconnect(c.CID, c.UserID, c.Reason), nil
	case event.ControlEndCall:
		return n.cfg.Calls.EndCall(c.CID, c.Reason), nil
	case event.ControlMute:
		return n.cfg.Calls.Mute(c.CID, c.UserID, c.Tracks, c.Until), nil
	case event.ControlFrameRecording, event.ControlSettings:
		return 1, n.switchFrames(ctx, c)
	default:
		n.log.Warn("unknown order is ignored", "kind", c.Kind)
		return 0, nil
	}
}

// switchFrames brings the sampler to what the call's row says now, so that
// orders that arrive late or twice cannot undo a newer one.
func (n *Node) switchFrames(ctx context.Context, c event.Control) error {
	var row db.CallRow
	err := n.cfg.DB.NewSelect().Model(&row).Where("cid = ?", c.CID).Scan(ctx)
	if db.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read call: %w", err)
	}
	s, err := n.cfg.Settings(row.Settings.V)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	if s.Storage, err = n.storageOf(ctx, n.cfg.DB, row); err != nil {
		return err
	}
	n.cfg.Sampler.SetRecording(c.CID, row.FrameEgressID != "", row.FrameEgressID, s.Settings)
	return nil
}
