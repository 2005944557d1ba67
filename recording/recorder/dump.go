package recorder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/uptrace/bun"

	"stillwatch/recording/raw"
)

// dumpStep writes the packets of each stream as they came, as rtpdump files.
func (r *Recorder) dumpStep(ctx context.Context, t *task) error {
	reader, err := r.openRaw(t.run.SessionID)
	if err != nil {
		return fmt.Errorf("%w: %w", errPackets, err)
	}
	var out outputs
	for n, s := range reader.Streams() {
		if t.plan.RawAudioOnly && s.Video() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := fmt.Sprintf("stream%d.rtpdump", n)
		if err := dump(reader, s.ID, filepath.Join(t.dir, name)); err != nil {
			return err
		}
		out.Files = append(out.Files, output{
			Parts: []string{name}, Kind: kindRaw, Format: "rtpdump", UserID: s.UserID, Track: string(s.Type),
			From: s.At, To: reader.Length(), N: n,
		})
	}
	return r.queue.Done(ctx, t.job, out, func(ctx context.Context, tx bun.Tx) error { return t.storeNext(ctx, tx) })
}

// dump writes one stream's file, whole or not at all.
func dump(reader *raw.Reader, streamID, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".dump-*")
	if err != nil {
		return fmt.Errorf("dump packets: %w", err)
	}
	defer os.Remove(f.Name())
	if err := reader.Dump(streamID, f); err != nil {
		_ = f.Close()
		return fmt.Errorf("dump packets of %s: %w", streamID, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("dump packets: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("dump packets: %w", err)
	}
	return nil
}
