package web

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"stillwatch/internal/event"
)

const (
	// wallTiles bounds the participants whose newest state is kept.
	wallTiles = 2000
	// wallAge is how long the state of one who is heard of no more is kept:
	// longer than the longest interval.
	wallAge = 3 * time.Minute
	// liveURLLife is the life of a picture's URL in the stream.
	liveURLLife = 15 * time.Minute
)

// Names of the events of the live stream.
const (
	liveFrame   = "frame"
	liveVerdict = "verdict"
	liveGap     = "gap"
	liveAction  = "action"
	liveLeft    = "left"
)

// translated is an event on its way into the stream.
type translated struct {
	name, cid, userID, trackID string
	body                       any
}

type liveFrameBody struct {
	FrameID    string          `json:"frame_id"`
	CallCID    string          `json:"call_cid"`
	SessionID  string          `json:"session_id"`
	UserID     string          `json:"user_id"`
	UserName   string          `json:"user_name"`
	TrackID    string          `json:"track_id"`
	TrackType  event.TrackType `json:"track_type"`
	CapturedAt time.Time       `json:"captured_at"`
	URL        string          `json:"url"`
	Width      int             `json:"width"`
	Height     int             `json:"height"`
}

type liveVerdictBody struct {
	FrameID string             `json:"frame_id"`
	CallCID string             `json:"call_cid"`
	UserID  string             `json:"user_id"`
	TrackID string             `json:"track_id"`
	State   event.VerdictState `json:"state"`
	Reason  string             `json:"reason"`
	Scores  []event.Score      `json:"scores"`
	Reused  bool               `json:"reused"`
	At      time.Time          `json:"at"`
}

type liveGapBody struct {
	CallCID   string          `json:"call_cid"`
	UserID    string          `json:"user_id"`
	UserName  string          `json:"user_name"`
	TrackID   string          `json:"track_id"`
	TrackType event.TrackType `json:"track_type"`
	Reason    event.GapReason `json:"reason"`
	Detail    string          `json:"detail"`
	From      time.Time       `json:"from"`
	To        time.Time       `json:"to"`
	Due       int             `json:"due"`
}

type liveActionBody struct {
	ActionID              string           `json:"action_id"`
	Kind                  event.ActionKind `json:"kind"`
	CallCID               string           `json:"call_cid"`
	UserID                string           `json:"user_id"`
	UserName              string           `json:"user_name"`
	ByUserID              string           `json:"by_user_id"`
	Reason                string           `json:"reason"`
	Labels                []string         `json:"labels"`
	Score                 float64          `json:"score"`
	State                 string           `json:"state"`
	At                    time.Time        `json:"at"`
	ExpiresAt             *time.Time       `json:"expires_at,omitempty"`
	CapturedToConfirmedMS *float64         `json:"captured_to_confirmed_ms,omitempty"`
}

type liveLeftBody struct {
	CallCID string `json:"call_cid"`
	UserID  string `json:"user_id"`
}

// translate makes an event of the stream out of one of the bus; ok is false
// for those that the stream does not show.
func (h *hub) translate(ctx context.Context, ev event.Envelope) (t translated, ok bool) {
	var err error
	switch ev.Type {
	case event.TypeFrameReady:
		var f event.FrameReady
		err = ev.Decode(&f)
		t = translated{liveFrame, f.CID, f.UserID, f.TrackID, h.frame(ctx, f)}
	case event.TypeFrameGap:
		var g event.FrameGap
		err = ev.Decode(&g)
		t = translated{liveGap, g.CID, g.UserID, g.TrackID, liveGapBody{
			g.CID, g.UserID, h.names.of(ctx, g.UserID), g.TrackID, g.TrackType, g.Reason, g.Detail, g.From, g.To, g.Due,
		}}
	case event.TypeVerdict:
		var v event.Verdict
		err = ev.Decode(&v)
		f := v.Frame
		t = translated{liveVerdict, f.CID, f.UserID, f.TrackID, liveVerdictBody{
			f.FrameID, f.CID, f.UserID, f.TrackID, v.State, v.Reason, orEmpty(v.Scores), v.Reused, v.At,
		}}
	case event.TypeActionRequested, event.TypeActionConfirmed:
		var a event.ActionConfirmed
		err = ev.Decode(&a)
		t = translated{liveAction, a.CID, a.UserID, "", h.action(ctx, a, ev.At)}
	case event.CallParticipantLeft:
		t, err = left(ev)
	default:
		return t, false
	}
	if err != nil {
		h.cfg.Log.Warn("event skipped in the live stream", "type", ev.Type, "id", ev.ID, "error", err)
	}
	return t, err == nil
}

func (h *hub) frame(ctx context.Context, f event.FrameReady) liveFrameBody {
	return liveFrameBody{
		f.FrameID, f.CID, f.SessionID, f.UserID, h.names.of(ctx, f.UserID), f.TrackID, f.TrackType, f.CapturedAt,
		h.cfg.Signer.SignGet(f.ObjectKey, h.cfg.Now().Add(liveURLLife)), f.Width, f.Height,
	}
}

func (h *hub) action(ctx context.Context, a event.ActionConfirmed, at time.Time) liveActionBody {
	b := liveActionBody{
		ActionID: a.ActionID, Kind: a.Kind, CallCID: a.CID, UserID: a.UserID, UserName: h.names.of(ctx, a.UserID),
		ByUserID: a.ByUserID, Reason: a.Reason, Labels: orEmpty(a.Labels), Score: a.Score, State: "requested", At: at,
	}
	if !a.ExpiresAt.IsZero() {
		b.ExpiresAt = &a.ExpiresAt
	}
	if !a.ConfirmedAt.IsZero() {
		b.State, b.At = "confirmed", a.ConfirmedAt
		b.CapturedToConfirmedMS = between(&a.CapturedAt, a.ConfirmedAt)
	}
	return b
}

func left(ev event.Envelope) (translated, error) {
	var p struct {
		CallCID     string `json:"call_cid"`
		Participant struct {
			User event.User `json:"user"`
		} `json:"participant"`
	}
	err := ev.Decode(&p)
	user := p.Participant.User.ID
	return translated{liveLeft, p.CallCID, user, "", liveLeftBody{p.CallCID, user}}, err
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// wall is the newest state of every participant, for those who open the
// stream later. It is not safe for concurrent use.
type wall struct {
	tiles map[string]*tile
}

// tile is one track's state, or, under an empty track id, the actions on its
// user.
type tile struct {
	cid, userID, trackID string
	seen                 time.Time
	frame, gap           *liveEvent
	verdict              *liveEvent
	actions              map[event.ActionKind]liveEvent
}

func newWall() *wall { return &wall{tiles: map[string]*tile{}} }

func (w *wall) put(t translated, e liveEvent, now time.Time) {
	if t.name == liveLeft {
		w.forget(t.cid, t.userID)
		return
	}
	key := t.cid + "/" + t.userID + "/" + t.trackID
	at := w.tiles[key]
	if at == nil {
		if len(w.tiles) >= wallTiles {
			w.sweep(now)
		}
		if len(w.tiles) >= wallTiles {
			return
		}
		at = &tile{cid: t.cid, userID: t.userID, trackID: t.trackID, actions: map[event.ActionKind]liveEvent{}}
		w.tiles[key] = at
	}
	at.seen = now
	switch t.name {
	case liveFrame:
		at.frame, at.gap = &e, nil
	case liveGap:
		at.gap = &e
	case liveVerdict:
		at.verdict = &e
	case liveAction:
		if a, ok := t.body.(liveActionBody); ok {
			at.actions[a.Kind] = e
		}
	}
}

// forget drops a participant's tiles, but not what was done about them: it is
// why a moderator may be looking.
func (w *wall) forget(cid, userID string) {
	for key, t := range w.tiles {
		if t.cid == cid && t.userID == userID && len(t.actions) == 0 {
			delete(w.tiles, key)
		}
	}
}

func (w *wall) sweep(now time.Time) {
	for key, t := range w.tiles {
		if now.Sub(t.seen) > wallAge {
			delete(w.tiles, key)
		}
	}
}

// state gives the tiles back as the events they came from, by call, user
// and track.
func (w *wall) state(cid string, now time.Time) []liveEvent {
	w.sweep(now)
	var tiles []*tile
	for _, t := range w.tiles {
		if cid == "" || t.cid == cid {
			tiles = append(tiles, t)
		}
	}
	slices.SortFunc(tiles, func(a, b *tile) int {
		return cmp.Or(strings.Compare(a.cid, b.cid), strings.Compare(a.userID, b.userID), strings.Compare(a.trackID, b.trackID))
	})
	var out []liveEvent
	for _, t := range tiles {
		for _, e := range []*liveEvent{t.frame, t.verdict, t.gap} {
			if e != nil {
				out = append(out, *e)
			}
		}
		for _, kind := range []event.ActionKind{event.ActionFlag, event.ActionKick, event.ActionBan} {
			if e, ok := t.actions[kind]; ok {
				out = append(out, e)
			}
		}
	}
	return out
}

const (
	nameCacheSize = 4096
	nameCacheLife = time.Minute
	nameTimeout   = time.Second
)

// nameCache keeps the display names that the stream needs with every frame.
type nameCache struct {
	cfg Config

	mu    sync.Mutex
	names map[string]cachedName
}

type cachedName struct {
	name string
	at   time.Time
}

func newNameCache(cfg Config) *nameCache {
	return &nameCache{cfg: cfg, names: map[string]cachedName{}}
}

// of returns the user's name, or the id of one who has none.
func (n *nameCache) of(ctx context.Context, id string) string {
	now := n.cfg.Now()
	n.mu.Lock()
	got, ok := n.names[id]
	n.mu.Unlock()
	if ok && now.Sub(got.at) < nameCacheLife {
		return got.name
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	name := id
	if u, err := n.cfg.DB.User(ctx, id); err == nil && u.Name != "" {
		name = u.Name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.names) >= nameCacheSize {
		clear(n.names)
	}
	n.names[id] = cachedName{name, now}
	return name
}
