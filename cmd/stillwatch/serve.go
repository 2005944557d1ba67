package main

import (
	"context"
	"fmt"
	"time"
)

type serveCmd struct{}

func (serveCmd) Help() string {
	return "Examples:\n  stillwatch serve\n  stillwatch serve --config stillwatch.yaml\n  STILLWATCH_HTTP_LISTEN=0.0.0.0:8080 stillwatch serve\n\nEnds on SIGTERM or interrupt after what is in hand is done; a second signal ends it at once."
}

// Run serves until a signal comes.
func (serveCmd) Run(e *env) error {
	p := NewProgram(e.cfg, e.log)
	start, cancel := context.WithTimeout(e.ctx, time.Minute)
	err := p.Start(start)
	cancel()
	if err != nil {
		return err
	}
	if p.cred.fresh {
		fmt.Fprintf(e.stdout, "API key and secret were made and are kept in %s/credentials.json; they are shown this once:\n  key    %s\n  secret %s\n", p.cfg.Data.Dir, p.cred.APIKey, p.cred.APISecret)
	}
	e.log.Info("serving", "url", p.URL(), "media", p.cfg.Media.Listen, "data", p.cfg.Data.Dir)
	<-e.ctx.Done()
	e.release() // a second signal now ends the program at once
	e.log.Info("stopping")
	return p.Close()
}
