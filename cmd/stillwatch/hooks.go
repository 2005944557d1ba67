package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"stillwatch/web/api"
)

type hooksCmd struct {
	URL string `help:"Address of the server; by default that of the settings." placeholder:"URL"`

	List   hooksListCmd   `cmd:"" help:"List hooks with their health and backlog."`
	Test   hooksTestCmd   `cmd:"" help:"Send an event to a hook at once and tell what it answered."`
	Replay hooksReplayCmd `cmd:"" help:"Deliver events again, or those that never arrived."`
	Dead   hooksDeadCmd   `cmd:"" help:"List events that were given up."`
}

func (hooksCmd) Help() string {
	return "They ask the running server, with the key of the settings or the data folder.\n\nExamples:\n  stillwatch hooks list\n  stillwatch hooks test backend\n  stillwatch hooks replay backend --since 24h --only-missing\n  stillwatch hooks dead backend --json"
}

const hooksPath = "/api/v2/stillwatch/hooks"

// ask makes a request to the server and prints the whole answer as JSON if
// that is wanted, or else what show writes.
func (c hooksCmd) ask(e *env, asJSON bool, method, path string, query url.Values, body, out any, show func()) error {
	client, err := newAPIClient(e.cfg, c.URL)
	if err != nil {
		return err
	}
	if err := client.call(e.ctx, method, path, query, body, out); err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(e.stdout).Encode(out)
	}
	show()
	return nil
}

type hooksListCmd struct {
	JSON bool `help:"Print JSON."`
}

func (hooksListCmd) Help() string { return "Example: stillwatch hooks list --json" }

// Run lists the hooks.
func (c hooksListCmd) Run(e *env, hooks *hooksCmd) error {
	var out api.HooksResponse
	return hooks.ask(e, c.JSON, http.MethodGet, hooksPath, nil, struct{}{}, &out, func() {
		if len(out.Hooks) == 0 {
			fmt.Fprintln(e.stdout, "no hooks; PATCH /api/v2/app sets them")
			return
		}
		w := tabwriter.NewWriter(e.stdout, 0, 4, 2, ' ', 0)
		defer w.Flush()
		fmt.Fprintln(w, "ID\tTYPE\tSTATE\tPENDING\tDEAD\tDELIVERED\tTARGET\tLAST FAILURE")
		for _, h := range out.Hooks {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", h.ID, h.HookType, hookState(h), h.Pending, h.Dead, h.Delivered, h.Target, h.LastError)
		}
	})
}

func hookState(h api.HookHealth) string {
	switch {
	case !h.Enabled && h.DisabledReason != "":
		return "switched off: " + h.DisabledReason
	case !h.Enabled:
		return "off"
	case h.FailingSince != nil:
		return "failing since " + h.FailingSince.Format(time.RFC3339)
	}
	return "healthy"
}

type hooksTestCmd struct {
	ID   string `arg:"" help:"The hook."`
	JSON bool   `help:"Print JSON."`
}

func (hooksTestCmd) Help() string { return "Example: stillwatch hooks test backend" }

// Run sends the event; that the receiver refused it is an error.
func (c hooksTestCmd) Run(e *env, hooks *hooksCmd) error {
	var out api.TestHookResponse
	err := hooks.ask(e, c.JSON, http.MethodPost, hooksPath+"/"+url.PathEscape(c.ID)+"/test", nil, struct{}{}, &out, func() {
		fmt.Fprintf(e.stdout, "event %s: status %d after %.0f ms\n%s\n", out.EventID, out.Status, out.LatencyMs, out.Response)
	})
	if err == nil && !out.Ok {
		return fmt.Errorf("the receiver did not take it: %s", out.Error)
	}
	return err
}

type hooksReplayCmd struct {
	ID          string        `arg:"" help:"The hook."`
	Event       []string      `help:"Event id; repeat for several." placeholder:"ID" xor:"what" required:""`
	Since       time.Duration `help:"Events of the last so long, such as 24h; they are kept for 720h." xor:"what" required:""`
	Type        []string      `help:"Only events of this type; repeat for several." placeholder:"TYPE"`
	OnlyMissing bool          `help:"Only what was not delivered; what waits for its next attempt goes out at once."`
	JSON        bool          `help:"Print JSON."`
}

func (hooksReplayCmd) Help() string {
	return "Events keep their ids: receivers tell duplicates by them.\n\nExamples:\n  stillwatch hooks replay backend --event 5f0c...\n  stillwatch hooks replay backend --since 24h --only-missing"
}

// Run makes the events due.
func (c hooksReplayCmd) Run(e *env, hooks *hooksCmd) error {
	in := api.ReplayRequest{EventIds: c.Event, EventTypes: c.Type, OnlyMissing: c.OnlyMissing}
	if c.Since < 0 {
		return fmt.Errorf("%w: --since is %v: want more than 0", errUsage, c.Since)
	}
	if c.Since > 0 {
		since := time.Now().Add(-c.Since)
		in.Since = &since
	}
	var out api.ReplayResponse
	return hooks.ask(e, c.JSON, http.MethodPost, hooksPath+"/"+url.PathEscape(c.ID)+"/replay", nil, in, &out, func() {
		if out.Replayed == 0 {
			fmt.Fprintln(e.stdout, "nothing is sent: none of the events that are kept matches")
			return
		}
		fmt.Fprintf(e.stdout, "events on their way: %d\n", out.Replayed)
	})
}

type hooksDeadCmd struct {
	ID   string `arg:"" help:"The hook."`
	Next string `help:"Cursor of the page before." placeholder:"CURSOR"`
	JSON bool   `help:"Print JSON."`
}

func (hooksDeadCmd) Help() string { return "Example: stillwatch hooks dead backend --json" }

// Run lists what was given up, newest first.
func (c hooksDeadCmd) Run(e *env, hooks *hooksCmd) error {
	query := url.Values{"state": {"dead"}, "limit": {"100"}}
	if c.Next != "" {
		query.Set("next", c.Next)
	}
	var out api.DeliveriesResponse
	return hooks.ask(e, c.JSON, http.MethodGet, hooksPath+"/"+url.PathEscape(c.ID)+"/deliveries", query, struct{}{}, &out, func() {
		if len(out.Deliveries) == 0 {
			fmt.Fprintln(e.stdout, "no event was given up")
			return
		}
		w := tabwriter.NewWriter(e.stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "EVENT\tTYPE\tMADE\tATTEMPTS\tLAST FAILURE")
		for _, d := range out.Deliveries {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", d.EventID, d.EventType, d.CreatedAt.Format(time.RFC3339), d.Attempts, d.LastError)
		}
		_ = w.Flush()
		if out.Next != "" {
			fmt.Fprintf(e.stdout, "more: --next %s\n", out.Next)
		}
	})
}
