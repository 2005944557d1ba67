package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"stillwatch/internal/db"
	"stillwatch/web/api"
)

type recordingsCmd struct {
	URL string `help:"Address of the server; by default that of the settings." placeholder:"URL"`

	List    recordingsListCmd    `cmd:"" help:"List recordings, newest first."`
	Show    recordingsShowCmd    `cmd:"" help:"Show a recording with its files, steps and holds."`
	Hold    recordingsHoldCmd    `cmd:"" help:"Keep a recording's files from every deletion."`
	Release recordingsReleaseCmd `cmd:"" help:"Take the hold off a recording; it takes two persons."`
	Retry   recordingsRetryCmd   `cmd:"" help:"Go on with a recording that has failed."`
	Work    recordingsWorkCmd    `cmd:"" help:"Make files of recordings beside a running server, until a signal comes."`
	Import  recordingsImportCmd  `cmd:"" help:"Make recordings of files that Janus wrote, or of a stream that was received."`
	Receive recordingsReceiveCmd `cmd:"" help:"Receive recordings that a server streams while their calls run."`
	Dump    recordingsDumpCmd    `cmd:"" help:"Write a recording's packets as rtpdump files, for Wireshark."`
}

func (recordingsCmd) Help() string {
	return "list, show, hold, release and retry ask the running server, with the key of the settings or the data folder; work, import and dump use its data folder themselves; receive needs none. See docs/RECORDING.md.\n\nExamples:\n  stillwatch recordings list --state failed\n  stillwatch recordings show $ID\n  stillwatch recordings retry $ID\n  stillwatch recordings import /var/lib/janus/recordings --wait"
}

const recordingsPath = "/api/v2/stillwatch/recordings"

// ask is hooksCmd.ask.
func (c recordingsCmd) ask(e *env, asJSON bool, method, path string, query url.Values, body, out any, show func()) error {
	return hooksCmd{URL: c.URL}.ask(e, asJSON, method, recordingsPath+path, query, body, out, show)
}

type recordingsListCmd struct {
	Call  string `help:"Only those of this call." placeholder:"TYPE:ID"`
	State string `help:"Only those in this state: recording, processing, ready, failed or discarded." enum:",recording,processing,ready,failed,discarded" default:"" placeholder:"STATE"`
	Type  string `help:"Only those of this type: composite, individual or raw." enum:",composite,individual,raw" default:"" placeholder:"TYPE"`
	Limit int    `help:"Most recordings of a page, 1 to 100." default:"25" placeholder:"N"`
	Next  string `help:"Cursor of the page before." placeholder:"CURSOR"`
	JSON  bool   `help:"Print JSON."`
}

func (recordingsListCmd) Help() string {
	return "Examples:\n  stillwatch recordings list --call default:abc\n  stillwatch recordings list --state failed --json"
}

// Run lists recordings.
func (c recordingsListCmd) Run(e *env, r *recordingsCmd) error {
	if c.Limit < 1 || c.Limit > 100 {
		return fmt.Errorf("%w: --limit is %d: want 1 to 100", errUsage, c.Limit)
	}
	query := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	for name, value := range map[string]string{"cid": c.Call, "state": c.State, "recording_type": c.Type, "next": c.Next} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var out api.QueryRecordingsResponse
	return r.ask(e, c.JSON, http.MethodGet, "", query, struct{}{}, &out, func() {
		if len(out.Recordings) == 0 {
			fmt.Fprintln(e.stdout, "no recordings")
			return
		}
		w := tabwriter.NewWriter(e.stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tCALL\tTYPE\tLANE\tSTATE\tSTARTED\tLENGTH\tFAILURE")
		for _, rec := range out.Recordings {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", rec.ID, rec.CallCid, rec.RecordingType, rec.Lane, runState(rec),
				rec.StartedAt.Format(time.RFC3339), runLength(rec), failureOf(rec))
		}
		_ = w.Flush()
		if out.Next != "" {
			fmt.Fprintf(e.stdout, "more: --next %s\n", out.Next)
		}
	})
}

// runState is the state, with what is said of it besides: an order that waits
// for somebody to come to the call has state recording.
func runState(r api.RecordingRun) string {
	out := string(r.State)
	if out == db.RecordingOn && r.SessionID == "" {
		out += ", waiting"
		if r.WaitsUntil != nil {
			out += " until " + r.WaitsUntil.Format(time.RFC3339)
		}
	}
	if r.Hold {
		out += ", held"
	}
	return out
}

func runLength(r api.RecordingRun) string {
	if r.StoppedAt == nil {
		return "-"
	}
	return r.StoppedAt.Sub(r.StartedAt).Round(time.Second).String()
}

func failureOf(r api.RecordingRun) string {
	if r.Error == nil {
		return ""
	}
	return r.Error.Message
}

type recordingsShowCmd struct {
	ID   string `arg:"" help:"Id of the recording." name:"recording_id"`
	JSON bool   `help:"Print JSON."`
}

func (recordingsShowCmd) Help() string {
	return "The links are good for a day, or as long as the files are kept if that is less: who has one sees the file. ID is a recording's whole id, as list shows it.\n\nExample: stillwatch recordings show $ID --json"
}

// Run shows a recording.
func (c recordingsShowCmd) Run(e *env, r *recordingsCmd) error {
	var out api.GetRecordingResponse
	return r.ask(e, c.JSON, http.MethodGet, "/"+url.PathEscape(c.ID), nil, struct{}{}, &out, func() {
		rec := out.Recording
		fmt.Fprintf(e.stdout, "%s  %s  %s (%s)  %s\nstarted %s, length %s\n", rec.ID, rec.CallCid, rec.RecordingType, rec.Lane, runState(rec),
			rec.StartedAt.Format(time.RFC3339), runLength(rec))
		if text := failureOf(rec); text != "" {
			what := "failure:"
			if rec.Error.Code == 0 { // discarded, which is none
				what = "reason:"
			}
			fmt.Fprintln(e.stdout, what, text)
		}
		open := 0
		for _, j := range out.Jobs {
			if j.State != db.JobDone {
				open++
				fmt.Fprintf(e.stdout, "step %s %d: %s, attempt %d, worker %s  %s\n", j.Kind, j.N, j.State, j.Attempts+1, cmp.Or(j.Worker, "none"), j.Error)
			}
		}
		fmt.Fprintf(e.stdout, "steps done: %d of %d\n", len(out.Jobs)-open, len(out.Jobs))
		for _, h := range out.Holds {
			fmt.Fprintf(e.stdout, "hold by %s at %s: %s%s\n", h.PlacedBy, h.PlacedAt.Format(time.RFC3339), h.Reason, holdState(h))
		}
		if len(out.Files) == 0 {
			return
		}
		w := tabwriter.NewWriter(e.stdout, 0, 4, 2, ' ', 0)
		defer w.Flush()
		fmt.Fprintln(w, "FILE\tBYTES\tSECONDS\tLINK")
		for _, f := range out.Files {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", f.Filename, f.Size, f.Media.Format.Duration, f.PlaybackURL)
		}
	})
}

func holdState(h api.RecordingHold) string {
	switch {
	case h.ReleasedAt != nil:
		return " (released by " + h.ReleaseAskedBy + " and " + h.ReleasedBy + ")"
	case h.ReleaseAskedAt != nil:
		return " (" + h.ReleaseAskedBy + " asks for its release)"
	}
	return ""
}

type recordingsHoldCmd struct {
	ID     string `arg:"" help:"Id of the recording." name:"recording_id"`
	Reason string `help:"Why." required:"" placeholder:"TEXT"`
	By     string `help:"The user who holds it." required:"" placeholder:"USER"`
	JSON   bool   `help:"Print JSON."`
}

func (recordingsHoldCmd) Help() string {
	return "Example: stillwatch recordings hold $ID --reason 'case 17' --by mo"
}

// Run places the hold.
func (c recordingsHoldCmd) Run(e *env, r *recordingsCmd) error {
	var out api.OKResponse
	return r.ask(e, c.JSON, http.MethodPost, "/"+url.PathEscape(c.ID)+"/hold", nil, api.HoldRequest{Reason: c.Reason, UserID: c.By}, &out, func() {
		fmt.Fprintln(e.stdout, "held")
	})
}

type recordingsReleaseCmd struct {
	ID   string `arg:"" help:"Id of the recording." name:"recording_id"`
	By   string `help:"The user who asks, or confirms what another one has asked." required:"" placeholder:"USER"`
	JSON bool   `help:"Print JSON."`
}

func (recordingsReleaseCmd) Help() string {
	return "Example: stillwatch recordings release $ID --by mo"
}

// Run asks for the release, or confirms it.
func (c recordingsReleaseCmd) Run(e *env, r *recordingsCmd) error {
	var out api.ReleaseResponse
	return r.ask(e, c.JSON, http.MethodPost, "/"+url.PathEscape(c.ID)+"/release", nil, api.ReleaseRequest{UserID: c.By}, &out, func() {
		if out.Released {
			fmt.Fprintln(e.stdout, "released")
			return
		}
		fmt.Fprintln(e.stdout, "asked for; it is held until somebody else confirms")
	})
}

type recordingsRetryCmd struct {
	ID   string `arg:"" help:"Id of the recording." name:"recording_id"`
	JSON bool   `help:"Print JSON."`
}

func (recordingsRetryCmd) Help() string {
	return "The packets of what failed are kept for recording.keep_failed.\n\nExample: stillwatch recordings retry $ID"
}

// Run has the recording made.
func (c recordingsRetryCmd) Run(e *env, r *recordingsCmd) error {
	var out api.OKResponse
	return r.ask(e, c.JSON, http.MethodPost, "/"+url.PathEscape(c.ID)+"/retry", nil, struct{}{}, &out, func() {
		fmt.Fprintln(e.stdout, "it is being made")
	})
}
