package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/storage"
	"stillwatch/recording"
	"stillwatch/recording/mjr"
	"stillwatch/recording/recorder"
)

type recordingsImportCmd struct {
	Paths []string `arg:"" help:"Files (.mjr, a mixer's .wav) or folders of them, of one room; or the folder of one recording that recordings receive wrote." type:"path"`
	Event string   `help:"Event of the conference's end (JSON), which tells who sent what when; without it names and heads of the files do." type:"existingfile" placeholder:"FILE"`
	Call  string   `help:"Call that they are of; by default the event's or the files' room, of the call type default." placeholder:"TYPE:ID"`
	As    []string `help:"What to make: composite, individual, raw." enum:"composite,individual,raw" default:"composite" placeholder:"TYPE"`
	By    string   `help:"Who imports, for the audit." default:"operator" placeholder:"USER"`
	Again bool     `help:"Import files again that were imported before."`
	Wait  bool     `help:"Wait until the files are ready, and print them."`
	JSON  bool     `help:"Print JSON."`
}

func (recordingsImportCmd) Help() string {
	return "The packets are copied, encrypted, into the data folder; a running server, or `stillwatch recordings work`, makes the files by the settings of the call or its type. The same files are imported once. Their own files are left as they are.\n\nExamples:\n  stillwatch recordings import /var/lib/janus/room-77 --wait\n  stillwatch recordings import a.mjr b.mjr --event ended.json --call default:standup --as composite,individual --json"
}

// maxEvent bounds an event, in bytes.
const maxEvent = 16 << 20

// importReport is what import prints.
type importReport struct {
	*recorder.Imported
	Files []importedFile `json:"files,omitempty"`
}

type importedFile struct {
	RecordingID string  `json:"recording_id"`
	Kind        string  `json:"kind"`
	Filename    string  `json:"filename"`
	UserID      string  `json:"user_id,omitempty"`
	Size        int64   `json:"size"`
	Seconds     float64 `json:"seconds"`
	URL         string  `json:"url"`
}

// Run imports.
func (c recordingsImportCmd) Run(e *env) error {
	o := recorder.ImportOrder{Paths: c.Paths, Types: c.As, Again: c.Again, By: c.By}
	if c.Call != "" {
		m := regexp.MustCompile(`^([a-zA-Z0-9_-]{1,64}):([a-zA-Z0-9_-]{1,64})$`).FindStringSubmatch(c.Call)
		if m == nil {
			return fmt.Errorf("%w: --call is %q: want TYPE:ID of letters, digits, - and _", errUsage, c.Call)
		}
		o.CallType, o.CallID = m[1], m[2]
	}
	var err error
	if o.Event, err = readEvent(c.Event); err != nil {
		return err
	}
	return beside(e, func(p *Program) error {
		out, err := p.recorder.Import(e.ctx, o)
		var field *recording.FieldError
		if errors.As(err, &field) {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if errors.Is(err, recorder.ErrImported) {
			return fmt.Errorf("%w; --again imports them once more", err)
		}
		if err != nil {
			return err
		}
		report := importReport{Imported: out}
		if !c.JSON {
			printImported(e.stdout, out)
		}
		if c.Wait {
			if report.Files, err = p.awaitImport(e.ctx, out); err != nil {
				return err
			}
		}
		if c.JSON {
			return json.NewEncoder(e.stdout).Encode(report)
		}
		printFiles(e.stdout, report.Files)
		return nil
	})
}

func readEvent(path string) (*mjr.ConferenceEvent, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEvent))
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	return mjr.ParseEvent(b)
}

func printImported(w io.Writer, out *recorder.Imported) {
	fmt.Fprintf(w, "call %s, %s, %v\n", out.Session.CID, out.Session.StartedAt.Format(time.RFC3339), out.Length.Round(time.Millisecond))
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tUSER\tTRACK\tFROM\tTO\tPACKETS\tDROPPED")
	for _, tr := range out.Tracks {
		fmt.Fprintf(t, "%s\t%s\t%s\t%v\t%v\t%d\t%d\n", tr.File, tr.UserID, tr.MimeType, tr.From, tr.To, tr.Packets, tr.Dropped)
	}
	_ = t.Flush()
	for _, text := range out.Problems {
		fmt.Fprintln(w, "left out:", text)
	}
	for _, r := range out.Recordings {
		fmt.Fprintf(w, "recording %s (%s) is being made\n", r.ID, r.Type)
	}
}

func printFiles(w io.Writer, files []importedFile) {
	if len(files) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "FILE\tKIND\tBYTES\tSECONDS\tLINK")
	for _, f := range files {
		fmt.Fprintf(t, "%s\t%s\t%d\t%.3f\t%s\n", f.Filename, f.Kind, f.Size, f.Seconds, f.URL)
	}
}

// awaitImport waits until all recordings of an import are ready, or one is
// not going to be.
func (p *Program) awaitImport(ctx context.Context, out *recorder.Imported) ([]importedFile, error) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for _, rec := range out.Recordings {
		for {
			var run db.RecordingRow
			if err := p.db.NewSelect().Model(&run).Where("id = ?", rec.ID).Scan(ctx); err != nil {
				return nil, fmt.Errorf("read recording %s: %w", rec.ID, err)
			}
			if run.State == db.RecordingReady {
				break
			}
			if run.State != db.RecordingProcessing {
				return nil, fmt.Errorf("recording %s is %s: %s", rec.ID, run.State, run.Error)
			}
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("wait for recording %s: %w", rec.ID, ctx.Err())
			case <-tick.C:
			}
		}
	}
	return p.importedFiles(ctx, out)
}

func (p *Program) importedFiles(ctx context.Context, out *recorder.Imported) ([]importedFile, error) {
	ids := []string{}
	for _, r := range out.Recordings {
		ids = append(ids, r.ID)
	}
	var rows []db.RecordingFileRow
	err := p.db.NewSelect().Model(&rows).Where("recording_id IN (?)", bun.List(ids)).Where("deleted_at = 0").
		Order("recording_id", "started_at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read files: %w", err)
	}
	files := []importedFile{}
	for _, r := range rows {
		until := time.Now().Add(24 * time.Hour)
		if !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(until) {
			until = r.ExpiresAt.Time
		}
		f := importedFile{RecordingID: r.RecordingID, Kind: r.Kind, Filename: r.Filename, UserID: r.UserID, Size: r.Size, URL: p.stores.SignGet(storage.Ref(r.Storage, r.ObjectKey), until)}
		_, _ = fmt.Sscan(r.Media.V.Format.Duration, &f.Seconds) // 0 where there is none
		files = append(files, f)
	}
	return files, nil
}
