package main

import (
	"context"
	"net/url"

	"stillwatch/actions/amqp"
	"stillwatch/actions/awsqueue"
	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/actions/redisstream"
	"stillwatch/actions/sns"
	"stillwatch/actions/sqs"
	"stillwatch/actions/webhook"
)

// startDelivery starts what brings public events to hooks, one transport for
// each type of hook.
func (p *Program) startDelivery(ctx context.Context) error {
	out := peer.Out{TLS: p.guard, Plain: p.plain}
	queues := awsqueue.Client{HTTP: out}
	p.hooks = delivery.New(delivery.Config{
		DB: p.db, Bus: p.bus, Seal: p.seal,
		Encoders: map[string]delivery.Encoder{delivery.StyleFileCallback: delivery.EncodeFileCallback},
		Transports: map[string]delivery.Transport{
			webhook.HookType: webhook.New(webhook.Config{
				Client: p.guard, Plain: p.plain, APIKey: p.cred.APIKey, APISecret: p.cred.APISecret,
			}),
			sqs.HookType:         sqs.New(queues),
			sns.HookType:         sns.New(queues),
			amqp.HookType:        amqp.New(out),
			redisstream.HookType: redisstream.New(redisstream.Config{Own: p.redisURL(), Out: out}),
		},
	})
	return p.begin(ctx, "delivery", p.hooks)
}

// redisURL is the address of the program's own Redis.
func (p *Program) redisURL() string {
	if p.redis != nil {
		return p.redis.URL()
	}
	return p.cfg.Redis.URL
}

// checkHookURL refuses webhook addresses that would never be reached, as far
// as can be told when they are entered.
func (p *Program) checkHookURL(rawURL string) error {
	if u, err := url.Parse(rawURL); err == nil && u.Scheme == "http" {
		return p.plain.Check(rawURL)
	}
	return p.guard.Check(rawURL)
}

func (p *Program) measureDelivery(counter func(name, help string, f func() float64)) {
	counter("webhooks_delivered_total", "Lossless events delivered.", func() float64 { return float64(p.hooks.Stats().Delivered) })
	counter("webhook_attempts_failed_total", "Attempts to deliver a lossless event that failed.", func() float64 { return float64(p.hooks.Stats().Failed) })
	counter("webhook_attempts_held_total", "Attempts that a setting of this program forbade, such as netguard.allow.", func() float64 { return float64(p.hooks.Stats().Held) })
	counter("webhook_dead_total", "Lossless events given up. Any increase is an alarm.", func() float64 { return float64(p.hooks.Stats().Dead) })
	counter("webhook_frames_delivered_total", "Frame events delivered.", func() float64 { return float64(p.hooks.Stats().Frames) })
	counter("webhook_frames_dropped_total", "Frame events that found no room or no receiver.", func() float64 { return float64(p.hooks.Stats().FramesDropped) })
	counter("hooks_failing_total", "Hooks that did nothing but fail for a day. Any increase is an alarm.", func() float64 { return float64(p.hooks.Stats().Warned) })
	counter("hooks_disabled_total", "Hooks switched off for failing. Any increase is an alarm.", func() float64 { return float64(p.hooks.Stats().Disabled) })
}
