package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"stillwatch/cmd/stillwatch/internal/meter"
)

type benchWebhookCmd struct {
	Rate     int           `help:"Frame events a second." default:"1000"`
	Actions  int           `help:"Events a second, besides, that may not be lost." default:"10"`
	Duration time.Duration `help:"How long each of the two phases takes." default:"20s"`
	MaxRSS   int           `help:"Fail when the program's resident memory exceeds this many MB; 0: whatever it is." default:"0"`
	JSON     bool          `help:"Print JSON only."`
}

func (benchWebhookCmd) Help() string {
	return `Captured frames go through Redis, the notifier and the delivery to a receiver in this process: first alone, then beside a hook whose receiver takes requests and never answers. Times run from the frame's capture to its arrival.

Example: stillwatch bench webhook --rate 1000 --duration 20s --json`
}

// webhookPhase is what one phase showed of the receiver that answers.
type webhookPhase struct {
	Sent            int               `json:"frames_sent"`
	Delivered       int               `json:"frames_delivered"`
	PerSecond       float64           `json:"delivered_per_second"`
	LatencyMS       meter.Percentiles `json:"latency_ms"`
	ActionsSent     int               `json:"actions_sent"`
	ActionsArrived  int               `json:"actions_delivered"`
	ActionLatencyMS meter.Percentiles `json:"action_latency_ms"`
	// Skipped is what the bus passed over as too old, Dropped what the queue
	// of this hook had no room for, and Hanging that of the other one.
	Skipped int     `json:"frames_skipped_on_the_bus"`
	Dropped int     `json:"frames_dropped"`
	Hanging int     `json:"frames_dropped_for_the_hanging_receiver"`
	RSSMB   float64 `json:"rss_mb"`
	CPU     float64 `json:"cores"`
}

type webhookReport struct {
	Rate     int          `json:"rate"`
	Alone    webhookPhase `json:"alone"`
	Beside   webhookPhase `json:"beside_a_hanging_receiver"`
	RatioP95 float64      `json:"ratio_p95"`
	Machine  string       `json:"machine"`
}

// Run measures and prints.
func (c benchWebhookCmd) Run(e *env) error {
	if c.Rate < 1 || c.Rate > 100_000 || c.Actions < 0 || c.Duration < time.Second {
		return fmt.Errorf("%w: want --rate of 1 to 100000, --actions of 0 or more and --duration of 1s or more", errUsage)
	}
	dir, err := os.MkdirTemp("", "stillwatch-bench-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	report := webhookReport{Rate: c.Rate, Machine: fmt.Sprintf("%d cores, %s", runtime.NumCPU(), runtime.GOARCH)}
	if report.Alone, err = c.phase(e.ctx, filepath.Join(dir, "alone"), false); err != nil {
		return err
	}
	if report.Beside, err = c.phase(e.ctx, filepath.Join(dir, "beside"), true); err != nil {
		return err
	}
	if report.Alone.LatencyMS.P95 > 0 {
		report.RatioP95 = report.Beside.LatencyMS.P95 / report.Alone.LatencyMS.P95
	}
	if err := c.print(e, report); err != nil {
		return err
	}
	if rss := max(report.Alone.RSSMB, report.Beside.RSSMB); c.MaxRSS > 0 && rss > float64(c.MaxRSS) {
		return fmt.Errorf("resident memory is %.0f MB, more than %d", rss, c.MaxRSS)
	}
	return nil
}

func (c benchWebhookCmd) print(e *env, r webhookReport) error {
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(r)
	}
	for _, p := range []struct {
		name string
		webhookPhase
	}{{"alone", r.Alone}, {"beside a hanging receiver", r.Beside}} {
		fmt.Fprintf(e.stdout, "%s: %d of %d frames, %.0f/s, p50 %.1f p95 %.1f p99 %.1f ms, %d dropped (%d for the one that hangs), %d skipped; %d of %d actions, p95 %.0f ms; %.0f MB, %.2f cores\n",
			p.name, p.Delivered, p.Sent, p.PerSecond, p.LatencyMS.P50, p.LatencyMS.P95, p.LatencyMS.P99, p.Dropped, p.Hanging, p.Skipped,
			p.ActionsArrived, p.ActionsSent, p.ActionLatencyMS.P95, p.RSSMB, p.CPU)
	}
	return nil
}

// phase runs the chain once.
func (c benchWebhookCmd) phase(ctx context.Context, dir string, hanging bool) (p webhookPhase, err error) {
	chain, err := newBenchChain(ctx, dir, hanging)
	if err != nil {
		return p, err
	}
	defer chain.close()
	before, err := meter.Tree(os.Getpid())
	if err != nil {
		return p, err
	}
	start := time.Now()
	if err := chain.publish(ctx, c.Rate, c.Actions, c.Duration); err != nil {
		return p, err
	}
	took := time.Since(start)
	chain.drain(ctx, 10*time.Second)
	after, err := meter.Tree(os.Getpid())
	if err != nil {
		return p, err
	}
	p = chain.witness.sum(took)
	p.Sent, p.ActionsSent = chain.frames, chain.actions
	stats, err := chain.bus.Stats(ctx)
	if err != nil {
		return p, err
	}
	p.Skipped = int(stats.Skipped)
	p.Dropped, p.Hanging = int(chain.hooks.Dropped("answers")), int(chain.hooks.Dropped("hangs"))
	p.RSSMB, p.CPU = float64(after.PSS)/1e6, (after.CPU-before.CPU).Seconds()/took.Seconds()
	return p, nil
}
