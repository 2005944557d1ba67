package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/recording/recorder"
)

// openBeside opens what a server works with, while it may be running: its
// secrets, database, stores and packets. The lock, the bus and all that
// listens stay the server's.
func (p *Program) openBeside(ctx context.Context) error {
	dir, err := filepath.Abs(p.cfg.Data.Dir)
	if err != nil {
		return fmt.Errorf("find data folder: %w", err)
	}
	p.cfg.Data.Dir = dir
	// What is missing here would be made, and be another's than the server's.
	if _, err := os.Stat(filepath.Join(dir, "node")); err != nil {
		return fmt.Errorf("find the server's data: %w; data.dir must be that of a server that was started once", err)
	}
	if p.cred, err = loadCredentials(p.cfg); err != nil {
		return err
	}
	if p.seal, err = openSeal(p.cfg); err != nil {
		return err
	}
	p.auth = auth.New(p.cred.APIKey, p.cred.APISecret)
	for _, step := range []func(context.Context) error{p.openGuard, p.openDatabase, p.openBlobs} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	node, err := p.nodeID()
	if err != nil {
		return err
	}
	cfg, err := p.recorderConfig(node)
	if err != nil {
		return err
	}
	cfg.WorkerOnly = true
	p.recorder = recorder.New(cfg)
	return nil
}

// beside does something with what openBeside opens, and closes it.
func beside(e *env, do func(p *Program) error) error {
	p := NewProgram(e.cfg, e.log)
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	err := p.openBeside(ctx)
	cancel()
	if err == nil {
		err = do(p)
	}
	return errors.Join(err, p.Close())
}

type recordingsWorkCmd struct {
	Workers int `help:"Steps done at once, 1 to 256; by default recording.workers." placeholder:"N"`
}

func (recordingsWorkCmd) Help() string {
	return "It needs the settings and the data folder of the server, on the same machine or by a shared disk with a database that both reach. Several may run: each takes the next step of the calls that this server carried, so that one call is made by all. With recording.handover it also takes steps of calls that other machines on the database handed over. When one dies, another does its step again. With recording.workers of the server at 1 most of the work is theirs.\n\nEnds on SIGTERM or interrupt; steps under way are done again by others.\n\nExample: stillwatch recordings work --workers 4"
}

// Run works until a signal comes.
func (c recordingsWorkCmd) Run(e *env) error {
	if c.Workers < 0 || c.Workers > 256 {
		return fmt.Errorf("%w: --workers is %d: want 1 to 256", errUsage, c.Workers)
	}
	if c.Workers > 0 {
		e.cfg.Recording.Workers = c.Workers
	}
	return beside(e, func(p *Program) error {
		if err := p.begin(e.ctx, "recorder", p.recorder); err != nil {
			return err
		}
		e.log.Info("working", "data", p.cfg.Data.Dir)
		<-e.ctx.Done()
		e.release() // a second signal now ends the program at once
		st := p.recorder.Stats()
		e.log.Info("stopping", "steps", st.Steps, "failed", st.Failed)
		return nil
	})
}
