package main

import (
	"context"

	"stillwatch/recording/archive"
	"stillwatch/recording/permission"
	"stillwatch/web"
)

// startWeb starts the HTTP side, last of all: who asks finds everything there.
func (p *Program) startWeb(ctx context.Context) error {
	p.measure()
	p.web = web.New(web.Config{
		Listen: p.cfg.HTTP.Listen, DB: p.db, Auth: p.auth,
		Actions: p.desk, Live: p.bus, Signer: p.stores, WallSigner: p.blobs, Storages: p.stores,
		WHIP: p.whip, WHEP: p.whep, Blobs: p.blobs.Handler(),
		CheckURL: p.checkHookURL, Hooks: p.hooks, Queues: p.hooks, Seal: p.seal,
		Recorder: p.recorder.Desk(), CheckKey: func(armored string) error { _, err := archive.CheckKey(armored); return err }, CheckName: archive.CheckTemplate,
		Gatherer: p.metrics, Registerer: p.metrics,
		Checks: map[string]func(context.Context) error{
			"redis":    p.bus.Ready,
			"database": p.db.PingContext,
			"objects":  p.blobs.Ready,
			"models":   p.modelsReady,
			"disk":     p.diskReady,
		},
		Policy: p.classify.FilePolicy(), Labels: p.labels,
		PublicURL: p.URL(), DefaultMode: p.cfg.Capture.DefaultMode, Log: p.log,
		RateLimit: p.cfg.HTTP.RateLimit, Recording: p.recordingSystem(),
	})
	return p.begin(ctx, "web", p.web)
}

// recordingSystem is what holds for callers without recording permissions.
func (p *Program) recordingSystem() permission.System {
	r := p.cfg.Recording
	return permission.System{Record: permission.Type(r.Record), RecordIncomingPSTN: r.RecordIncomingPSTN}
}
