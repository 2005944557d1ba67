package main

import (
	"context"
	"fmt"
	"net/netip"

	"stillwatch/internal/netguard"
)

// openGuard makes the clients by which the program reaches addresses that
// others chose. The allow list is logged: it is a hole that was meant.
func (p *Program) openGuard(ctx context.Context) error {
	cfg := netguard.Config{}
	for _, cidr := range p.cfg.Netguard.Allow {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return fmt.Errorf("netguard.allow %q: %w", cidr, err)
		}
		cfg.Allow = append(cfg.Allow, prefix)
		p.log.Info("outgoing requests may reach a range that is not public", "range", prefix)
	}
	for _, at := range []string{p.cfg.HTTP.Listen, p.cfg.Media.Listen} {
		cfg.Own = append(cfg.Own, netguard.OwnListeners(ctx, at)...)
	}
	p.guard = netguard.New(cfg)
	p.group.Add("outgoing", closing(p.guard.Close))
	cfg.AllowOnly = !p.cfg.Webhook.PlainHTTP
	p.plain = netguard.New(cfg)
	p.group.Add("outgoing plain", closing(p.plain.Close))
	return p.group.Start(ctx)
}

// guardFor is the client for an address, by whether it is encrypted.
func (p *Program) guardFor(plain bool) *netguard.Client {
	if plain {
		return p.plain
	}
	return p.guard
}

func (p *Program) measureOutgoing(counter func(name, help string, f func() float64)) {
	counter("outgoing_refused_total", "Requests and connections to addresses that may not be reached; nothing was sent.", func() float64 {
		return float64(p.guard.Stats().Refused + p.plain.Stats().Refused)
	})
	counter("frames_external_total", "Frames put into external storages.", func() float64 { return float64(p.stores.Stats().Placed) })
	counter("frames_fallback_total", "Frames that an external storage did not take and that are in our own. Any increase is an alarm.", func() float64 { return float64(p.stores.Stats().FellBack) })
}
