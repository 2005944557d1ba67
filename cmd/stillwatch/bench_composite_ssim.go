package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// everyFrame is which of a movie's frames are compared: one in so many.
const everyFrame = 7

// compare is the mean structural similarity of a movie with the composition of
// the pictures before they were encoded, scaled by area.
func (b *compositeBench) compare(ctx context.Context, path string) (float64, error) {
	w, h := b.movie.Width, b.movie.Height
	cmd := exec.CommandContext(ctx, "ffmpeg", "-loglevel", "error", "-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("decode movie: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("decode movie: %w", err)
	}
	r, got, want := bufio.NewReaderSize(out, 1<<20), newPlane(w, h), newPlane(w, h)
	n, sum := 0, 0.0
	for {
		if _, err = io.ReadFull(r, got.all); err != nil {
			break
		}
		if n%everyFrame == 0 {
			b.ideal(n, want)
			sum += similarity(got, want)
		}
		n++
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return 0, fmt.Errorf("decode movie: %w: %s", err, said.String())
	}
	if n != b.movie.Frames {
		return 0, fmt.Errorf("compare movie: %s has %d frames, want %d", path, n, b.movie.Frames)
	}
	return sum / float64((n+everyFrame-1)/everyFrame), nil
}

// ideal composes frame n of the scenes themselves.
func (b *compositeBench) ideal(n int, dst plane) {
	fill(dst.y, 33)
	fill(dst.u, 130)
	fill(dst.v, 126)
	src := newPlane(sceneWidth, sceneHeight)
	for _, c := range b.movie.Chunks {
		if b.movie.FPS != clipFPS || clipTime(n) < c.From || clipTime(n) >= c.To {
			continue
		}
		for _, t := range c.Tiles {
			s := b.call.streams[t.StreamID]
			s.scene.draw(s.source(n), src)
			r := t.Rect
			areaFill(dst.y, dst.w, r.X, r.Y, r.W, r.H, src.y, sceneWidth, sceneHeight)
			areaFill(dst.u, dst.w/2, r.X/2, r.Y/2, r.W/2, r.H/2, src.u, sceneWidth/2, sceneHeight/2)
			areaFill(dst.v, dst.w/2, r.X/2, r.Y/2, r.W/2, r.H/2, src.v, sceneWidth/2, sceneHeight/2)
		}
	}
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// areaFill scales src by area so that it fills the rectangle of dst, the
// middle of it where the shapes differ.
func areaFill(dst []byte, stride, x, y, w, h int, src []byte, sw, sh int) {
	f := min(float64(sw)/float64(w), float64(sh)/float64(h)) // source pixels in one
	cols := spans(w, f, (float64(sw)-f*float64(w))/2, sw)
	rows := spans(h, f, (float64(sh)-f*float64(h))/2, sh)
	line := make([]float64, sw)
	for j, row := range rows {
		clear(line)
		for k, weight := range row.weights {
			for i, v := range src[(row.first+k)*sw : (row.first+k+1)*sw] {
				line[i] += weight * float64(v)
			}
		}
		for i, col := range cols {
			v := 0.0
			for k, weight := range col.weights {
				v += weight * line[col.first+k]
			}
			dst[(y+j)*stride+x+i] = byte(v + 0.5)
		}
	}
}

// sourceSpan is what one pixel is made of: pixels from first on.
type sourceSpan struct {
	first   int
	weights []float64
}

func spans(n int, f, offset float64, limit int) []sourceSpan {
	all := make([]sourceSpan, n)
	for i := range all {
		from, to := offset+float64(i)*f, offset+float64(i+1)*f
		s := sourceSpan{first: int(from + 1e-9)}
		for p := s.first; float64(p) < to-1e-9 && p < limit; p++ {
			s.weights = append(s.weights, (min(to, float64(p+1))-max(from, float64(p)))/f)
		}
		all[i] = s
	}
	return all
}

// similarity is the mean of the planes' SSIM (Wang, Bovik, Sheikh, Simoncelli:
// Image Quality Assessment, 2004), luma counted four times.
func similarity(a, b plane) float64 {
	return (4*planeSSIM(a.y, b.y, a.w, a.h) + planeSSIM(a.u, b.u, a.w/2, a.h/2) + planeSSIM(a.v, b.v, a.w/2, a.h/2)) / 6
}

// planeSSIM takes windows of 8x8 pixels, 4 apart.
func planeSSIM(a, b []byte, w, h int) float64 {
	const c1, c2, n = 0.01 * 255 * 0.01 * 255, 0.03 * 255 * 0.03 * 255, 64.0
	sum, windows := 0.0, 0
	for y := 0; y+8 <= h; y += 4 {
		for x := 0; x+8 <= w; x += 4 {
			var sa, sb, saa, sbb, sab int
			for j := range 8 {
				at := (y+j)*w + x
				ra, rb := a[at:at+8], b[at:at+8]
				for i := range 8 {
					p, q := int(ra[i]), int(rb[i])
					sa, sb, saa, sbb, sab = sa+p, sb+q, saa+p*p, sbb+q*q, sab+p*q
				}
			}
			ma, mb := float64(sa)/n, float64(sb)/n
			va, vb, vab := float64(saa)/n-ma*ma, float64(sbb)/n-mb*mb, float64(sab)/n-ma*mb
			sum += (2*ma*mb + c1) * (2*vab + c2) / ((ma*ma + mb*mb + c1) * (va + vb + c2))
			windows++
		}
	}
	return sum / float64(windows)
}

// ivfHeader begins a file of VP8 at clipFPS; errors come with the last write.
func ivfHeader(w *bufio.Writer, width, height int) {
	head := []byte("DKIF\x00\x00\x20\x00VP80")
	head = binary.LittleEndian.AppendUint16(head, uint16(width))
	head = binary.LittleEndian.AppendUint16(head, uint16(height))
	head = binary.LittleEndian.AppendUint32(head, clipFPS)
	head = binary.LittleEndian.AppendUint32(head, 1)
	_, _ = w.Write(append(head, bytes.Repeat([]byte{0}, 8)...))
}

func ivfFrame(w *bufio.Writer, data []byte, n int) {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(data)))
	_, _ = w.Write(binary.LittleEndian.AppendUint64(head, uint64(n)))
	_, _ = w.Write(data)
}
