package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"stillwatch/recording/composite"
	"stillwatch/recording/layout"

	"golang.org/x/sys/unix"
)

type benchCompositeCmd struct {
	Participants int    `help:"How many are in the call, 1 to 25." default:"4"`
	Seconds      int    `help:"How long the call is." default:"30"`
	Layout       string `help:"grid, speaker, screenshare or single." default:"grid"`
	Quality      string `help:"360p, 480p, 720p, 1080p or 1440p." default:"720p"`
	Codec        string `help:"h264, or of a WebM movie vp9 or vp8." enum:"h264,vp9,vp8" default:"h264"`
	Level        string `help:"low, medium or high." enum:"low,medium,high" default:"high"`
	Workers      int    `help:"How many chunks are rendered side by side; 0 is one for each core." default:"0"`
	CRF          int    `help:"x264 quality of the movie; 0 is that of the level." default:"0"`
	ReferenceCRF int    `help:"x264 quality of the reference." default:"23"`
	Clips        string `help:"Folder that keeps the encoded clips." default:"./build/clips" type:"path"`
	JSON         bool   `help:"Print JSON only."`
}

func (benchCompositeCmd) Help() string {
	return `Everybody sends 720p at 25 pictures a second as browsers do: VP8 simulcast of 1500, 500 and 150 kb/s, a keyframe every 4 s.
The movie is made by the workers in chunks; then the reference, one plain ffmpeg with xstack and x264 "veryfast" at its usual quality, of the highest layers. Both run with the same priority and are compared with the same composition of the pictures before they were encoded. CPU counts this process's work on the movie too.

Example: stillwatch bench composite --participants 9 --seconds 30 --layout grid --json`
}

// movieFigures are what a movie cost and how good it is.
type movieFigures struct {
	WallS          float64 `json:"wall_s"`
	CPUS           float64 `json:"cpu_s"`
	RealtimeFactor float64 `json:"realtime_factor"`
	// SSIM is the mean over luma and chroma, weighed 4:1:1.
	SSIM  float64 `json:"ssim"`
	Bytes int64   `json:"bytes"`
}

type compositeReport struct {
	movieFigures
	Reference movieFigures `json:"reference"`
	// Speedup is the reference's wall time over ours, CPURatio likewise.
	Speedup      float64 `json:"speedup"`
	CPURatio     float64 `json:"cpu_ratio"`
	Participants int     `json:"participants"`
	Seconds      int     `json:"seconds"`
	Layout       string  `json:"layout"`
	Codec        string  `json:"codec"`
	Workers      int     `json:"workers"`
	Chunks       int     `json:"chunks"`
}

// Run measures and prints.
func (c benchCompositeCmd) Run(e *env) error {
	l, err := layout.Find(c.Layout)
	if err != nil || c.Participants < 1 || c.Participants > 25 || c.Seconds < 1 || c.Workers < 0 {
		return errors.Join(fmt.Errorf("%w: want --participants of 1 to 25, --seconds of 1 or more, --workers of 0 or more and a --layout that there is", errUsage), err)
	}
	if c.Workers == 0 {
		c.Workers = runtime.NumCPU()
	}
	dir, err := os.MkdirTemp("", "stillwatch-bench-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &compositeBench{env: e, cmd: c, dir: dir}
	b.options = composite.Options{Quality: c.Quality, Level: c.Level, Layout: l, Arrange: layout.Options{MaxTiles: 25}}
	if c.Codec != "h264" {
		b.options.Formats, b.options.WebMCodec = []string{composite.WebM}, c.Codec
	}
	if err := b.run(e.ctx); err != nil {
		return err
	}
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(b.report)
}

type compositeBench struct {
	*env
	cmd     benchCompositeCmd
	dir     string
	options composite.Options
	call    *clipCall
	movie   *composite.Movie
	report  compositeReport
}

func (b *compositeBench) progress(format string, args ...any) {
	if !b.cmd.JSON {
		fmt.Fprintf(b.stderr, "bench: "+format+"\n", args...)
	}
}

func (b *compositeBench) run(ctx context.Context) (err error) {
	b.progress("encoding clips")
	if b.call, err = newClipCall(ctx, b.cmd.Clips, b.cmd.Participants, b.cmd.Seconds); err != nil {
		return err
	}
	b.progress("making the movie")
	ours := filepath.Join(b.dir, "movie.mp4")
	if b.cmd.Codec != "h264" {
		ours = filepath.Join(b.dir, "movie.webm")
	}
	if b.report.movieFigures, err = b.measure(ours, func() error { return b.make(ctx) }); err != nil {
		return fmt.Errorf("make movie: %w", err)
	}
	b.progress("making the reference")
	args, err := b.referenceArgs()
	if err != nil {
		return err
	}
	reference := filepath.Join(b.dir, "reference.mp4")
	b.report.Reference, err = b.measure(reference, func() error {
		// The movie's ffmpegs run with this priority too.
		out, err := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", "ffmpeg"}, append(args, reference)...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make reference: %w", err)
	}
	b.progress("comparing")
	r := &b.report
	if r.SSIM, err = b.compare(ctx, ours); err != nil {
		return err
	}
	if r.Reference.SSIM, err = b.compare(ctx, reference); err != nil {
		return err
	}
	r.Speedup, r.CPURatio = r.Reference.WallS/r.WallS, r.Reference.CPUS/r.CPUS
	r.Participants, r.Seconds, r.Layout, r.Codec, r.Workers, r.Chunks = b.cmd.Participants, b.cmd.Seconds, b.cmd.Layout, b.cmd.Codec, b.cmd.Workers, len(b.movie.Chunks)
	return nil
}

// measure runs f, which writes to path.
func (b *compositeBench) measure(path string, f func() error) (movieFigures, error) {
	began, cpu := time.Now(), allCPU()
	if err := f(); err != nil {
		return movieFigures{}, err
	}
	wall := time.Since(began).Seconds()
	m := movieFigures{WallS: wall, CPUS: (allCPU() - cpu).Seconds(), RealtimeFactor: float64(b.cmd.Seconds) / wall}
	info, err := os.Stat(path)
	if err != nil {
		return m, fmt.Errorf("look at movie: %w", err)
	}
	m.Bytes = info.Size()
	return m, nil
}

// allCPU is the CPU time of this process and of its children that ended.
func allCPU() time.Duration {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_CHILDREN, &ru) != nil {
		return 0
	}
	return selfCPU() + time.Duration(ru.Utime.Nano()+ru.Stime.Nano())
}

// make makes the movie as recorders do, with workers that take chunks.
func (b *compositeBench) make(ctx context.Context) (err error) {
	if b.movie, err = composite.Plan(ctx, b.call, b.options); err != nil {
		return err
	}
	if b.cmd.CRF > 0 && b.cmd.Codec == "h264" {
		b.movie.Encoders[0].CRF = b.cmd.CRF
	}
	paths, errs := make([]string, len(b.movie.Chunks)), make([]error, len(b.movie.Chunks))
	next := make(chan int, len(paths))
	for n := range paths {
		next <- n
	}
	close(next)
	var wg sync.WaitGroup
	for range b.cmd.Workers {
		wg.Go(func() {
			for n := range next {
				paths[n], errs[n] = composite.RenderChunk(ctx, b.call, b.movie, n, b.dir)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = composite.Join(ctx, b.movie, paths, "", b.dir, nil)
	return err
}

// referenceArgs are ffmpeg's to compose the highest layers, without the name
// of the output.
func (b *compositeBench) referenceArgs() ([]string, error) {
	args := []string{"-nostdin", "-loglevel", "error", "-y"}
	tiles := b.movie.Chunks[0].Tiles
	var filters, names, places []string
	for i, t := range tiles {
		path, err := b.call.writeTop(t.StreamID, b.dir)
		if err != nil {
			return nil, err
		}
		args = append(args, "-i", path)
		filters = append(filters, fmt.Sprintf("[%d]scale=%d:%d:force_original_aspect_ratio=increase:flags=area,crop=%d:%d[t%d]", i, t.Rect.W, t.Rect.H, t.Rect.W, t.Rect.H, i))
		names = append(names, fmt.Sprintf("[t%d]", i))
		places = append(places, fmt.Sprintf("%d_%d", t.Rect.X, t.Rect.Y))
	}
	stack := fmt.Sprintf("xstack=inputs=%d:fill=0x101418:layout=%s,", len(tiles), strings.Join(places, "|"))
	if len(tiles) == 1 {
		stack = ""
	}
	filters = append(filters, fmt.Sprintf("%s%spad=%d:%d:0:0:0x101418[out]", strings.Join(names, ""), stack, b.movie.Width, b.movie.Height))
	return append(args, "-filter_complex", strings.Join(filters, ";"), "-map", "[out]", "-frames:v", fmt.Sprint(b.movie.Frames),
		"-c:v", "libx264", "-preset", "veryfast", "-crf", fmt.Sprint(b.cmd.ReferenceCRF), "-movflags", "+faststart"), nil
}
