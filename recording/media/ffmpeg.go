package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"stillwatch/internal/jail"
)

// feed is an input of ffmpeg that is written while it reads.
type feed struct {
	// args stand before -i.
	args  []string
	write func(ctx context.Context, w io.Writer) error
}

// timeout bounds one run of ffmpeg.
const timeout = 12 * time.Hour

// ffmpeg runs the command in the jail with the feeds as its inputs 0, 1, ...
// and the folder as the only one it may write to.
func ffmpeg(ctx context.Context, dir string, feeds []feed, args ...string) error {
	return ffmpegTo(ctx, dir, nil, feeds, append([]string{"-xerror", "-y"}, args...)...)
}

// ffmpegTo is ffmpeg that may write to a stream, and goes on after what cannot
// be decoded.
func ffmpegTo(ctx context.Context, dir string, out io.Writer, feeds []feed, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := []string{"-hide_banner", "-nostdin", "-loglevel", "error"}
	var readers, writers []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close()
		}
	}
	for i, f := range feeds {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(readers)
			closeAll(writers)
			return fmt.Errorf("open pipe: %w", err)
		}
		readers, writers = append(readers, r), append(writers, w)
		all = append(append(all, f.args...), "-i", fmt.Sprintf("pipe:%d", 3+i))
	}
	errs := make([]error, len(feeds))
	var wait sync.WaitGroup
	for i, f := range feeds {
		wait.Go(func() {
			err := f.write(ctx, writers[i])
			if errors.Is(err, syscall.EPIPE) {
				err = nil // it had enough, or failed, which it tells itself
			}
			if err != nil {
				errs[i] = fmt.Errorf("feed ffmpeg: %w", err)
				cancel() // what it makes of a part must not pass for the whole
			}
			_ = writers[i].Close()
		})
	}
	err := jail.Run(ctx, jail.Command{Name: "ffmpeg", Args: append(all, args...), Dir: dir, Stdout: out, ExtraFiles: readers, Timeout: timeout, Nice: 5})
	closeAll(readers)
	wait.Wait()
	if fed := errors.Join(errs...); fed != nil {
		return fed
	}
	return err
}
