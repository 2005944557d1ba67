package composite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stillwatch/recording/layout"
)

// ErrNoChunk is returned for a number that the movie has no chunk of.
var ErrNoChunk = errors.New("no such chunk")

// RenderChunk renders chunk n of the movie into dir, which exists, and returns
// the path of its file. A file that is there already is taken as it is, if it is whole; it
// appears under its name only when it is whole, so that several may render the
// same chunk. ffmpeg runs with one thread: workers render chunks side by side.
func RenderChunk(ctx context.Context, src Source, m *Movie, n int, dir string) (path string, err error) {
	if n < 0 || n >= len(m.Chunks) {
		return "", fmt.Errorf("render chunk %d of %d: %w", n, len(m.Chunks), ErrNoChunk)
	}
	path = filepath.Join(dir, ChunkName(n))
	if err := checkNUT(path); err == nil {
		return path, nil
	}
	work, err := os.MkdirTemp(dir, fmt.Sprintf("work-%05d-", n))
	if err != nil {
		return "", fmt.Errorf("render chunk %d: %w", n, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	r := renderer{src: src, m: m, c: m.Chunks[n], dir: work}
	if r.c.Copy {
		err = r.copy(ctx)
	} else {
		err = r.compose(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("render chunk %d: %w", n, err)
	}
	if err := checkNUT(filepath.Join(r.dir, chunkFile)); err != nil {
		return "", fmt.Errorf("render chunk %d: %w", n, err)
	}
	if err := os.Rename(filepath.Join(r.dir, chunkFile), path); err != nil {
		return "", fmt.Errorf("render chunk %d: %w", n, err)
	}
	return path, nil
}

// ChunkName is the name of chunk n's file in its folder.
func ChunkName(n int) string { return fmt.Sprintf("chunk-%05d.nut", n) }

// chunkFile is what a chunk is called while it is rendered.
const chunkFile = "chunk.nut"

// renderer renders one chunk.
type renderer struct {
	src Source
	m   *Movie
	c   Chunk
	dir string // to work in
	// cards are tiles that get a card whatever their stream has.
	cards map[int]bool
	// made are the pieces of each tile.
	made map[int][]piece
}

// compose renders the chunk. Streams of which nothing can be decoded get cards
// in their places: ffmpeg would wait for their pictures for ever, and nobody may
// keep a movie from being made by sending rubbish.
func (r *renderer) compose(ctx context.Context) error {
	args, err := r.args(ctx)
	if err != nil {
		return err
	}
	if err = r.watched(ctx, args); err == nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	r.cards = map[int]bool{}
	for i, parts := range r.made {
		for _, p := range parts {
			if !r.decodes(ctx, p) {
				r.cards[i] = true
			}
		}
	}
	if ctx.Err() != nil || len(r.cards) == 0 && !errors.Is(err, errStalled) {
		return errors.Join(err, ctx.Err())
	}
	if r.dir, err = os.MkdirTemp(r.dir, "again-"); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if args, err = r.args(ctx); err != nil {
		return err
	}
	return r.run(ctx, args)
}

// stall is how long a chunk may not grow before its inputs are looked at.
var stall = 30 * time.Second

var errStalled = errors.New("no picture came out for long")

// watched is run that is broken off when nothing comes out any more.
func (r *renderer) watched(ctx context.Context, args []string) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		tick := time.NewTicker(stall / 10)
		defer tick.Stop()
		grown, size := time.Now(), int64(-1)
		for {
			select {
			case <-inner.Done():
				return
			case <-tick.C:
			}
			if info, err := os.Stat(filepath.Join(r.dir, chunkFile)); err == nil && info.Size() != size {
				grown, size = time.Now(), info.Size()
			}
			if time.Since(grown) > stall {
				cancel(errStalled)
			}
		}
	})
	err := r.run(inner, args)
	if errors.Is(context.Cause(inner), errStalled) {
		return errors.Join(errStalled, err)
	}
	return err
}

// errBare is for a chunk without a picture, as ffmpeg leaves it, content, when
// one of the inputs has none.
var errBare = errors.New("no picture came out")

func (r *renderer) run(ctx context.Context, args []string) error {
	if err := ffmpeg(ctx, r.dir, nil, nil, args); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(r.dir, chunkFile))
	if err != nil {
		return fmt.Errorf("look at chunk: %w", err)
	}
	if info.Size() < 1024 { // x264 alone says more about itself
		return errBare
	}
	return nil
}

// decodes tells whether ffmpeg gets a picture out of a piece.
func (r *renderer) decodes(ctx context.Context, p piece) bool {
	return r.pictures(ctx, []string{"-threads", "1", "-max_pixels", maxPixels, "-f", "ivf", "-i", filepath.Base(p.path), "-frames:v", "1"}) > 0
}

// pictures is how many come out of ffmpeg; 0 when it fails or takes too long.
func (r *renderer) pictures(ctx context.Context, args []string) (n int) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var sums bytes.Buffer
	if err := ffmpeg(ctx, r.dir, nil, &sums, append(args, "-max_error_rate", "1", "-f", "framecrc", "-")); err != nil {
		return 0
	}
	for line := range strings.Lines(sums.String()) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// args writes the inputs of the chunk and says how ffmpeg puts them together.
func (r *renderer) args(ctx context.Context) ([]string, error) {
	g := &graph{m: r.m}
	var overs []over
	r.made = map[int][]piece{}
	for i, t := range r.c.Tiles {
		if t.StreamID != "" && !r.cards[i] {
			var err error
			if r.made[i], err = pieces(ctx, r.src, r.m, r.c, i, r.dir); err != nil {
				return nil, err
			}
		}
		if len(r.made[i]) == 0 {
			if err := g.drawCard(t, i, r.dir); err != nil {
				return nil, err
			}
			continue
		}
		g.picture(t, r.made[i])
		if t.Label && t.Name != "" {
			o, err := nameOver(t, i, r.dir)
			if err != nil {
				return nil, err
			}
			overs = append(overs, o)
		}
	}
	if r.m.Watermark != "" {
		o, err := watermark(r.m, r.dir)
		if err != nil {
			return nil, err
		}
		overs = append(overs, o)
	}
	g.finish(r.c, overs)
	return g.args(r.m.frame(r.c.To)-r.m.frame(r.c.From), chunkFile), nil
}

func (g *graph) drawCard(t Tile, i int, dir string) error {
	ground, err := colour(g.m.Background)
	if err != nil {
		return err
	}
	img, err := card(t.Name, t.Rect.W, t.Rect.H, ground)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fmt.Sprintf("card-%02d.png", i))
	if err := savePNG(path, img); err != nil {
		return err
	}
	g.card(path, t.Rect)
	return nil
}

// nameOver draws a name for the lower left corner of its tile.
func nameOver(t Tile, i int, dir string) (over, error) {
	img, err := label(t.Name, min(max(float64(t.Rect.H)/16, 11), 28), t.Rect.W)
	if err != nil {
		return over{}, err
	}
	o := over{path: filepath.Join(dir, fmt.Sprintf("name-%02d.png", i)), x: t.Rect.X, y: max(t.Rect.Bottom()-img.Bounds().Dy(), t.Rect.Y)}
	return o, savePNG(o.path, img)
}

func watermark(m *Movie, dir string) (over, error) {
	img, err := label(m.Watermark, min(max(float64(m.Height)/28, 11), 32), m.Width)
	if err != nil {
		return over{}, err
	}
	size := img.Bounds().Size()
	at := layout.Rect{X: (m.Width - size.X) &^ 1, Y: (m.Height - size.Y) &^ 1}
	o := over{path: filepath.Join(dir, "watermark.png"), x: at.X, y: at.Y}
	return o, savePNG(o.path, img)
}
