package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"stillwatch/actions"
	"stillwatch/actions/delivery"
	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/capture/ingest/whep"
	"stillwatch/capture/ingest/whip"
	"stillwatch/capture/node"
	"stillwatch/capture/picture"
	"stillwatch/internal/auth"
	"stillwatch/internal/blob"
	"stillwatch/internal/bus"
	"stillwatch/internal/config"
	"stillwatch/internal/db"
	"stillwatch/internal/netguard"
	"stillwatch/internal/seal"
	"stillwatch/internal/service"
	"stillwatch/internal/storage"
	"stillwatch/internal/telemetry"
	"stillwatch/models"
	"stillwatch/moderation"
	"stillwatch/recording/recorder"
	"stillwatch/web"

	"github.com/prometheus/client_golang/prometheus"
)

// Program is the whole server. It is the only place that knows every
// concrete type; tests start it as main does.
type Program struct {
	cfg     config.Config
	log     *slog.Logger
	cred    credentials
	metrics *prometheus.Registry
	group   service.Group
	lock    *os.File

	auth  *auth.Auth
	seal  *seal.Box
	redis *bus.Server
	bus   *bus.Bus
	db    *db.DB
	relay *db.Relay
	blobs *blob.Store
	// stores are blobs and the external storages.
	stores *storage.Stores

	pictures *picture.Pool
	tensors  *models.TensorCache
	sampler  *capture.Sampler
	node     *node.Node
	calls    *call.Registry
	media    *rtc.Transport
	whip     *whip.Server
	whep     *whep.Server
	recorder *recorder.Recorder

	models   *models.Registry
	classify *moderation.Service
	desk     *actions.Desk
	executor *actions.Executor
	notifier *actions.Notifier
	guard    *netguard.Client
	plain    *netguard.Client // for what goes out unencrypted
	hooks    *delivery.Sender
	web      *web.Server
}

// NewProgram makes a server of checked settings.
func NewProgram(cfg config.Config, log *slog.Logger) *Program {
	return &Program{cfg: cfg, log: log, metrics: telemetry.NewRegistry()}
}

// Start brings all parts up, in the order of the data's way backwards, so
// that whoever is told something is there before whoever tells it. When one
// part cannot start, those before it are closed and its error is returned.
func (p *Program) Start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		p.openData, p.openGuard, p.openStores, p.startDecide, p.startRecorder, p.startHeads, p.startCapture, p.startWeb,
	} {
		if err := step(ctx); err != nil {
			return errors.Join(err, p.Close())
		}
	}
	return nil
}

// Close ends all parts in reverse order and waits for them.
func (p *Program) Close() error {
	errs := []error{p.group.Close()}
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
		p.lock = nil
	}
	return errors.Join(errs...)
}

// URL is the origin that the server is reached by.
func (p *Program) URL() string {
	if p.cfg.HTTP.PublicURL != "" {
		return strings.TrimSuffix(p.cfg.HTTP.PublicURL, "/")
	}
	return "http://" + p.cfg.HTTP.Listen
}

// Auth mints and checks tokens of this server.
func (p *Program) Auth() *auth.Auth { return p.auth }

// begin starts a service and sees to its end.
func (p *Program) begin(ctx context.Context, name string, s service.Service) error {
	p.group.Add(name, s)
	return p.group.Start(ctx)
}

// openData makes the data folder, takes its lock and loads the secrets.
func (p *Program) openData(context.Context) error {
	dir, err := filepath.Abs(p.cfg.Data.Dir)
	if err != nil {
		return fmt.Errorf("find data folder: %w", err)
	}
	p.cfg.Data.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	if p.lock, err = lockFolder(dir); err != nil {
		return err
	}
	if p.cred, err = loadCredentials(p.cfg); err != nil {
		return err
	}
	if p.seal, err = openSeal(p.cfg); err != nil {
		return err
	}
	p.auth = auth.New(p.cred.APIKey, p.cred.APISecret)
	return nil
}
