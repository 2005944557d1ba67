package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	"stillwatch/actions"
	"stillwatch/actions/webhook"
	"stillwatch/internal/db"
	"stillwatch/models"
	"stillwatch/models/onnx"
	"stillwatch/moderation"
	"stillwatch/moderation/policy"
)

// tensorBytes bounds the tensors that wait for a look: some 300 frames.
const tensorBytes = 128 << 20

// startDecide starts what is between a stored frame and the outside world.
func (p *Program) startDecide(ctx context.Context) error {
	if err := p.startActions(ctx); err != nil {
		return err
	}
	if err := p.startModels(ctx); err != nil {
		return err
	}
	rules, err := p.policy()
	if err != nil {
		return err
	}
	small := models.NewCascade(models.CascadeConfig{Models: p.models, Small: p.cfg.Models.Small, Large: p.cfg.Models.Large})
	p.classify, err = moderation.New(moderation.Config{
		DB: p.db, Bus: p.bus, Policy: rules, Concurrency: p.lookers(), Reuse: p.cfg.Models.Reuse,
		Looker: &looker{cascade: small, tensors: p.tensors, objects: p.stores},
	})
	if err != nil {
		return fmt.Errorf("read policy: %w", err)
	}
	if err := p.begin(ctx, "moderation", p.classify); err != nil {
		return err
	}
	return p.startChecks(ctx, small)
}

func (p *Program) startActions(ctx context.Context) error {
	if err := p.configuredHook(ctx); err != nil {
		return err
	}
	if err := p.startDelivery(ctx); err != nil {
		return err
	}
	p.desk = actions.NewDesk(actions.DeskConfig{DB: p.db, Signer: p.stores, Retention: p.cfg.Capture.Retention})
	p.executor = actions.NewExecutor(actions.Config{DB: p.db, Bus: p.bus, Signer: p.stores, Retention: p.cfg.Capture.Retention})
	if err := p.begin(ctx, "actions", p.executor); err != nil {
		return err
	}
	p.notifier = actions.NewNotifier(actions.NotifierConfig{
		DB: p.db, Bus: p.bus, Signer: p.stores, Sinks: []actions.FrameSink{p.hooks}, URLFor: p.cfg.Capture.Retention,
	})
	return p.begin(ctx, "notifier", p.notifier)
}

// configuredHook keeps the hook that the settings name in the database, where
// the others are, under a fixed id.
func (p *Program) configuredHook(ctx context.Context) error {
	const id = db.ConfiguredHookID
	if p.cfg.Webhook.URL == "" {
		_, err := p.db.NewDelete().Model((*db.HookRow)(nil)).Where("id = ?", id).Exec(ctx)
		return err
	}
	now := db.At(time.Now())
	row := &db.HookRow{ID: id, HookType: webhook.HookType, Enabled: true, WebhookURL: p.cfg.Webhook.URL, TimeoutMS: 6000, CreatedAt: now, UpdatedAt: now}
	row.EventTypes.V, row.Settings.V = []string{}, json.RawMessage(`{}`)
	_, err := p.db.NewInsert().Model(row).On("CONFLICT (id) DO UPDATE").Set("webhook_url = EXCLUDED.webhook_url").Set("enabled = 1").Set("updated_at = EXCLUDED.updated_at").Exec(ctx)
	if err != nil {
		return fmt.Errorf("keep the hook of webhook.url: %w", err)
	}
	return nil
}

func (p *Program) lookers() int {
	if p.cfg.Models.Workers > 0 {
		return p.cfg.Models.Workers
	}
	return runtime.NumCPU()
}

func (p *Program) startModels(ctx context.Context) error {
	rt, err := onnx.New(p.cfg.Models.Runtime)
	if err != nil {
		return err
	}
	if err := p.begin(ctx, "inference runtime", closing(rt.Close)); err != nil {
		return err
	}
	p.tensors = models.NewTensorCache(tensorBytes)
	p.models = models.NewRegistry(models.RegistryConfig{
		Dir: p.cfg.Models.Dir, Log: p.log,
		Open: func(m models.Manifest) (models.Classifier, error) {
			return rt.OpenModel(m, onnx.Options{Sessions: p.lookers()})
		},
	})
	return p.begin(ctx, "models", p.models)
}

// modelsReady tells whether frames can be judged.
func (p *Program) modelsReady(context.Context) error {
	for _, name := range []string{p.cfg.Models.Small, p.cfg.Models.Large} {
		if name == "" {
			continue
		}
		_, release, err := p.models.Get(name)
		if err != nil {
			return err
		}
		release()
	}
	return nil
}

func (p *Program) policy() (policy.Config, error) {
	if p.cfg.Policy.File == "" {
		return policy.Default(), nil
	}
	b, err := os.ReadFile(p.cfg.Policy.File)
	if err != nil {
		return policy.Config{}, fmt.Errorf("read policy: %w", err)
	}
	cfg, err := policy.Parse(b)
	if err != nil {
		return cfg, fmt.Errorf("read policy %s: %w", p.cfg.Policy.File, err)
	}
	return cfg, nil
}

func (p *Program) measureDecide(counter func(name, help string, f func() float64)) {
	counter("verdicts_total", "Frames that were judged or tried to be.", func() float64 { return float64(p.classify.Stats().Frames) })
	counter("verdicts_reused_total", "Verdicts taken over from an unchanged picture.", func() float64 { return float64(p.classify.Stats().Reused) })
	counter("verdicts_unknown_total", "Frames that could not be judged. Any increase is an alarm.", func() float64 { return float64(p.classify.Stats().Unknown) })
	counter("verdicts_skipped_total", "Captured frames that were too old to be judged.", func() float64 { return float64(p.classify.Stats().Skipped) })
	counter("decisions_total", "Decisions of the policy.", func() float64 { return float64(p.classify.Stats().Decisions) })
	counter("actions_confirmed_total", "Actions that have taken effect.", func() float64 { return float64(p.executor.Stats().Confirmed) })
	counter("actions_resent_total", "Orders sent again because nobody confirmed.", func() float64 { return float64(p.executor.Stats().Resent) })
	counter("actions_failed_total", "Actions that nobody confirmed. Any increase is an alarm.", func() float64 { return float64(p.executor.Stats().Failed) })
	p.measureDelivery(counter)
	p.measureOutgoing(counter)
}
