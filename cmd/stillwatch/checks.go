package main

import (
	"context"
	"image"
	"slices"

	"stillwatch/actions"
	"stillwatch/internal/event"
	"stillwatch/models"
	"stillwatch/moderation"
)

// startChecks starts what classifies the images that the API is given.
func (p *Program) startChecks(ctx context.Context, cascade *models.Cascade) error {
	return p.begin(ctx, "checks", moderation.NewChecker(moderation.CheckerConfig{
		DB: p.db, Bus: p.bus, Objects: p.blobs, Fetcher: p.guard, Judge: judge(cascade), Policy: p.classify.Policy, Flag: p.flagCheck,
	}))
}

// judge lets the cascade look at a decoded picture.
func judge(cascade *models.Cascade) moderation.Judge {
	return func(ctx context.Context, img image.Image) (event.Verdict, error) {
		res := cascade.Look(ctx, func(size int) ([]byte, error) { return models.Squeeze(img, size), nil })
		return event.Verdict{State: res.State, Reason: res.Reason, Scores: res.Scores, Models: res.Models}, nil
	}
}

// flagCheck puts what a check found into the review queue.
func (p *Program) flagCheck(ctx context.Context, f moderation.CheckFlag) (itemID string, err error) {
	req := actions.FlagRequest{
		EntityType: f.EntityType, EntityID: f.EntityID, UserID: f.EntityCreatorID, ByUserID: moderation.System, Type: "image",
		Labels: f.Labels, Score: f.Score, Reason: f.Reason, Recommend: f.Recommend, ConfigKey: f.ConfigKey, Payload: f.Payload,
	}
	if f.EntityType == event.EntityCall {
		req.CID = f.EntityID
	}
	return p.desk.Flag(ctx, req)
}

// labels are what the loaded models can say.
func (p *Program) labels() []string {
	var out []string
	for _, name := range []string{p.cfg.Models.Small, p.cfg.Models.Large} {
		if name == "" {
			continue
		}
		if model, release, err := p.models.Get(name); err == nil {
			out = append(out, model.Manifest().Labels...)
			release()
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
