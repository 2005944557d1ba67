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

// Dump writes the packets of a recording's session into a folder, which is
// made, one rtpdump file each stream, as long as they are there: until the
// files are ready, or, of a recording that failed, until its time is over. They
// are not encrypted there; the audit says who took them.
func (r *Recorder) Dump(ctx context.Context, recordingID, dir, by string) ([]Dumped, error) {
	var run db.RecordingRow
	err := r.cfg.DB.NewSelect().Model(&run).Where("id = ?", recordingID).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, recording.ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("read recording %s: %w", recordingID, err)
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
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if err := r.audit(ctx, r.cfg.DB, by, VerbDump, run.ID, map[string]any{"session_id": run.SessionID, "streams": len(reader.Streams())}); err != nil {
		return nil, err
	}
	out := []Dumped{}
	for n, s := range reader.Streams() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d := Dumped{File: dumpName(n, s), UserID: s.UserID, Track: string(s.Type), Codec: s.MimeType, At: s.At}
		if err := dump(reader, s.ID, filepath.Join(dir, d.File)); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
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
