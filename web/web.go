// Package web is the HTTP face of the program: the server API, the call page
// and the moderators' console.
package web

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"stillwatch/actions"
	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/seal"
	"stillwatch/moderation"
	"stillwatch/recording/permission"
)

// Actions takes moderation orders in; *actions.Desk is one. Each order is
// recorded when the method returns. That it has taken effect is told by an
// event.
type Actions interface {
	Ban(ctx context.Context, r actions.BanRequest) (actionID string, err error)
	Unban(ctx context.Context, r actions.UnbanRequest) (lifted int, err error)
	Flag(ctx context.Context, r actions.FlagRequest) (itemID string, err error)
	Kick(ctx context.Context, r actions.KickRequest) (actionID string, err error)
	Decide(ctx context.Context, r actions.Decision, check func(event.ReviewItem) error, effect func(context.Context, bun.Tx, actions.Decision) error) (actions.Outcome, error)
	Appeal(ctx context.Context, r actions.AppealRequest) (event.Appeal, error)
	Mute(ctx context.Context, r actions.MuteRequest) (actionIDs []string, err error)
	EndCall(ctx context.Context, r actions.EndCallRequest) (actionID string, err error)
}

// Live follows a topic from now on, without a group, until ctx ends.
type Live interface {
	Tail(ctx context.Context, topic event.Topic, fn func(event.Envelope)) error
}

// Signer makes the URL by which a browser fetches an object until expires.
type Signer interface {
	SignGet(key string, expires time.Time) string
}

// Storages are the external storages; *storage.Stores is one.
type Storages interface {
	// Check writes into a storage, reads it back and returns a link to it. It
	// returns storage.ErrUnknown or a *storage.CheckError.
	Check(ctx context.Context, name string) (link string, err error)
}

// Config is what a Server is made of. Fields without "may be nil" are needed.
type Config struct {
	// Listen is the TCP address, "127.0.0.1:8080"; port 0 takes a free one.
	Listen string
	DB     *db.DB
	Auth   *auth.Auth
	// Actions, Live and Signer are the behaviour of other parts.
	Actions Actions
	Live    Live
	Signer  Signer
	// WallSigner makes the URLs of the live wall, which lie on our own origin
	// wherever the frame is. May be nil: then Signer.
	WallSigner Signer
	// Storages checks external storages. May be nil: then none can be checked.
	Storages Storages
	// WHIP, WHEP and Blobs serve /whip/, /whep/ and /s/. Each may be nil:
	// then its paths are not found. They check their callers themselves.
	WHIP, WHEP, Blobs http.Handler
	// Hooks delivers events. May be nil: then hooks can be looked at only.
	Hooks Hooks
	// Gatherer is what /metrics shows. May be nil: then it is not found.
	Gatherer prometheus.Gatherer
	// Registerer takes the server's own metrics. May be nil.
	Registerer prometheus.Registerer
	// CheckURL refuses webhook addresses that may not be reached, when they
	// are entered. May be nil.
	CheckURL func(rawURL string) error
	// Seal keeps the secrets of hooks and storages. May be nil: then none are
	// taken.
	Seal *seal.Box
	// Queues sends test messages for check_sqs and check_sns. May be nil: then
	// they are not available.
	Queues QueueProber
	// Checks are asked by /readyz, by name, with two seconds each.
	Checks map[string]func(context.Context) error
	// PublicURL is the origin clients reach the server by; "" when not known.
	PublicURL string
	// ImageOrigins are the origins, besides our own and PublicURL, that signed
	// URLs lie on.
	ImageOrigins []string
	// DefaultMode is the frame recording mode that the call type "default"
	// gets when the database has none yet; "" means "available".
	DefaultMode string
	// Policy is the policy file's, shown as what holds where no rule of the API
	// does.
	Policy moderation.Policy
	// Labels are what the loaded models can say; a rule that asks for others is
	// warned of. May be nil.
	Labels func() []string
	// RateLimit is how many requests a minute the API takes from a user, and
	// 20 times that from the backend; 0 is no limit.
	RateLimit int
	// Recorder starts, stops and keeps full recordings. May be nil: then those
	// orders answer 503.
	Recorder Recorder
	// CheckKey refuses OpenPGP public keys (settings.recording.encrypt_to) that
	// nothing can be encrypted to; the error says why. May be nil: then only
	// the armor is looked at.
	CheckKey func(armored string) error
	// CheckName refuses templates of file names (settings.recording.filename)
	// that no name can be made of; the error says why. May be nil: then only
	// what could leave its folder is refused.
	CheckName func(template string) error
	// Recording is what holds for callers without recording permissions.
	Recording permission.System
	// Log may be nil: then slog.Default.
	Log *slog.Logger
	// Now may be nil: then time.Now.
	Now func() time.Time
}

func (c *Config) fillIn() {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "web")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.PublicURL != "" {
		c.ImageOrigins = append(slices.Clone(c.ImageOrigins), c.PublicURL)
	}
	if c.DefaultMode == "" {
		c.DefaultMode = ModeAvailable
	}
}
