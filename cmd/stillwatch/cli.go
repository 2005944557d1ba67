package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"

	"stillwatch/internal/config"
	"stillwatch/internal/telemetry"

	"github.com/alecthomas/kong"
)

// cli is the command line. Each command stands in a file of its own.
type cli struct {
	Config string `help:"Settings file (YAML). Every setting can be given in the environment too; see docs/stillwatch.yaml." type:"path" placeholder:"FILE"`

	Serve      serveCmd      `cmd:"" help:"Run the server."`
	Recordings recordingsCmd `cmd:"" help:"Look after full recordings: list, hold, retry, import, work."`
	Demo       demoCmd       `cmd:"" help:"Run the server with a synthetic call: stills arrive, one participant is flagged and banned."`
	Bench      benchCmd      `cmd:"" help:"Measure."`
	Models     modelsCmd     `cmd:"" help:"Build and inspect the classifier models."`
	Hooks      hooksCmd      `cmd:"" help:"Look after the hooks that events are delivered to."`
	Evidence   evidenceCmd   `cmd:"" help:"Export a recording under a signed manifest, and verify such an export."`
	Token      tokenCmd      `cmd:"" help:"Mint a token for a backend, a participant or a moderator."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// env is what a command gets to work with.
type env struct {
	ctx context.Context
	// release gives interrupt signals back to the default, so that a second
	// one ends the program at once.
	release        func()
	stdout, stderr io.Writer
	cfg            config.Config
	log            *slog.Logger
}

// errUsage marks an error whose text is all that needs to be said.
var errUsage = errors.New("usage")

// run parses args, runs the command and returns the exit code: 0 done, 1
// failed, 2 wrong usage or settings.
func run(ctx context.Context, release func(), args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("stillwatch"),
		kong.Description("stillwatch watches live calls through still frames, decides by a policy and acts.\n\nExample: stillwatch serve --config stillwatch.yaml"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "stillwatch:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintln(stderr, "stillwatch:", err)
		return 2
	}
	e, err := newEnv(ctx, release, c.Config, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "stillwatch:", err)
		return 2
	}
	if err := k.Run(e); err != nil {
		fmt.Fprintln(stderr, "stillwatch:", err)
		if errors.Is(err, syscall.EADDRINUSE) {
			fmt.Fprintln(stderr, "stillwatch: another program listens there; STILLWATCH_HTTP_LISTEN and STILLWATCH_MEDIA_LISTEN choose other addresses")
		}
		if errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}
	return 0
}

func newEnv(ctx context.Context, release func(), path string, stdout, stderr io.Writer) (*env, error) {
	cfg, err := config.Load(path, environ())
	if err != nil {
		return nil, err
	}
	log, err := telemetry.NewLogger(stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return nil, err
	}
	slog.SetDefault(log)
	return &env{ctx: ctx, release: release, stdout: stdout, stderr: stderr, cfg: cfg, log: log}, nil
}
