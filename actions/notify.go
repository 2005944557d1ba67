package actions

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/service"
)

// FrameSink takes frame events on their way to a backend. It must not block:
// what it has no room for it drops and counts.
type FrameSink interface {
	Offer(ev event.Envelope)
}

// userFor is how long what a user is called is remembered. Bans are read
// for each frame.
const userFor = 5 * time.Second

// userRoom is how many users are remembered at once.
const userRoom = 4096

// NotifierConfig sets a Notifier; DB, Bus and Signer are needed.
type NotifierConfig struct {
	DB     *db.DB
	Bus    Bus
	Signer Signer
	// Sinks get each event directly; it also goes out on TopicPublic.
	Sinks []FrameSink
	// URLFor is how long a picture's address is valid from its capture on;
	// 0 means to the end of the default retention.
	URLFor   time.Duration
	Consumer string
	Now      func() time.Time
}

// Notifier tells backends of each frame: frame.ready becomes
// call.frame_recording_ready. Frames are lossy: one that cannot be told is
// counted, not kept.
type Notifier struct {
	cfg   NotifierConfig
	log   *slog.Logger
	tasks service.Tasks
	told  atomic.Int64

	mu    sync.Mutex
	users map[string]knownUser
}

type knownUser struct {
	event.User
	until time.Time
}

// NewNotifier makes a notifier.
func NewNotifier(cfg NotifierConfig) *Notifier {
	if cfg.URLFor <= 0 {
		cfg.URLFor = DefaultRetention
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Consumer == "" {
		cfg.Consumer = "notify"
	}
	return &Notifier{cfg: cfg, log: slog.With("component", "notify"), users: map[string]knownUser{}}
}

// Start implements service.Service.
func (n *Notifier) Start(context.Context) error {
	n.tasks.Go(func(ctx context.Context) {
		err := n.cfg.Bus.Consume(ctx, bus.Subscription{
			Topic: event.TopicFrames, Group: GroupNotify, Consumer: n.cfg.Consumer,
			Concurrency: 2, FromNow: true, Handler: n.Handle,
		})
		if err != nil {
			n.log.Error("cannot consume frames", "err", err)
		}
	})
	return nil
}

// Close implements service.Service.
func (n *Notifier) Close() error { return n.tasks.Close() }

// Told is how many frames were told of.
func (n *Notifier) Told() int64 { return n.told.Load() }

// Handle tells of one frame; other events are passed over.
func (n *Notifier) Handle(ctx context.Context, ev event.Envelope) error {
	if ev.Type != event.TypeFrameReady {
		return nil
	}
	var f event.FrameReady
	if err := ev.Decode(&f); err != nil {
		return err
	}
	body, err := n.body(ctx, f)
	if err != nil {
		return err
	}
	out := event.New(body.Type, key(f.CID, f.UserID), body.CreatedAt, body)
	out.ID = event.DeriveID("public", body.Type, f.FrameID)
	for _, sink := range n.cfg.Sinks {
		sink.Offer(out)
	}
	n.told.Add(1)
	return n.cfg.Bus.Publish(ctx, event.TopicPublic, out)
}

func (n *Notifier) body(ctx context.Context, f event.FrameReady) (event.FrameRecordingReady, error) {
	user, err := n.user(ctx, f)
	if err != nil {
		return event.FrameRecordingReady{}, err
	}
	created := n.cfg.Now().UTC()
	if created.Before(f.CapturedAt) { // another machine's clock; an event is not older than its frame
		created = f.CapturedAt.UTC()
	}
	return event.FrameRecordingReady{
		Type: event.CallFrameRecordingReady, CreatedAt: created, CallCID: f.CID, SessionID: f.SessionID,
		TrackType: f.TrackType, URL: n.cfg.Signer.SignGet(f.ObjectKey, f.CapturedAt.Add(n.cfg.URLFor)),
		CapturedAt: f.CapturedAt.UTC(), EgressID: f.EgressID, Users: map[string]event.User{f.UserID: user},
	}, nil
}

// user is the frame's user with the bans of this moment.
func (n *Notifier) user(ctx context.Context, f event.FrameReady) (event.User, error) {
	now := n.cfg.Now()
	n.mu.Lock()
	known, ok := n.users[f.UserID]
	n.mu.Unlock()
	if !ok || now.After(known.until) {
		u, err := n.cfg.DB.UserIn(ctx, f.UserID, f.CID)
		if err != nil {
			return event.User{}, err
		}
		u.Custom = nil // the receivers of frames get the fields of the contract
		n.remember(f.UserID, knownUser{u, now.Add(userFor)})
		return u, nil
	}
	var err error
	known.Banned, known.ShadowBanned, err = n.banned(ctx, f, now)
	return known.User, err
}

// remember keeps a user for a while; when there are too many, any other goes.
func (n *Notifier) remember(id string, u knownUser) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.users) >= userRoom {
		for other := range n.users {
			delete(n.users, other)
			break
		}
	}
	n.users[id] = u
}

// banned reads the bans that hold for the frame's user in its call.
func (n *Notifier) banned(ctx context.Context, f event.FrameReady, now time.Time) (banned, shadow bool, err error) {
	var shadows []db.Bool
	err = n.cfg.DB.NewSelect().Model((*db.BanRow)(nil)).Column("shadow").Where("user_id = ?", f.UserID).
		Where("cid IN ('', ?)", f.CID).Where("lifted_at = 0").
		Where("(expires_at = 0 OR expires_at > ?)", db.At(now)).Scan(ctx, &shadows)
	for _, s := range shadows {
		banned, shadow = banned || !bool(s), shadow || bool(s)
	}
	return banned, shadow, err
}
