package recorder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/uptrace/bun"

	"stillwatch/recording"
	"stillwatch/recording/raw"
)

// dumpStep writes the packets of each stream as they came, as rtpdump files.
// The session may have more than the run is about: what came before its start,
// and what is kept as evidence alone.
func (r *Recorder) dumpStep(ctx context.Context, t *task) error {
	loaded, err := t.open(ctx)
	if err != nil {
		return err
	}
	reader, err := r.openPackets(ctx, t.run.SessionID)
	if err != nil {
		return fmt.Errorf("%w: %w", errPackets, err)
	}
	from, to := t.window(loaded)
	var out outputs
	for n, s := range reader.Streams() {
		if t.leavesStream(s) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := fmt.Sprintf("stream%d.rtpdump", n)
		packets := 0
		err := whole(filepath.Join(t.dir, name), func(f *os.File) (err error) {
			packets, err = reader.DumpBetween(s.ID, f, from, to)
			return err
		})
		if err != nil {
			return err
		}
		if packets == 0 {
			continue
		}
		out.Files = append(out.Files, output{
			Parts: []string{name}, Kind: kindRaw, Format: "rtpdump", UserID: s.UserID, Track: string(s.Type),
			From: max(s.At, from), To: to, N: n,
		})
	}
	return t.done(ctx, out, out.names(), func(ctx context.Context, tx bun.Tx) error { return t.storeNext(ctx, tx) })
}

// leavesStream tells whether a stream is none of the run's.
func (t *task) leavesStream(s raw.StreamInfo) bool {
	return t.run.Type == recording.TypeRaw && t.plan.RawAudioOnly && s.Video() || leavesOut(t.plan, s.UserID, s.Video()) || s.LeftOut() && !t.evidence()
}

// dump writes one stream's file, whole or not at all.
func dump(reader *raw.Reader, streamID, path string) error {
	return whole(path, func(f *os.File) error { return reader.Dump(streamID, f) })
}

// whole has a file written that appears under its name when it is whole.
func whole(path string, write func(f *os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".dump-*")
	if err != nil {
		return fmt.Errorf("dump packets: %w", err)
	}
	defer os.Remove(f.Name())
	if err := write(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("dump packets: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("dump packets: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("dump packets: %w", err)
	}
	return nil
}
