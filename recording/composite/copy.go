package composite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"stillwatch/recording/layout"
)

// bare is how long a movie that is copied may be without a picture at its
// beginning and end together: the first and last ones stand there.
const bare = time.Second

// longestWhole is how long a movie may be that is copied and cut in segments,
// for which all of it is held in memory.
const longestWhole = 5 * time.Minute

// copy makes the movie one chunk that is copied, if all of it is the pictures
// of one stream as they are. Copied pieces between encoded ones would need
// parameter sets to change within the file, which not every player of MP4
// takes; so it is all or nothing. With the quality vga it is nothing: how large
// such a movie gets is promised, and what somebody sends keeps no promise.
func (p *planner) copy(ctx context.Context, src Source) error {
	t, ok := p.only()
	if !ok || p.o.Quality == vga || p.m.Length() > longestWhole && slices.Contains(p.m.Formats, HLS) {
		return nil
	}
	c := Chunk{To: p.m.Length(), Tiles: []Tile{t}, Copy: true}
	for s, err := range decodable(ctx, src, t.StreamID, p.m.Start, p.m.Start+p.m.Length()) {
		switch {
		case err != nil:
			return err
		case c.Pictures == 0 && s.At < p.m.Start-p.m.time(1)/2:
			return nil // it would begin with what was before
		case s.Key && (s.Width != p.m.Width || s.Height != p.m.Height), s.Rotation != 0:
			return nil
		}
		c.Pictures++
		c.Last = s.At - p.m.Start
	}
	if c.Pictures > 0 {
		p.m.Chunks, p.m.Encoders = []Chunk{c}, []Encoder{}
	}
	return nil
}

// only is the tile that fills all chunks but for a short beginning and end.
func (p *planner) only() (Tile, bool) {
	var t Tile
	var without time.Duration
	for i, c := range p.m.Chunks {
		edge := i == 0 || i == len(p.m.Chunks)-1
		shown := len(c.Tiles) == 1 && c.Tiles[0].StreamID != ""
		switch {
		case !shown && edge:
			without += c.To - c.From
			continue
		case !shown, t.StreamID != "" && t != c.Tiles[0]:
			return t, false
		}
		t = c.Tiles[0]
	}
	full := layout.Rect{W: p.m.Width, H: p.m.Height}
	fits := t.StreamID != "" && t.Rect == full && t.Width == full.W && t.Height == full.H && without <= bare
	plain := !t.Blur && !t.Label && p.m.Watermark == ""
	return t, fits && plain && !slices.ContainsFunc(p.m.Formats, func(f string) bool { return !takes(f, t.Codec) })
}

// takes tells whether a format holds a codec as it comes.
func takes(format, codec string) bool {
	if format == WebM {
		return codec == "VP8" || codec == "VP9"
	}
	return codec == "H264"
}

// copy makes the chunk of the stream as it is. Its first picture is there from
// the beginning.
func (r *renderer) copy(ctx context.Context) error {
	t := r.c.Tiles[0]
	path := filepath.Join(r.dir, "copy.ivf")
	w, err := createIVF(path, t.Codec, t.Width, t.Height)
	if err != nil {
		return err
	}
	first := true
	for s, err := range decodable(ctx, r.src, t.StreamID, r.m.Start, r.m.Start+r.c.To) {
		at := s.At - r.m.Start
		if first {
			at, first = 0, false
		}
		if err == nil {
			err = w.write(s.Data, at)
		}
		if err != nil {
			return errors.Join(err, w.close())
		}
	}
	if err := w.close(); err != nil {
		return fmt.Errorf("close pictures: %w", err)
	}
	return ffmpeg(ctx, r.dir, nil, nil, []string{"-f", "ivf", "-i", "copy.ivf", "-c", "copy", "-map_metadata", "-1", "-f", "nut", chunkFile})
}
