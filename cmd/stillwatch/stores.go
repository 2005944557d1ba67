package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"stillwatch/actions"
	"stillwatch/actions/delivery"
	"stillwatch/internal/blob"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/retention"
	"stillwatch/internal/storage"
	"stillwatch/moderation"
)

// openStores opens the bus, the database and the object store, each embedded
// in the data folder unless the settings name a server.
func (p *Program) openStores(ctx context.Context) error {
	if err := p.openBus(ctx); err != nil {
		return err
	}
	if err := p.openDatabase(ctx); err != nil {
		return err
	}
	if err := p.openBlobs(ctx); err != nil {
		return err
	}
	p.relay = db.NewRelay(p.db, p.bus, db.RelayConfig{})
	if err := p.begin(ctx, "outbox relay", p.relay); err != nil {
		return err
	}
	return p.begin(ctx, "retention", retention.New(p.db, p.stores, retention.Config{Log: p.log, External: p.cfg.Blob.DeleteExternal}))
}

func (p *Program) openBus(ctx context.Context) error {
	at := p.cfg.Redis.URL
	if at == "" {
		dir := filepath.Join(p.cfg.Data.Dir, "redis")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make redis folder: %w", err)
		}
		p.redis = bus.NewServer(dir)
		if err := p.begin(ctx, "redis", p.redis); err != nil {
			return err
		}
		at = p.redis.URL()
	}
	var err error
	if p.bus, err = bus.Open(ctx, bus.Config{URL: at}); err != nil {
		return err
	}
	p.group.Add("bus", closing(p.bus.Close))
	if err := p.group.Start(ctx); err != nil {
		return err
	}
	return p.declareGroups(ctx)
}

// declareGroups makes the groups of the lossless topics known before anything
// is published, so that none begins behind an entry that the others are done
// with.
func (p *Program) declareGroups(ctx context.Context) error {
	for _, g := range []struct {
		topic event.Topic
		name  string
	}{
		{event.TopicActions, actions.GroupExecutors},
		{event.TopicConfirmed, actions.GroupConfirmed},
		{event.TopicChecks, moderation.GroupOutside},
		{event.TopicChecks, moderation.GroupChecks},
		{event.TopicPublic, delivery.Group},
	} {
		if err := p.bus.Declare(ctx, g.topic, g.name); err != nil {
			return fmt.Errorf("declare group %s: %w", g.name, err)
		}
	}
	return nil
}

func (p *Program) openDatabase(ctx context.Context) error {
	at := p.cfg.Database.URL
	if at == "" {
		at = "sqlite://" + filepath.Join(p.cfg.Data.Dir, "stillwatch.db")
	}
	var err error
	if p.db, err = db.Open(ctx, at); err != nil {
		return err
	}
	p.db.PublicURL = p.URL()
	p.group.Add("database", closing(p.db.Close))
	return p.group.Start(ctx)
}

func (p *Program) openBlobs(ctx context.Context) error {
	at := p.cfg.Blob.URL
	if at == "" {
		dir := filepath.Join(p.cfg.Data.Dir, "objects")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make object folder: %w", err)
		}
		at = (&url.URL{Scheme: "file", Path: dir}).String()
	}
	var err error
	if p.blobs, err = blob.Open(ctx, blob.Config{URL: at, Key: p.cred.URLKey, PublicURL: p.URL()}); err != nil {
		return err
	}
	p.group.Add("objects", closing(p.blobs.Close))
	p.stores = storage.New(storage.Config{
		DB: p.db, Seal: p.seal, Own: p.blobs, Log: p.log,
		Client: func(plain bool) *http.Client { return p.guardFor(plain).HTTPClient() },
	})
	p.group.Add("external storages", closing(p.stores.Close))
	if err := p.group.Start(ctx); err != nil {
		return err
	}
	return p.checkSeals(ctx)
}
