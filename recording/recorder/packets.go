package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stillwatch/internal/db"
	"stillwatch/recording"
	"stillwatch/recording/raw"
)

// VerbDump is that of the audit.
const VerbDump = "recording.dump"

// Dumped is a file of packets that Dump wrote.
type Dumped struct {
	File   string        `json:"file"`
	UserID string        `json:"user_id"`
	Track  string        `json:"track"`
	Codec  string        `json:"codec"`
	At     time.Duration `json:"at"`
}

// ErrNoPackets tells that a recording's packets are gone: they are destroyed
// once nobody needs them.
var ErrNoPackets = errors.New("its packets are gone")

// DumpOrder says what to dump.
type DumpOrder struct {
	RecordingID string
	// Dir is made; By is for the audit.
	Dir, By string
	// Whole is for all that there is of the recording's session: what came
	// before and after it, and what its settings, permissions and publishers
	// leave out.
	Whole bool
}

// Dump writes the packets of a recording into a folder, one rtpdump file each
// stream, as long as they are there: until the files are ready, or, of a
// recording that failed, until its time is over. They are not encrypted there;
// the audit says who took them.
func (r *Recorder) Dump(ctx context.Context, o DumpOrder) ([]Dumped, error) {
	var run db.RecordingRow
	err := r.cfg.DB.NewSelect().Model(&run).Where("id = ?", o.RecordingID).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, recording.ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("read recording %s: %w", o.RecordingID, err)
	}
	if run.SessionID == "" {
		return nil, ErrNoPackets
	}
	reader, err := r.openRaw(run.SessionID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the recording is %s", ErrNoPackets, run.State)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPackets, err)
	}
	t := &task{r: r, run: run, log: r.log}
	var from, to time.Duration
	if !o.Whole {
		if err := t.readPlan(); err != nil {
			return nil, err
		}
		s, err := t.open(ctx)
		if err != nil {
			return nil, err
		}
		from, to = t.window(s)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	detail := map[string]any{"session_id": run.SessionID, "streams": len(reader.Streams()), "whole": o.Whole}
	if !o.Whole {
		detail["from_ms"], detail["to_ms"] = from.Milliseconds(), to.Milliseconds()
	}
	if err := r.audit(ctx, r.cfg.DB, o.By, VerbDump, run.ID, detail); err != nil {
		return nil, err
	}
	out := []Dumped{}
	for n, s := range reader.Streams() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !o.Whole && t.leavesStream(s) {
			continue
		}
		d := Dumped{File: dumpName(n, s), UserID: s.UserID, Track: string(s.Type), Codec: s.MimeType, At: s.At}
		path := filepath.Join(o.Dir, d.File)
		if o.Whole {
			err = dump(reader, s.ID, path)
		} else {
			d.At = max(d.At, from)
			err = dumpWindow(reader, s.ID, path, from, to)
		}
		if errors.Is(err, errNoneThere) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// errNoneThere says that a stream sent nothing in a window.
var errNoneThere = errors.New("no packets")

// dumpWindow writes what a stream sent in a window. Where that is nothing there
// is no file.
func dumpWindow(reader *raw.Reader, streamID, path string, from, to time.Duration) error {
	return whole(path, func(f *os.File) error {
		packets, err := reader.DumpBetween(streamID, f, from, to)
		if err == nil && packets == 0 {
			err = errNoneThere
		}
		return err
	})
}

// dumpName tells whose packets they are. What users may be called, files may not.
func dumpName(n int, s raw.StreamInfo) string {
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}
	parts := []string{fmt.Sprintf("%02d", n), s.UserID, strings.ToLower(strings.TrimPrefix(string(s.Type), "TRACK_TYPE_"))}
	if s.RID != "" {
		parts = append(parts, s.RID)
	}
	name := strings.Map(plain, strings.Join(parts, "-"))
	return name[:min(len(name), 120)] + ".rtpdump"
}
