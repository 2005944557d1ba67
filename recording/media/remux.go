package media

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// MaxFiles is how many files Remux makes of one person's pictures if no other
// bound is given: a phone that is turned and a camera that is changed need
// some, and who sends other parameters with every keyframe gets no more.
const MaxFiles = 32

// RemuxOptions say what Remux makes.
type RemuxOptions struct {
	// Dir is an empty folder of its own for the files.
	Dir string
	// Video and Audio are ids of tracks of one person: several when they
	// followed one another, none to leave it out.
	Video, Audio []string
	// RID is the simulcast layer; "" takes each track's largest.
	RID string
	// Format is webm (VP8, VP9, AV1 and Opus), mp4 (H.264, VP9, AV1 and Opus),
	// flv (H.264; sound becomes AAC), hls (as mp4, in segments), ogg (Opus), wav
	// (G.711 as it is, Opus decoded to 16 bits), wav-8bit, aac; or auto, which is
	// what takes the codec: mp4 for H.264, webm for other video, ogg for Opus,
	// wav for G.711.
	Format string
	// From and To bound it, since the session's start; To 0 is the end.
	From, To time.Duration
	// Most is how many files there are at most; 0 is MaxFiles. Where the pictures
	// change more often, all that is left goes in the last one, encoded again.
	Most int
	// Lead begins at the keyframe before From where none is at From; else video
	// begins at the first one within the bounds.
	Lead bool
	// Name returns the n-th file's name without its extension, n from 0; nil
	// is part-0, part-1, ...
	Name func(n int) string
}

// File is a file that was made.
type File struct {
	// Path is absolute; of hls, the index. Parts are all its files, Path first.
	Path  string
	Parts []string
	// Format is as in RemuxOptions, auto resolved.
	Format string
	// From and To are when its first sample begins and its last ends, since the
	// session's start.
	From, To time.Duration
	// Size is in bytes, all parts together.
	Size int64
	// Video and Audio are the tracks' codecs, "" without; AudioCoded is what
	// sound was transcoded to, "" if it is as it was sent.
	Video, Audio, AudioCoded string
	// VideoCoded is what pictures were transcoded to, "" if they are as they were
	// sent, and Changes how often their parameters change within the file.
	VideoCoded string
	Changes    int
	// Width and Height are of the first keyframe in pixels, before Rotation; of
	// transcoded pictures, of all of them.
	Width, Height, Rotation int
	// Pictures and Packets count what is in it, Broken the pictures that were
	// left out because something before them was lost, and Left those that were
	// left out because they could not be transcoded.
	Pictures, Packets, Broken, Left int
}

// part is a stretch of the session that goes in one file.
type part struct {
	span Span
	// video: the stream from a keyframe on, up to another one of it if until is
	// set. Nil without.
	video *stream
	id    string
	key   mark
	until mark
	ends  bool
	codec string

	width, height int
	params        uint64
	// more are the parts that follow in the same file as they are: streams with
	// one codec and the same parameters.
	more []part
	// rest are the parts that follow in the same file, which is encoded again.
	rest []part
	// videoTo is where the pictures end before the sound does; 0: they do not.
	videoTo time.Duration
}

// Remux writes tracks to files without transcoding, but where the format or
// the number of files says so. A keyframe with another size or other parameters
// begins a new file, and so does a track with another codec. It answers
// ErrNoMedia if nothing is there, and ErrFormat if the format does not take the
// video's codec.
func (s *Session) Remux(ctx context.Context, o RemuxOptions) ([]File, error) {
	span := s.bounds(o.From, o.To)
	audio, err := s.soundTracks(append([]string{}, o.Audio...), span)
	if err != nil {
		return nil, fmt.Errorf("remux: %w", err)
	}
	parts, err := s.videoParts(o, audio, span)
	if err != nil {
		return nil, fmt.Errorf("remux: %w", err)
	}
	if len(parts) == 0 {
		if len(audio) == 0 {
			return nil, fmt.Errorf("remux: %w", ErrNoMedia)
		}
		parts = soundParts(audio, span)
	}
	name := o.Name
	if name == nil {
		name = func(n int) string { return fmt.Sprintf("part-%d", n) }
	}
	parts = together(parts, cmp.Or(o.Most, MaxFiles))
	var files []File
	for _, p := range parts {
		f, err := s.remuxPart(ctx, p, audio, o, name(len(files)))
		if len(p.rest) > 0 && errors.Is(err, errRecode) && ctx.Err() == nil {
			f, err = s.remuxFirst(ctx, p, audio, o, name(len(files)))
		}
		if errors.Is(err, ErrNoMedia) {
			continue // the sound was elsewhere
		}
		if err != nil {
			return files, fmt.Errorf("remux: %w", err)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("remux: %w", ErrNoMedia)
	}
	return files, nil
}

// videoParts divides the video where a new file must begin.
func (s *Session) videoParts(o RemuxOptions, audio []Track, span Span) ([]part, error) {
	var parts []part
	for _, id := range o.Video {
		t, ok := s.Track(id)
		if !ok || !t.Video() {
			return nil, fmt.Errorf("%w: %s", ErrUnknown, id)
		}
		l := t.Layers[0]
		if i := slices.IndexFunc(t.Layers, func(l Layer) bool { return l.RID == o.RID }); o.RID != "" && i >= 0 {
			l = t.Layers[i]
		}
		parts = append(parts, s.streams[l.StreamID].parts(l.StreamID, span, o.Lead)...)
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.span.From, b.span.From) })
	for i := range parts {
		p := &parts[i]
		if i == 0 {
			p.span.From = min(p.span.From, span.From)
		}
		if i+1 < len(parts) {
			p.span.To = parts[i+1].span.From
		} else {
			p.span.To = span.To
		}
	}
	parts = slices.DeleteFunc(parts, func(p part) bool { return p.span.To <= p.span.From })
	return joined(parts, audio), nil
}

// joined has a track go on in the file of the one before where nothing in the
// file's head would differ.
func joined(parts []part, audio []Track) []part {
	var out []part
	for _, p := range parts {
		if n := len(out); n > 0 && out[n-1].takes(p) && alike(soundIn(audio, Span{out[n-1].span.From, p.span.To})) {
			out[n-1].more = append(out[n-1].more, p)
			out[n-1].span.To = p.span.To
			continue
		}
		out = append(out, p)
	}
	return out
}

func (p part) takes(next part) bool { return p.codec == next.codec && p.params == next.params }

// copies are the part alone, and those that follow as they are.
func (p part) copies() []part {
	first := p
	first.more, first.rest = nil, nil
	if len(p.more) > 0 {
		first.span.To, first.videoTo = p.more[0].span.From, 0
	}
	return append([]part{first}, p.more...)
}

// alike tells whether tracks of sound go in one file as they are.
func alike(audio []Track) bool {
	return !slices.ContainsFunc(audio, func(t Track) bool { return t.Codec != audio[0].Codec || t.ClockRate != audio[0].ClockRate })
}

// soundParts divides sound without video where another codec follows. Tracks
// that sound at once stay together.
func soundParts(audio []Track, span Span) []part {
	parts := []part{{span: span}}
	var until time.Duration
	for i, t := range audio {
		heard := t.Layers[0].Spans
		if from := heard[0].From; i > 0 && from >= until && !alike(audio[i-1:i+1]) {
			parts[len(parts)-1].span.To = from
			parts = append(parts, part{span: Span{from, span.To}})
		}
		until = max(until, heard[len(heard)-1].To)
	}
	return parts
}

// soundIn are the tracks that are heard in a span.
func soundIn(audio []Track, span Span) []Track {
	return slices.DeleteFunc(slices.Clone(audio), func(t Track) bool { return !t.within(span) })
}

// parts divides a stream at keyframes with new parameters.
func (st *stream) parts(id string, span Span, lead bool) (parts []part) {
	keys := st.keys
	first := slices.IndexFunc(keys, func(k keyframe) bool { return k.at0 >= span.From })
	if first < 0 {
		first = len(keys)
	}
	if lead && first > 0 && (first == len(keys) || keys[first].at0 > span.From) {
		first--
	}
	for i := first; i < len(keys) && keys[i].at0 < span.To; i++ {
		k := keys[i]
		if i > first && k.params == keys[i-1].params {
			continue
		}
		if n := len(parts); n > 0 {
			parts[n-1].until, parts[n-1].ends = k.mark, true
		}
		parts = append(parts, part{
			span: Span{From: k.at0}, video: st, id: id, key: k.mark, codec: st.in.codec, width: k.width, height: k.height, params: k.params,
		})
	}
	return parts
}

// container returns the format of a part, auto resolved.
func (p part) container(format string, audio []Track) (string, error) {
	if len(p.rest) > 0 { // what it will be
		if p.codec = H264; format == "webm" {
			p.codec = VP8
		}
	}
	takes := map[string][]string{
		"webm": {VP8, VP9, AV1}, "mp4": {H264, VP9, AV1}, "hls": {H264, VP9, AV1}, "flv": {H264},
	}
	_, ofSound := soundFormats[format]
	switch {
	case format != "auto" && format != "":
		if p.video != nil && !slices.Contains(takes[format], p.codec) {
			return "", fmt.Errorf("%w: %s in %q", ErrFormat, p.codec, format)
		}
		if takes[format] == nil && !ofSound {
			return "", fmt.Errorf("%w: %q", ErrFormat, format)
		}
		return format, nil
	case p.codec == H264:
		return "mp4", nil
	case p.video != nil:
		return "webm", nil
	case slices.ContainsFunc(audio, func(t Track) bool { return t.Codec != Opus }):
		return "wav", nil
	default:
		return "ogg", nil
	}
}

var extensions = map[string]string{"hls": ".m3u8", "wav-8bit": ".wav"}

func (s *Session) remuxPart(ctx context.Context, p part, audio []Track, o RemuxOptions, name string) (File, error) {
	audio = soundIn(audio, p.span)
	format, err := p.container(o.Format, audio)
	if err != nil {
		return File{}, err
	}
	if p.video == nil && len(audio) == 0 {
		return File{}, ErrNoMedia
	}
	file := name + cmp.Or(extensions[format], "."+format)
	w := writing{s: s, part: p, audio: audio, dir: o.Dir, name: name, file: file}
	w.made = File{Path: filepath.Join(o.Dir, file), Format: format, Video: p.codec, Width: p.width, Height: p.height, Changes: len(p.rest)}
	if len(p.rest) > 0 {
		w.made.Width, w.made.Height = p.canvas()
	}
	if len(audio) > 0 {
		w.made.Audio = audio[0].Codec
	}
	w.origin = w.beginning()
	if err := w.write(ctx); err != nil {
		if ctx.Err() == nil && w.made.Pictures == 0 && w.made.Packets == 0 && w.made.AudioCoded == "" {
			err = errors.Join(ErrNoMedia, err) // nothing of it lay within the bounds
		}
		return File{}, fmt.Errorf("write %s: %w", file, errors.Join(err, remove(w.made.Path)))
	}
	if err := w.measure(); err != nil {
		return w.made, err
	}
	return w.made, w.countRecoded(ctx)
}

// measure looks at what was made. Copied media cannot be larger than its file.
func (w *writing) measure() error {
	f := &w.made
	f.Parts = []string{f.Path}
	if f.Format == "hls" {
		f.Parts = append(f.Parts, filepath.Join(w.dir, w.name+"-init.mp4"))
		segments, err := filepath.Glob(filepath.Join(globEscape(w.dir), globEscape(w.name)+"-[0-9][0-9][0-9][0-9][0-9].m4s"))
		if err != nil {
			return fmt.Errorf("list segments of %s: %w", w.file, err)
		}
		f.Parts = append(f.Parts, segments...)
		if err := w.measureHLS(); err != nil {
			return err
		}
	}
	for _, path := range f.Parts {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("look at part of %s: %w", w.file, err)
		}
		f.Size += info.Size()
	}
	if f.Size < w.copied.Load() {
		return fmt.Errorf("%s: %d bytes hold less than the %d given to ffmpeg", w.file, f.Size, w.copied.Load())
	}
	return nil
}
