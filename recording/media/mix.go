package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// MixOptions say what MixAudio makes.
type MixOptions struct {
	// Path of the file. Its folder is used for what is unfinished.
	Path string
	// Format is wav (48 kHz, 16 bit, stereo), wav-8bit (16 kHz, 8 bit, mono:
	// 128 kbit/s), aac (ADTS), m4a, ogg (Opus) or webm (Opus).
	Format string
	// From and To bound it, since the session's start; To 0 is the end. The
	// file is exactly so long.
	From, To time.Duration
	// Tracks are ids; nil is every microphone and the sound of every shared
	// screen.
	Tracks []string
	// NoLimiter leaves loud passages to be clipped.
	NoLimiter bool
}

// maxWAV is how many samples of 4 bytes a WAV file holds: 6 hours at 48 kHz.
const maxWAV = 1<<30 - 1000

// soundFormat is how ffmpeg makes a format.
type soundFormat struct {
	rate  int64
	chain string // of filters, at the end
	args  []string
}

var soundFormats = map[string]soundFormat{
	"wav":      {48000, "aformat=sample_fmts=s16", []string{"-c:a", "pcm_s16le", "-f", "wav"}},
	"wav-8bit": {16000, "aresample=16000,aformat=sample_fmts=u8:channel_layouts=mono", []string{"-c:a", "pcm_u8", "-f", "wav"}},
	"aac":      {48000, "aformat=sample_fmts=fltp", []string{"-c:a", "aac", "-b:a", "128k", "-f", "adts"}},
	"m4a":      {48000, "aformat=sample_fmts=fltp", []string{"-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart", "-f", "mp4"}},
	"ogg":      {48000, "aformat=sample_fmts=s16", []string{"-c:a", "libopus", "-b:a", "96k", "-f", "ogg"}},
	"webm":     {48000, "aformat=sample_fmts=s16", []string{"-c:a", "libopus", "-b:a", "96k", "-f", "webm"}},
}

// MixAudio makes one file of all sound: who speaks at a moment of the call is
// heard at that moment of it, gaps are silent. It answers ErrNoSound if no
// track has sound within the bounds.
func (s *Session) MixAudio(ctx context.Context, o MixOptions) error {
	f, ok := soundFormats[o.Format]
	if !ok {
		return fmt.Errorf("mix sound: %w: %q", ErrFormat, o.Format)
	}
	span := s.bounds(o.From, o.To)
	tracks, err := s.soundTracks(o.Tracks, span)
	if err != nil {
		return fmt.Errorf("mix sound: %w", err)
	}
	if len(tracks) == 0 || round(span.Length(), f.rate) == 0 {
		return fmt.Errorf("mix sound: %w", ErrNoSound)
	}
	feeds, graph := s.mixGraph(tracks, span, 0, f, !o.NoLimiter)
	part := filepath.Base(o.Path) + ".part"
	args := append([]string{"-filter_complex", graph, "-map", "[mix]"}, f.args...)
	if n := round(span.Length(), f.rate); strings.HasPrefix(o.Format, "wav") && n > maxWAV {
		args = append(args, "-rf64", "auto") // with another header, which not all read
	}
	args = append(args, "file:"+part)
	dir := filepath.Dir(o.Path)
	if err = ffmpeg(ctx, dir, feeds, args...); err == nil {
		err = os.Rename(filepath.Join(dir, part), o.Path)
	}
	if err != nil {
		return fmt.Errorf("mix sound: %w", errors.Join(err, remove(filepath.Join(dir, part))))
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// bounds returns the part of the call that is meant.
func (s *Session) bounds(from, to time.Duration) Span {
	if to <= 0 {
		to = s.length
	}
	from = max(from, 0)
	return Span{from, max(from, to)}
}

// soundTracks returns the tracks (all for nil) that have sound in the span.
func (s *Session) soundTracks(ids []string, span Span) ([]Track, error) {
	tracks := s.tracks
	if ids != nil {
		tracks = nil
		for _, id := range ids {
			t, ok := s.Track(id)
			if !ok {
				return nil, fmt.Errorf("%w: %s", ErrUnknown, id)
			}
			tracks = append(tracks, t)
		}
	}
	var all []Track
	for _, t := range tracks {
		if !t.Video() && t.within(span) {
			all = append(all, t)
		}
	}
	return all, nil
}

// within tells whether something of the track's first layer lies in the span.
func (t Track) within(span Span) bool {
	if t.Codec == "" {
		return false
	}
	for _, p := range t.Layers[0].Spans {
		if p.From < span.To && p.To > span.From {
			return true
		}
	}
	return false
}

// mixGraph returns the inputs of the tracks' sound, the first being ffmpeg's
// input number first, and the filters that make [mix] of them.
func (s *Session) mixGraph(tracks []Track, span Span, first int, f soundFormat, limiter bool) ([]feed, string) {
	var feeds []feed
	var graph, ins strings.Builder
	for i, t := range tracks {
		// this decoder makes up what is missing, ffmpeg's own does not
		args := []string{"-f", "ogg", "-c:a", "libopus"}
		pan := ""
		if t.Codec != Opus {
			format := map[string]string{PCMU: "mulaw", PCMA: "alaw"}[t.Codec]
			args = []string{"-f", format, "-ar", fmt.Sprint(t.ClockRate), "-ac", "1"}
			pan = "pan=stereo|c0=c0|c1=c0,"
		}
		feeds = append(feeds, feed{args: args, write: func(ctx context.Context, w io.Writer) error {
			return s.continuous(ctx, w, t, span)
		}})
		fmt.Fprintf(&graph, "[%d:a]%saresample=48000,aformat=sample_fmts=fltp:channel_layouts=stereo[a%d];", first+i, pan, i)
		fmt.Fprintf(&ins, "[a%d]", i)
	}
	graph.WriteString(ins.String())
	fmt.Fprintf(&graph, "amix=inputs=%d:duration=longest:normalize=0,", len(tracks))
	if limiter {
		graph.WriteString("alimiter=limit=0.98:level=false:latency=true,")
	}
	n := round(span.Length(), f.rate)
	fmt.Fprintf(&graph, "%s,apad=whole_len=%d,atrim=end_sample=%d[mix]", f.chain, n, n)
	return feeds, graph.String()
}
