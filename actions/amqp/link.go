package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	broker "github.com/rabbitmq/amqp091-go"

	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
)

const (
	// heartbeat is how often both sides show that they are there.
	heartbeat = 10 * time.Second
	// goodbye is how long the broker may take to take leave.
	goodbye = 2 * time.Second
)

// Failures that are the broker's word and no error of the connection.
var (
	errBlocked = errors.New("the broker takes nothing at the moment (connection blocked)")
	errNack    = errors.New("the broker did not take the message (negative confirm)")
)

// link is one connection to a broker, opened when it is needed and again when
// it broke. Each send has a channel to itself, so that what the broker sends
// back on it belongs to that send.
type link struct {
	to       target
	password string
	plain    bool
	out      peer.Out
	// turn is held by who connects, opens channels or declares queues.
	turn chan struct{}

	mu     sync.Mutex
	live   *session
	closed bool
}

// session is a connection from its opening to its end.
type session struct {
	conn *broker.Connection
	raw  net.Conn
	// declared are queues and exchanges that were seen to be there. It is
	// guarded by the link's turn.
	declared map[route]bool
	watching sync.WaitGroup

	mu      sync.Mutex
	blocked bool
	free    []*lane
}

// lane is a channel in confirm mode. returned has room for the one message
// that may be under way. late is the confirm that a send did not wait for any
// longer; until it comes, the lane is of no use.
type lane struct {
	s        *session
	ch       *broker.Channel
	returned chan broker.Return
	late     *broker.DeferredConfirmation
}

func newLink(to target, out peer.Out) (*link, error) {
	uri, err := ParseURL(to.url)
	if err != nil {
		return nil, err
	}
	return &link{to: to, password: uri.Password, plain: uri.Scheme == "amqp", out: out, turn: make(chan struct{}, 1)}, nil
}

// send publishes a message and waits until the broker has it in a queue.
func (l *link) send(ctx context.Context, r route, msg broker.Publishing) error {
	way, err := l.lane(ctx, r)
	if err != nil {
		return err
	}
	err = way.publish(ctx, r, msg)
	way.s.keep(way)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && way.s.isBlocked() {
		return errBlocked
	}
	l.unsure(ctx, way.s, r)
	return err
}

// lane returns a free channel of a session that has what the route needs.
func (l *link) lane(ctx context.Context, r route) (*lane, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := l.session(ctx)
	if err != nil {
		return nil, err
	}
	if s.isBlocked() {
		return nil, errBlocked
	}
	defer s.cutAt(ctx)()
	if err := s.declare(r); err != nil {
		return nil, err
	}
	if way := s.take(); way != nil {
		return way, nil
	}
	return s.open()
}

// session returns the live session, or connects.
func (l *link) session(ctx context.Context) (*session, error) {
	l.mu.Lock()
	s, closed := l.live, l.closed
	l.mu.Unlock()
	if closed {
		return nil, peer.ErrClosed
	}
	if s != nil && !s.conn.IsClosed() {
		return s, nil
	}
	if s != nil {
		s.end()
	}
	s, err := l.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	l.mu.Lock()
	if closed = l.closed; !closed {
		l.live = s
	}
	l.mu.Unlock()
	if closed {
		s.end()
		return nil, peer.ErrClosed
	}
	return s, nil
}

func (l *link) connect(ctx context.Context) (*session, error) {
	s := &session{declared: map[route]bool{}}
	calm := func() bool { return true }
	defer func() { calm() }()
	cfg := broker.Config{
		Heartbeat: heartbeat, Locale: "en_US", TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		Properties: broker.Table{"product": "stillwatch", "connection_name": "stillwatch"},
		Dial: func(_, addr string) (net.Conn, error) {
			conn, err := l.out.Dial(ctx, l.plain, addr)
			if err != nil {
				return nil, err
			}
			s.raw = conn
			calm = context.AfterFunc(ctx, func() { _ = conn.Close() }) // the handshake knows no ctx
			return conn, nil
		},
	}
	conn, err := broker.DialConfig(l.to.url, cfg)
	if err != nil {
		if s.raw != nil {
			_ = s.raw.Close()
		}
		return nil, err
	}
	s.conn = conn
	blocking := conn.NotifyBlocked(make(chan broker.Blocking, 1))
	s.watching.Go(func() {
		for b := range blocking { // ends with the connection
			s.mu.Lock()
			s.blocked = b.Active
			s.mu.Unlock()
		}
	})
	return s, nil
}

// unsure makes the next send look again whether the route's queue is there.
func (l *link) unsure(ctx context.Context, s *session, r route) {
	select {
	case l.turn <- struct{}{}:
		delete(s.declared, r.needs())
		<-l.turn
	case <-ctx.Done():
	}
}

// outcome puts an attempt's end into words without the password.
func (l *link) outcome(ctx context.Context, err error) delivery.Result {
	if err == nil {
		return delivery.Result{}
	}
	if ctx.Err() != nil && !errors.Is(err, errBlocked) {
		err = ctx.Err() // what broke when the time was up says less
	}
	res := peer.Failure(err, l.password)
	res.Throttled = errors.Is(err, errBlocked) || errors.Is(err, errNack)
	return res
}

// Close takes leave of the broker; sends under way break off.
func (l *link) Close() error {
	l.mu.Lock()
	s := l.live
	l.live, l.closed = nil, true
	l.mu.Unlock()
	if s != nil {
		s.end()
	}
	return nil
}

// end closes the connection and waits for what watches it. The broker may be
// gone already, so that errors say nothing.
func (s *session) end() {
	_ = s.conn.CloseDeadline(time.Now().Add(goodbye))
	_ = s.raw.Close()
	s.watching.Wait()
}

func (s *session) isBlocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocked
}

// cutAt breaks the connection when ctx ends before the function that it
// returns is called: the library's calls know no time of their own, and a
// broker that does not answer them is as good as gone.
func (s *session) cutAt(ctx context.Context) (stop func()) {
	off := context.AfterFunc(ctx, func() { _ = s.raw.Close() })
	return func() { off() }
}
