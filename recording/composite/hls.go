package composite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// origin is added to all times in HLS segments, as no decoding time may be
// negative; players begin with the first segment wherever it is.
const origin = time.Second

// Segment is a file of an HLS stream.
type Segment struct {
	Name     string
	Duration time.Duration
	Size     int64
}

// JoinHLS writes the movie, or the chunks that there are so far, as HLS into
// dir and returns its index.m3u8. Pictures and sound are fragmented MP4 of 4 to
// 6 seconds, apart from each other. While done is false the playlists are ones
// that grow (EVENT), and more chunks may follow in further calls; at last they
// are VOD and end. Segments never change: of sound that may go on, the last
// segment is left out, so let it be longer than the chunks by EarlySound.
func JoinHLS(ctx context.Context, m *Movie, chunks []string, audio, dir string, done bool) (string, error) {
	if len(chunks) > len(m.Chunks) || done && len(chunks) < len(m.Chunks) {
		return "", fmt.Errorf("join hls: %w: %d, want %d", ErrChunks, len(chunks), len(m.Chunks))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("join hls: %w", err)
	}
	var all []Segment
	for n, c := range chunks {
		s, err := HLSChunk(ctx, m, n, c, dir)
		if err != nil {
			return "", err
		}
		all = append(all, s...)
	}
	var sound []Segment
	if audio != "" {
		var err error
		if sound, err = HLSAudio(ctx, m, audio, dir); err != nil {
			return "", err
		}
		if last := len(sound) - 1; !done && last >= 0 {
			if err := os.Remove(filepath.Join(dir, sound[last].Name)); err != nil {
				return "", fmt.Errorf("join hls: %w", err)
			}
			sound = sound[:last]
		}
	}
	return HLSIndex(m, all, sound, dir, done)
}

// HLSChunk writes the segments of chunk n into dir, which exists. It may be
// repeated and gives the same.
func HLSChunk(ctx context.Context, m *Movie, n int, chunk, dir string) ([]Segment, error) {
	stream, err := m.stream(HLS)
	if err != nil {
		return nil, fmt.Errorf("make segments: %w", err)
	}
	if chunk, err = filepath.Abs(chunk); err != nil {
		return nil, fmt.Errorf("make segments: %w", err)
	}
	c := m.Chunks[n]
	args := []string{"-i", chunk, "-map", fmt.Sprintf("0:v:%d", stream), "-c", "copy"}
	args = append(args, m.lastArgs(90_000)...)
	args = append(args, "-video_track_timescale", "90000", "-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-f", "mp4")
	return cut{kind: "video", prefix: fmt.Sprintf("v%05d", n), from: c.From, length: c.To - c.From}.make(ctx, chunk, dir, args)
}

// HLSAudio writes the segments of the mixed sound.
func HLSAudio(ctx context.Context, m *Movie, audio, dir string) ([]Segment, error) {
	audio, err := filepath.Abs(audio)
	if err != nil {
		return nil, fmt.Errorf("make segments: %w", err)
	}
	args := append([]string{"-i", audio, "-map", "0:a:0"}, soundArgs(audio, HLS)...)
	args = append(args, "-frag_duration", "5000000", "-movflags", "+empty_moov+default_base_moof", "-f", "mp4")
	return cut{kind: "audio", prefix: "a", from: -priming, length: m.Length()}.make(ctx, audio, dir, args)
}

// EarlySound is how much longer than its chunks the sound of an unfinished
// stream has to be for every picture to have its sound: a segment.
const EarlySound = 6 * time.Second

// priming is the silence at the beginning of encoded AAC: 1024 samples at 48
// kHz, before the time 0 of what was encoded.
const priming = 1024 * time.Second / 48_000

// cut is a stretch of the movie to be cut in segments.
type cut struct {
	kind, prefix string
	from, length time.Duration
}

// make runs ffmpeg to a fragmented MP4 and cuts it: kind-init.mp4 and a file
// for each fragment.
func (c cut) make(ctx context.Context, input, dir string, args []string) (_ []Segment, err error) {
	work, err := os.MkdirTemp(dir, ".work-")
	if err != nil {
		return nil, fmt.Errorf("make segments: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := ffmpeg(ctx, work, []string{input}, nil, append(args, "all.mp4")); err != nil {
		return nil, fmt.Errorf("make segments: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(work, "all.mp4"))
	if err != nil {
		return nil, fmt.Errorf("make segments: %w", err)
	}
	f, err := fragments(data)
	if err == nil {
		err = f.move(c.from + origin)
	}
	if err != nil {
		return nil, fmt.Errorf("make segments: %w", err)
	}
	put := func(name string, b []byte) error {
		tmp := filepath.Join(work, name)
		if err := os.WriteFile(tmp, b, 0o600); err != nil {
			return fmt.Errorf("write segment: %w", err)
		}
		return os.Rename(tmp, filepath.Join(dir, name))
	}
	if err := put(c.kind+"-init.mp4", f.init); err != nil {
		return nil, err
	}
	// A last one that is hardly anything belongs to the one before.
	if n := len(f.parts) - 1; n > 0 && f.length(n, c.length) < time.Second/2 {
		f.parts[n-1].data = append(f.parts[n-1].data, f.parts[n].data...)
		f.parts = f.parts[:n]
	}
	out := make([]Segment, 0, len(f.parts))
	for i, p := range f.parts {
		s := Segment{Name: fmt.Sprintf("%s-%04d.m4s", c.prefix, i), Duration: f.length(i, c.length), Size: int64(len(p.data))}
		if err := put(s.Name, p.data); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// HLSIndex writes the playlists of what HLSChunk and HLSAudio made: video.m3u8,
// audio.m3u8 if there is sound, and index.m3u8, whose path it returns.
func HLSIndex(m *Movie, video, audio []Segment, dir string, done bool) (string, error) {
	init, err := os.ReadFile(filepath.Join(dir, "video-init.mp4"))
	if err != nil {
		return "", fmt.Errorf("write playlist: %w", err)
	}
	codecs, peak := avcName(init), peakRate(video)+peakRate(audio)
	var b strings.Builder
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n")
	group := ""
	if len(audio) > 0 {
		b.WriteString("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"sound\",DEFAULT=YES,AUTOSELECT=YES,URI=\"audio.m3u8\"\n")
		group, codecs = ",AUDIO=\"sound\"", codecs+",mp4a.40.2"
	}
	fmt.Fprintf(&b, "#EXT-X-STREAM-INF:BANDWIDTH=%d,CODECS=\"%s\",RESOLUTION=%dx%d,FRAME-RATE=%d.000%s\nvideo.m3u8\n",
		peak, codecs, m.Width, m.Height, m.FPS, group)
	files := [][2]string{{"video.m3u8", playlist("video", video, done)}}
	if len(audio) > 0 {
		files = append(files, [2]string{"audio.m3u8", playlist("audio", audio, done)})
	}
	files = append(files, [2]string{"index.m3u8", b.String()})
	for _, f := range files {
		if err := replace(filepath.Join(dir, f[0]), f[1]); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "index.m3u8"), nil
}

// playlist is a media playlist (RFC 8216).
func playlist(kind string, all []Segment, done bool) string {
	target := 6.0
	for _, s := range all {
		target = max(target, math.Round(s.Duration.Seconds()))
	}
	how := "EVENT"
	if done {
		how = "VOD"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:%d\n#EXT-X-PLAYLIST-TYPE:%s\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"%s-init.mp4\"\n", int(target), how, kind)
	for _, s := range all {
		fmt.Fprintf(&b, "#EXTINF:%.6f,\n%s\n", s.Duration.Seconds(), s.Name)
	}
	if done {
		b.WriteString("#EXT-X-ENDLIST\n")
	}
	return b.String()
}

// peakRate is the highest of all segments, in bits a second.
func peakRate(all []Segment) (peak int64) {
	for _, s := range all {
		if s.Duration >= time.Second/2 {
			peak = max(peak, int64(float64(s.Size*8)/s.Duration.Seconds()))
		}
	}
	return max(peak, 64_000)
}

// replace writes a small file so that readers see the old or the new one.
func replace(path, text string) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write playlist: %w", err)
	}
	return os.Rename(tmp, path)
}
