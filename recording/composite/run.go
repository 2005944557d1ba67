package composite

import (
	"context"
	"fmt"
	"io"
	"time"

	"stillwatch/internal/jail"
)

// ffmpeg runs the command in dir, which is all that it may write to; out gets
// its output and may be nil. It gets out of the way of live calls.
func ffmpeg(ctx context.Context, dir string, readOnly []string, out io.Writer, args []string) error {
	common := []string{"-nostdin", "-hide_banner", "-loglevel", "error", "-y"}
	err := jail.Run(ctx, jail.Command{
		Name: "ffmpeg", Args: append(common, args...), Dir: dir, ReadOnly: readOnly, Stdout: out,
		Timeout: time.Hour, Nice: 10,
	})
	if err != nil {
		return fmt.Errorf("run ffmpeg: %w", err)
	}
	return nil
}
