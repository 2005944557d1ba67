package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"stillwatch/cmd/stillwatch/internal/meter"
)

type benchAPICmd struct {
	Rate     int           `help:"Requests per second, all operations together." default:"200"`
	Calls    int           `help:"How many calls stand in the database; twice as many stills and a twentieth of review items come with them." default:"10000"`
	Duration time.Duration `help:"How long to measure." default:"20s"`
	JSON     bool          `help:"Print JSON only."`
}

func (benchAPICmd) Help() string {
	return `Starts a server on SQLite in a process of its own, fills it, and sends requests at a fixed rate, each operation as often as the others. "client" is counted from the moment at which the request was due, so that waiting behind slow ones counts; "handler" is what the answers' own "duration" says.

Example: stillwatch bench api --rate 200 --calls 10000 --json`
}

// apiReport is what the benchmark prints.
type apiReport struct {
	Calls      int                       `json:"calls"`
	Rate       int                       `json:"rate"`
	MeasuredS  float64                   `json:"measured_s"`
	Sent       int                       `json:"sent"`
	Errors     int                       `json:"errors"`
	Client     meter.Percentiles         `json:"client_ms"`
	Handler    meter.Percentiles         `json:"handler_ms"`
	CPUPercent float64                   `json:"server_cpu_percent_of_a_core"`
	Operations map[string]operationTimes `json:"operations"`
	// Over are the operations whose client p99 is above apiGoal.
	Over []string `json:"over_goal"`
}

type operationTimes struct {
	Client  meter.Percentiles `json:"client_ms"`
	Handler meter.Percentiles `json:"handler_ms"`
	Errors  int               `json:"errors"`
	// Error is the first of them.
	Error string `json:"error,omitempty"`
}

// apiGoal is what no operation's 99th percentile shall exceed.
const apiGoal = 100 * time.Millisecond

// Run measures and prints.
func (c benchAPICmd) Run(e *env) error {
	if c.Rate < 1 || c.Calls < 1 || c.Duration < time.Second {
		return fmt.Errorf("%w: want --rate and --calls of 1 or more and --duration of 1s or more", errUsage)
	}
	dir, err := os.MkdirTemp("", "stillwatch-bench-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &apiBench{env: e, cmd: c, dir: dir}
	report, err := b.run(e.ctx)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(report)
}

type apiBench struct {
	*env
	cmd    benchAPICmd
	dir    string
	server *childServer
	items  []string // ids of review items

	mu   sync.Mutex
	seen map[string]*operationSeen
}

type operationSeen struct {
	client, handler []time.Duration
	errors          int
	first           string
}

func (b *apiBench) progress(format string, args ...any) {
	if !b.cmd.JSON {
		fmt.Fprintf(b.stderr, "bench: "+format+"\n", args...)
	}
}

func (b *apiBench) run(ctx context.Context) (report apiReport, err error) {
	if b.server, err = newServer(b.cfg, b.dir, ""); err != nil {
		return report, err
	}
	b.progress("filling the database with %d calls", b.cmd.Calls)
	if err := b.fill(ctx); err != nil {
		return report, err
	}
	if err := b.server.start(ctx); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	if err := b.prepare(); err != nil {
		return report, err
	}
	b.progress("sending %d requests/s for %v", b.cmd.Rate, b.cmd.Duration)
	before, err := meter.Tree(b.server.cmd.Process.Pid)
	if err != nil {
		return report, err
	}
	start := time.Now()
	b.load(ctx)
	took := time.Since(start)
	after, err := meter.Tree(b.server.cmd.Process.Pid)
	if err != nil {
		return report, err
	}
	report = b.report(took)
	report.CPUPercent = 100 * (after.CPU - before.CPU).Seconds() / took.Seconds()
	return report, ctx.Err()
}

func (b *apiBench) report(took time.Duration) apiReport {
	r := apiReport{Calls: b.cmd.Calls, Rate: b.cmd.Rate, MeasuredS: took.Seconds(), Operations: map[string]operationTimes{}, Over: []string{}}
	var client, handler []time.Duration
	for _, op := range apiOperations {
		s := b.seen[op.name]
		if s == nil {
			continue
		}
		client, handler = append(client, s.client...), append(handler, s.handler...)
		t := operationTimes{meter.Summarise(s.client), meter.Summarise(s.handler), s.errors, s.first}
		r.Operations[op.name] = t
		r.Sent += t.Client.N
		r.Errors += t.Errors
		if t.Client.P99 > float64(apiGoal.Milliseconds()) {
			r.Over = append(r.Over, op.name)
		}
	}
	r.Client, r.Handler = meter.Summarise(client), meter.Summarise(handler)
	return r
}
