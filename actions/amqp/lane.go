package amqp

import (
	"context"
	"errors"
	"fmt"
	"slices"

	broker "github.com/rabbitmq/amqp091-go"
)

// returnedError is a message that came back: no queue wanted it.
type returnedError struct {
	route  route
	reason string
}

// Error implements error.
func (e *returnedError) Error() string {
	if e.route.exchange == "" {
		return fmt.Sprintf("the message came back from queue %q: %s", e.route.key, e.reason)
	}
	return fmt.Sprintf("the message came back: no queue is bound to exchange %q for %q (%s)", e.route.exchange, e.route.key, e.reason)
}

// publish sends a message and waits for the broker's confirm. The broker
// returns a message that found no queue before it confirms it, so that the
// return lies in the channel by then.
func (w *lane) publish(ctx context.Context, r route, msg broker.Publishing) error {
	stop := w.s.cutAt(ctx)
	confirm, err := w.ch.PublishWithDeferredConfirmWithContext(ctx, r.exchange, r.key, true, false, msg)
	stop()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	ok, err := confirm.WaitContext(ctx)
	if err != nil {
		w.late = confirm
		return err
	}
	select {
	case back, open := <-w.returned:
		if open {
			return &returnedError{r, back.ReplyText}
		}
	default:
	}
	switch {
	case ok:
		return nil
	case w.ch.IsClosed():
		return errors.New("the connection broke before the broker confirmed")
	}
	return errNack
}

// take returns a channel that nobody uses and nothing more comes on, or nil.
func (s *session) take() *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = slices.DeleteFunc(s.free, func(w *lane) bool { return w.ch.IsClosed() })
	for i, w := range s.free {
		if w.settled() {
			s.free = slices.Delete(s.free, i, i+1)
			return w
		}
	}
	return nil
}

// settled tells whether the broker has said all that there is to say about
// what was sent before.
func (w *lane) settled() bool {
	if w.late == nil {
		return true
	}
	select {
	case <-w.late.Done():
	default:
		return false
	}
	select {
	case <-w.returned:
	default:
	}
	w.late = nil
	return true
}

// keep puts a channel back.
func (s *session) keep(w *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, w)
}

func (s *session) open() (*lane, error) {
	ch, err := s.conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		_ = ch.Close()
		return nil, fmt.Errorf("ask for confirms: %w", err)
	}
	return &lane{s: s, ch: ch, returned: ch.NotifyReturn(make(chan broker.Return, 1))}, nil
}

// needs is what has to be there for the route: its exchange, or its queue.
func (r route) needs() route {
	if r.exchange != "" {
		return route{exchange: r.exchange}
	}
	return r
}

// declare makes the route's queue, durable, or its exchange, durable and by
// topic, unless there is one of the name: that is taken as it is.
func (s *session) declare(r route) error {
	need := r.needs()
	if s.declared[need] {
		return nil
	}
	there, err := s.exists(need)
	if err == nil && !there {
		err = s.make(need)
	}
	if err != nil {
		return err
	}
	s.declared[need] = true
	return nil
}

// exists asks whether it is there. A broker that does not tell us is
// believed: a message that finds no queue comes back all the same.
func (s *session) exists(need route) (bool, error) {
	err := s.once(func(ch *broker.Channel) error {
		if need.exchange != "" {
			return ch.ExchangeDeclarePassive(need.exchange, broker.ExchangeTopic, true, false, false, false, nil)
		}
		_, err := ch.QueueDeclarePassive(need.key, true, false, false, false, nil)
		return err
	})
	said := (*broker.Error)(nil)
	switch {
	case err == nil:
		return true, nil
	case !errors.As(err, &said):
		return false, err
	case said.Code == broker.NotFound:
		return false, nil
	case said.Code == broker.AccessRefused || said.Code == broker.ResourceLocked || said.Code == broker.PreconditionFailed:
		return true, nil
	}
	return false, fmt.Errorf("look for %q: %w", need.exchange+need.key, err)
}

func (s *session) make(need route) error {
	err := s.once(func(ch *broker.Channel) error {
		if need.exchange != "" {
			return ch.ExchangeDeclare(need.exchange, broker.ExchangeTopic, true, false, false, false, nil)
		}
		_, err := ch.QueueDeclare(need.key, true, false, false, false, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("declare %q: %w", need.exchange+need.key, err)
	}
	return nil
}

// once does something on a channel of its own, which a refusal closes.
func (s *session) once(do func(*broker.Channel) error) error {
	ch, err := s.conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	if err := do(ch); err != nil {
		return err
	}
	return ch.Close()
}
