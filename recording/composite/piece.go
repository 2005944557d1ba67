package composite

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// piece is a part of a tile's pictures in a chunk, of one shape and rotation:
// mostly the tile has one only. It shows the frames [from, to) of the chunk.
type piece struct {
	path          string
	width, height int
	rotation      int
	from, to      int
	// lead is how many frames of the movie lie before from in the file, and
	// pictures how many there are in all.
	lead, pictures int
}

// cutter writes the pieces of a tile.
type cutter struct {
	m      *Movie
	c      Chunk
	t      Tile
	prefix string
	frames int
	start  time.Duration // of the chunk, in the call
	pieces []piece
	out    *ivf
	shift  time.Duration // added to times in the call
}

// pieces writes what a tile shows in a chunk into dir. There are none when
// nothing can be decoded.
func pieces(ctx context.Context, src Source, m *Movie, c Chunk, n int, dir string) (_ []piece, err error) {
	k := &cutter{
		m: m, c: c, t: c.Tiles[n], prefix: filepath.Join(dir, fmt.Sprintf("tile-%02d", n)),
		frames: m.frame(c.To) - m.frame(c.From), start: m.Start + c.From,
	}
	defer func() {
		if e := k.close(); err == nil {
			err = e
		}
	}()
	for s, err := range decodable(ctx, src, k.t.StreamID, k.start, m.Start+c.To) {
		if err == nil {
			err = k.add(s)
		}
		if err != nil {
			return nil, err
		}
	}
	return k.pieces, nil
}

// decodable are a stream's pictures that a decoder can show, from the keyframe
// before from to before to; those broken are left out.
func decodable(ctx context.Context, src Source, streamID string, from, to time.Duration) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		waits := true // for a keyframe
		for s, err := range src.From(ctx, streamID, from) {
			if err != nil {
				yield(s, fmt.Errorf("read stream %s: %w", streamID, err))
				return
			}
			if s.At >= to {
				break
			}
			waits = s.Broken || waits && !s.Key
			if !waits && !yield(s, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Sample{}, fmt.Errorf("read stream %s: %w", streamID, err))
		}
	}
}

// maxPieces bounds the pieces of a tile in a chunk, each of which is an input of
// ffmpeg with a decoder of its own: who turns more often than anybody turns a
// phone is shown as they were.
const maxPieces = 8

func (k *cutter) add(s Sample) error {
	if s.Key && (k.out == nil || len(k.pieces) < maxPieces && k.turned(s)) {
		if err := k.begin(s); err != nil {
			return err
		}
	}
	if k.out == nil {
		return nil
	}
	k.pieces[len(k.pieces)-1].pictures++
	return k.out.write(s.Data, s.At+k.shift)
}

// turned tells whether a keyframe has another shape or rotation than the piece
// before. Another size of the same shape is the scaler's business.
func (k *cutter) turned(s Sample) bool {
	p := k.pieces[len(k.pieces)-1]
	a, b := s.Width*p.height, p.width*s.Height
	return s.Rotation != p.rotation || abs(a-b)*50 > b
}

func (k *cutter) begin(s Sample) error {
	if err := k.close(); err != nil {
		return err
	}
	from := max(k.m.frame(s.At-k.start), 0)
	if from >= k.frames {
		return nil // too late to be seen
	}
	// A piece that this one follows within a frame is not seen.
	for n := len(k.pieces); n > 0 && k.pieces[n-1].from >= from; n-- {
		if err := os.Remove(k.pieces[n-1].path); err != nil {
			return fmt.Errorf("remove pictures: %w", err)
		}
		k.pieces = k.pieces[:n-1]
	}
	if len(k.pieces) == 0 {
		from = 0
	} else {
		k.pieces[len(k.pieces)-1].to = from
	}
	p := piece{
		path: fmt.Sprintf("%s-%03d.ivf", k.prefix, from), width: s.Width, height: s.Height, rotation: s.Rotation,
		from: from, to: k.frames,
	}
	if p.width == 0 || p.height == 0 {
		p.width, p.height = k.t.Width, k.t.Height
	}
	origin := k.start + k.m.time(from)
	if before := origin - s.At; before > 0 {
		p.lead = int((before + k.m.time(1) - 1) / k.m.time(1))
	}
	k.shift = k.m.time(p.lead) - origin
	var err error
	if k.out, err = createIVF(p.path, k.t.Codec, p.width, p.height); err != nil {
		return err
	}
	k.pieces = append(k.pieces, p)
	return nil
}

func (k *cutter) close() error {
	if k.out == nil {
		return nil
	}
	err := k.out.close()
	k.out = nil
	if err != nil {
		return fmt.Errorf("close pictures: %w", err)
	}
	return nil
}
