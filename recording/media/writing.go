package media

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// writing is a file of Remux in the making.
type writing struct {
	s     *Session
	part  part
	audio []Track
	dir   string
	name  string // without extension
	file  string
	// origin is the call's time of timestamp 0.
	origin time.Duration
	// copied counts the bytes of media that the file must hold.
	copied atomic.Int64
	made   File

	pictures, packets, broken atomic.Int64
	rotation                  atomic.Int64
	videoEnd, audioEnd        atomic.Int64
}

// beginning returns when the first picture or sound is.
func (w *writing) beginning() time.Duration {
	at := time.Duration(-1)
	if w.part.video != nil {
		at = max(w.part.video.clock.place(w.part.key), 0)
	}
	for _, t := range w.audio {
		for _, sp := range t.Layers[0].Spans {
			if sp.To > w.part.span.From {
				if from := max(sp.From, w.part.span.From); at < 0 || from < at {
					at = from
				}
				break
			}
		}
	}
	return max(at, 0)
}

func (w *writing) write(ctx context.Context) error {
	w.made.From = w.origin
	err := w.writeFormat(ctx)
	w.made.Pictures, w.made.Packets, w.made.Broken = int(w.pictures.Load()), int(w.packets.Load()), int(w.broken.Load())
	w.made.Rotation = int(w.rotation.Load())
	w.made.To = max(time.Duration(max(w.videoEnd.Load(), w.audioEnd.Load())), w.origin)
	return err
}

func (w *writing) writeFormat(ctx context.Context) error {
	alike := alike(w.audio)
	opus := len(w.audio) > 0 && alike && w.audio[0].Codec == Opus
	switch format := w.made.Format; {
	case format == "ogg" && opus:
		return w.direct(ctx, w.ogg)
	case format == "wav" && alike && !opus:
		return w.direct(ctx, w.wav)
	case w.part.video == nil && soundFormats[format].args != nil && !(format == "webm" && opus):
		return w.coded(ctx, nil, soundFormats[format])
	default:
		return w.muxed(ctx, opus)
	}
}

// direct writes a file without ffmpeg.
func (w *writing) direct(ctx context.Context, write func(context.Context, *os.File) error) error {
	f, err := os.OpenFile(filepath.Join(w.dir, w.file), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = write(ctx, f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (w *writing) ogg(ctx context.Context, f *os.File) error {
	buf := bufio.NewWriterSize(f, 1<<16)
	o, err := NewOgg(buf, w.channels())
	if err != nil {
		return err
	}
	if err := w.sound(ctx, 48000, func(pts int64, m Sample) error { return o.Write(pts+opusTicks(m.Data), m.Data) }); err != nil {
		return err
	}
	if err := o.Close(); err != nil {
		return err
	}
	return buf.Flush()
}

// channels is 2 if any packet may be stereo: what is declared is what a
// decoder makes of all.
func (w *writing) channels() int {
	for _, t := range w.audio {
		if t.Channels != 1 {
			return 2
		}
	}
	return 1
}

// wav writes G.711 as it came, silence in the gaps (formats 6 and 7 of the
// WAVE registry).
func (w *writing) wav(ctx context.Context, f *os.File) error {
	t := w.audio[0]
	tag := uint16(7)
	if t.Codec == PCMA {
		tag = 6
	}
	if _, err := f.Write(wavHeader(tag, t.ClockRate, 0)); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(f, 1<<16)
	c := g711Filler{w: buf, silence: silentG711[t.Codec], end: 1 << 62}
	if err := w.sound(ctx, int64(t.ClockRate), c.put); err != nil {
		return err
	}
	if c.pos&1 != 0 { // chunks are of even length
		if err := c.fill(c.pos + 1); err != nil {
			return err
		}
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	_, err := f.WriteAt(wavHeader(tag, t.ClockRate, uint32(min(c.pos, 1<<32-60))), 0)
	return err
}

// wavHeader is the header of a mono file of 8 bits a sample.
func wavHeader(tag uint16, rate int, n uint32) []byte {
	le := binary.LittleEndian
	h := le.AppendUint32([]byte("RIFF"), n+50)
	h = le.AppendUint32(append(h, "WAVEfmt "...), 18)
	h = le.AppendUint16(le.AppendUint16(h, tag), 1)
	h = le.AppendUint32(le.AppendUint32(h, uint32(rate)), uint32(rate))
	h = le.AppendUint16(le.AppendUint16(le.AppendUint16(h, 1), 8), 0)
	h = le.AppendUint32(le.AppendUint32(append(h, "fact"...), 4), n)
	return le.AppendUint32(append(h, "data"...), n)
}

// muxed lets ffmpeg copy video and, if the format takes it, sound.
func (w *writing) muxed(ctx context.Context, opus bool) error {
	var feeds []feed
	var args []string
	if w.part.video != nil {
		from := feed{args: []string{"-f", "ivf"}, write: w.video}
		if len(w.part.rest) > 0 {
			from = feed{args: []string{"-f", "nut"}, write: w.recoded}
		}
		feeds = append(feeds, from)
		args = append(args, "-map", "0:v", "-c:v", "copy")
	}
	format := w.made.Format
	switch {
	case len(w.audio) == 0:
	case opus && format != "flv":
		args = append(args, "-map", fmt.Sprintf("%d:a", len(feeds)), "-c:a", "copy")
		feeds = append(feeds, feed{args: []string{"-f", "matroska"}, write: w.opus})
	default:
		name := "aac"
		if format == "webm" {
			name = "ogg" // Opus
		}
		return w.coded(ctx, feeds, soundFormats[name])
	}
	return w.ffmpeg(ctx, feeds, args)
}

// coded mixes and encodes the sound, next to what feeds give.
func (w *writing) coded(ctx context.Context, video []feed, f soundFormat) error {
	span := Span{w.origin, w.part.span.To}
	for _, t := range w.audio {
		spans := t.Layers[0].Spans
		w.audioEnd.Store(max(w.audioEnd.Load(), int64(min(spans[len(spans)-1].To, span.To))))
	}
	span.To = min(span.To, max(time.Duration(w.audioEnd.Load()), span.From+20*time.Millisecond))
	sound, graph := w.s.mixGraph(w.audio, span, len(video), f, len(w.audio) > 1)
	args := []string{"-filter_complex", graph, "-map", "[mix]"}
	if len(video) > 0 {
		args = append(args, "-map", "0:v", "-c:v", "copy")
	}
	i := slices.Index(f.args, "-f")
	codec := slices.DeleteFunc(slices.Clone(f.args[:i]), func(a string) bool { return a == "-movflags" || a == "+faststart" })
	w.made.AudioCoded = strings.TrimPrefix(codec[1], "lib")
	return w.ffmpeg(ctx, append(video, sound...), append(args, codec...))
}

func (w *writing) ffmpeg(ctx context.Context, feeds []feed, args []string) error {
	negative := "disabled"
	if w.made.Format == "flv" {
		// Its times have no sign, and an encoder of AAC begins before 0: all of
		// the file is put later by that.
		negative = "make_non_negative"
	}
	args = append(args, "-copyts", "-avoid_negative_ts", negative, "-muxpreload", "0", "-muxdelay", "0")
	switch format := w.made.Format; format {
	case "mp4":
		args = append(args, "-video_track_timescale", fmt.Sprint(videoRate), "-movflags", "+faststart", "-f", "mp4")
	case "hls":
		args = append(args, "-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4",
			"-hls_fmp4_init_filename", w.name+"-init.mp4", "-hls_segment_filename", strings.ReplaceAll(w.name, "%", "%%")+"-%05d.m4s")
	case "aac":
		args = append(args, "-f", "adts")
	default:
		args = append(args, "-f", cmp.Or(map[string]string{"wav-8bit": "wav"}[format], format))
	}
	return ffmpeg(ctx, w.dir, feeds, append(args, "file:"+w.file)...)
}

// video writes the part's pictures as IVF.
func (w *writing) video(ctx context.Context, out io.Writer) error {
	buf := bufio.NewWriterSize(out, 1<<16)
	ivf, err := NewIVF(buf, w.part.codec, w.part.width, w.part.height)
	if err != nil {
		return err
	}
	line := timeline{origin: w.origin, out: videoRate}
	for _, p := range w.part.copies() {
		line.follow(p.video.clock.rate)
		for m, err := range w.taken(ctx, p) {
			if err != nil {
				return err
			}
			w.copied.Add(int64(len(m.Data)))
			if p.codec == AV1 {
				w.copied.Add(-2) // containers leave its temporal delimiter out
			}
			if err := ivf.Write(line.pts(m), m.Data); err != nil {
				return err
			}
		}
	}
	return buf.Flush()
}

// pictures are those of a part, with the broken ones.
func (s *Session) pictures(ctx context.Context, p part) iter.Seq2[Sample, error] {
	isKey := func(m Sample, k mark) bool { return m.Key && m.mark.seg == k.seg && m.mark.ticks == k.ticks }
	to := cmp.Or(p.videoTo, p.span.To)
	return func(yield func(Sample, error) bool) {
		for m, err := range s.read(ctx, p.id, p.video.checkBefore(p.key), func(m Sample) bool { return isKey(m, p.key) }) {
			if err == nil && (p.ends && isKey(m, p.until) || m.At >= to) || !yield(m, err) {
				return
			}
		}
	}
}

// taken are the pictures of a part that go in the file, counted.
func (w *writing) taken(ctx context.Context, p part) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		period := time.Second / 30
		var last time.Duration
		for m, err := range w.s.pictures(ctx, p) {
			if err == nil && m.Broken {
				w.broken.Add(1)
				continue
			}
			if err == nil {
				if d := m.At - last; d > 0 && d < time.Second {
					period = d
				}
				last = m.At
				if w.pictures.Add(1) == 1 {
					w.rotation.Store(int64(m.Rotation))
				}
				w.videoEnd.Store(max(w.videoEnd.Load(), int64(m.At+period)))
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// opus writes the part's sound as Matroska.
func (w *writing) opus(ctx context.Context, out io.Writer) error {
	buf := bufio.NewWriterSize(out, 1<<16)
	mk, err := newMatroska(buf, w.channels())
	if err != nil {
		return err
	}
	err = w.sound(ctx, matroskaRate, func(pts int64, m Sample) error {
		w.copied.Add(int64(len(m.Data)))
		return mk.write(pts, m.Data)
	})
	if err != nil {
		return err
	}
	return buf.Flush()
}

// sound gives the part's packets of sound, one track after the other where
// they overlap.
func (w *writing) sound(ctx context.Context, rate int64, put func(pts int64, m Sample) error) error {
	end := w.part.span.From
	for _, t := range w.audio {
		id := t.Layers[0].StreamID
		line := timeline{origin: w.origin, rate: int64(t.ClockRate), out: rate}
		for m, err := range w.s.From(ctx, id, end) {
			if err != nil {
				return err
			}
			if m.At >= w.part.span.To {
				break
			}
			if m.At < end || m.At < w.origin {
				continue
			}
			w.packets.Add(1)
			w.audioEnd.Store(max(w.audioEnd.Load(), int64(m.At+m.Length)))
			if err := put(line.pts(m), m); err != nil {
				return err
			}
		}
		end = max(end, time.Duration(w.audioEnd.Load()))
	}
	return nil
}

// globEscape makes a name match itself in filepath.Glob.
func globEscape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}
