package composite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"stillwatch/recording/layout"
)

// ErrNoChunk is returned for a number that the movie has no chunk of.
var ErrNoChunk = errors.New("no such chunk")

// RenderChunk renders chunk n of the movie into dir, which exists, and returns
// the path of its file. A file that is there already is taken as it is; it
// appears under its name only when it is whole, so that several may render the
// same chunk. ffmpeg runs with one thread: workers render chunks side by side.
func RenderChunk(ctx context.Context, src Source, m *Movie, n int, dir string) (path string, err error) {
	if n < 0 || n >= len(m.Chunks) {
		return "", fmt.Errorf("render chunk %d of %d: %w", n, len(m.Chunks), ErrNoChunk)
	}
	path = filepath.Join(dir, fmt.Sprintf("chunk-%05d.nut", n))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	work, err := os.MkdirTemp(dir, fmt.Sprintf("work-%05d-", n))
	if err != nil {
		return "", fmt.Errorf("render chunk %d: %w", n, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	c := m.Chunks[n]
	var args []string
	const out = "chunk.nut"
	if c.Copy {
		args, err = copyArgs(ctx, src, m, c, work, out)
	} else {
		args, err = chunkArgs(ctx, src, m, c, work, out)
	}
	if err != nil {
		return "", fmt.Errorf("render chunk %d: %w", n, err)
	}
	if err := ffmpeg(ctx, work, nil, args); err != nil {
		return "", fmt.Errorf("render chunk %d: %w", n, err)
	}
	if err := os.Rename(filepath.Join(work, out), path); err != nil {
		return "", fmt.Errorf("render chunk %d: %w", n, err)
	}
	return path, nil
}

// chunkArgs writes the inputs of a chunk into dir and says how ffmpeg puts
// them together.
func chunkArgs(ctx context.Context, src Source, m *Movie, c Chunk, dir, out string) ([]string, error) {
	g := &graph{m: m}
	var overs []over
	for i, t := range c.Tiles {
		var parts []piece
		if t.StreamID != "" {
			var err error
			if parts, err = pieces(ctx, src, m, c, i, dir); err != nil {
				return nil, err
			}
		}
		if len(parts) == 0 {
			if err := g.drawCard(t, i, dir); err != nil {
				return nil, err
			}
			continue
		}
		g.picture(t, parts)
		if t.Label && t.Name != "" {
			o, err := nameOver(t, i, dir)
			if err != nil {
				return nil, err
			}
			overs = append(overs, o)
		}
	}
	if m.Watermark != "" {
		o, err := watermark(m, dir)
		if err != nil {
			return nil, err
		}
		overs = append(overs, o)
	}
	g.finish(c, overs)
	return g.args(m.frame(c.To)-m.frame(c.From), out), nil
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
