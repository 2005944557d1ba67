package media

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"stillwatch/internal/jail"
)

const (
	// maxPixels is what a picture that is decoded may have: 4096x4096.
	maxPixels = 1 << 24
	// maxSide bounds the width and height of pictures that are encoded again.
	maxSide = 1920
)

// errRecode says that the pictures could not be encoded again.
var errRecode = errors.New("the pictures cannot be encoded again")

// together puts all parts from the most-th on in one.
func together(parts []part, most int) []part {
	if len(parts) <= most {
		return parts
	}
	last := parts[most-1]
	last.rest = slices.Clone(parts[most:])
	last.span.To = parts[len(parts)-1].span.To
	return append(parts[:most-1:most-1], last)
}

// canvas is the size that the part and the rest have for longest, even and
// bounded.
func (p part) canvas() (width, height int) {
	type size struct{ w, h int }
	shown := map[size]int64{}
	var best size
	for _, p := range p.each() {
		s := size{p.width, p.height}
		shown[s] += int64(p.span.Length())
		if a, b := shown[s], shown[best]; a > b || a == b && s.w*s.h > best.w*best.h {
			best = s
		}
	}
	if most := max(best.w, best.h); most > maxSide {
		best.w, best.h = best.w*maxSide/most, best.h*maxSide/most
	}
	return max(best.w&^1, 16), max(best.h&^1, 16)
}

// each is the part alone, and the rest.
func (p part) each() []part {
	first := p
	if len(p.rest) > 0 {
		first.span.To = p.rest[0].span.From
	}
	all := first.copies()
	for _, next := range p.rest {
		all = append(all, next.copies()...)
	}
	return all
}

// stretches are the part and the rest, with those joined that can be read in
// one go.
func (p part) stretches() []part {
	var all []part
	for _, next := range p.each() {
		if n := len(all); n > 0 && all[n-1].id == next.id && all[n-1].ends && all[n-1].until == next.key {
			all[n-1].until, all[n-1].ends, all[n-1].span.To = next.until, next.ends, next.span.To
			continue
		}
		all = append(all, next)
	}
	return all
}

// coder is how pictures are encoded again for a format.
func (w *writing) coder() (codec string, args []string) {
	area := w.made.Width * w.made.Height
	if w.made.Format == "webm" {
		rate := strconv.Itoa(max(2*area, 100_000))
		return "vp8", []string{
			"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0", "-crf", "12", "-b:v", rate,
		}
	}
	rate := max(4*area, 200_000)
	return "h264", []string{
		"-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-crf", "23", "-maxrate", strconv.Itoa(rate), "-bufsize", strconv.Itoa(2 * rate),
	}
}

// recoded writes the pictures of all parts, encoded to one size, as NUT. What
// cannot be decoded is left out: who sends it may not keep the rest from being
// kept.
func (w *writing) recoded(ctx context.Context, out io.Writer) error {
	all := w.part.stretches()
	var codecs []string
	for _, p := range all {
		if !slices.Contains(codecs, p.codec) {
			codecs = append(codecs, p.codec)
		}
	}
	var feeds []feed
	var graph, ins strings.Builder
	for i, codec := range codecs {
		feeds = append(feeds, feed{
			// The scaler takes pictures of any size; made anew for each, the filters
			// would lose what they hold.
			args:  []string{"-threads", "1", "-max_pixels", strconv.Itoa(maxPixels), "-reinit_filter", "0", "-f", "ivf"},
			write: func(ctx context.Context, out io.Writer) error { return w.stretched(ctx, out, codec, all) },
		})
		fmt.Fprintf(&graph, "[%d:v]scale=%[2]d:%[3]d:force_original_aspect_ratio=decrease:force_divisible_by=2:eval=frame,format=yuv420p,"+
			"pad=%[2]d:%[3]d:-1:-1:eval=frame,setsar=1[p%[1]d];", i, w.made.Width, w.made.Height)
		fmt.Fprintf(&ins, "[p%d]", i)
	}
	fmt.Fprintf(&graph, "%sinterleave=nb_inputs=%d[v]", ins.String(), len(codecs))
	codec, coder := w.coder()
	w.made.VideoCoded = codec
	args := append([]string{"-filter_complex_threads", "1", "-filter_complex", graph.String(), "-map", "[v]"}, coder...)
	args = append(args, "-threads", "1", "-g", "250", "-fps_mode", "passthrough", "-enc_time_base", fmt.Sprintf("1:%d", videoRate), "-copyts",
		"-max_error_rate", "1", "-f", "nut", "pipe:1")
	to := sink{w: out}
	err := ffmpegTo(ctx, w.dir, &to, feeds, args...)
	switch {
	case to.err != nil:
		return to.err // whoever reads had enough, or failed, which they tell
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%w: %w", errRecode, err)
	case to.n < emptyNUT:
		return errRecode // of all those pictures, none could be decoded
	}
	return nil
}

// emptyNUT is more than a file of NUT has without pictures, in bytes: x264 says
// a lot about itself.
const emptyNUT = 1024

// sink counts what is written, and keeps the error.
type sink struct {
	w   io.Writer
	n   int64
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.n += int64(n)
	if err != nil {
		s.err = err
	}
	return n, err
}

// stretched writes the pictures of one codec as IVF.
func (w *writing) stretched(ctx context.Context, out io.Writer, codec string, all []part) error {
	buf := bufio.NewWriterSize(out, 1<<16)
	var ivf *IVF
	line := timeline{origin: w.origin, out: videoRate}
	for _, p := range all {
		if p.codec != codec {
			continue
		}
		if ivf == nil {
			var err error
			if ivf, err = NewIVF(buf, codec, p.width, p.height); err != nil {
				return err
			}
		}
		if rate := p.video.clock.rate; line.rate != rate {
			line = timeline{origin: w.origin, rate: rate, out: videoRate, seen: line.seen, any: line.any}
		}
		for m, err := range w.taken(ctx, p) {
			if err == nil {
				err = ivf.Write(line.pts(m), m.Data)
			}
			if err != nil {
				return err
			}
		}
	}
	return buf.Flush()
}

// remuxFirst is for a part whose rest cannot be encoded again: its first
// pictures are copied, and the others counted.
func (s *Session) remuxFirst(ctx context.Context, p part, audio []Track, o RemuxOptions, name string) (File, error) {
	first, rest := p, p.rest[0]
	first.rest, first.videoTo = nil, rest.span.From
	rest.rest = p.rest[1:]
	f, err := s.remuxPart(ctx, first, audio, o, name)
	if err != nil {
		return f, err
	}
	for _, q := range rest.stretches() {
		for m, err := range s.pictures(ctx, q) {
			if err != nil {
				return f, err
			}
			if !m.Broken {
				f.Left++
			}
		}
	}
	return f, nil
}

// countRecoded counts the pictures that came through being encoded again.
func (w *writing) countRecoded(ctx context.Context) error {
	if len(w.part.rest) == 0 {
		return nil
	}
	var out bytes.Buffer
	err := jail.Run(ctx, jail.Command{
		Name: "ffprobe", Dir: w.dir, Stdout: &out, Timeout: timeout, Nice: 5,
		Args: []string{"-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", "-i", "file:" + w.file},
	})
	n := 0
	if err == nil {
		line, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
		n, err = strconv.Atoi(strings.Trim(line, ", \r"))
	}
	if err != nil {
		return fmt.Errorf("count pictures of %s: %w", w.file, err)
	}
	w.made.Left, w.made.Pictures = max(w.made.Pictures-n, 0), n
	return nil
}
