package composite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrChunks is returned for another number of chunks than the movie has.
var ErrChunks = errors.New("wrong number of chunks")

// Join makes the movie of its rendered chunks, in order, and a file of mixed
// sound that begins with the movie ("" for none, the movie is then silent).
// WAV is encoded to what the format takes; AAC in .m4a and Opus in .ogg go in
// as they are where they may. It returns one path in dir for each of the formats
// (nil: those of the movie): movie.mp4, movie.webm, and hls/index.m3u8, beside
// which all other files of the folder hls belong to it. Pictures are not
// encoded again. It may be repeated.
func Join(ctx context.Context, m *Movie, chunks []string, audio, dir string, formats []string) ([]string, error) {
	if len(chunks) != len(m.Chunks) {
		return nil, fmt.Errorf("join movie: %w: %d, want %d", ErrChunks, len(chunks), len(m.Chunks))
	}
	if formats == nil {
		formats = m.Formats
	}
	var made []string
	for _, f := range formats {
		var path string
		var err error
		switch f {
		case MP4, WebM:
			path, err = joinFile(ctx, m, chunks, audio, dir, f)
		case HLS:
			path, err = JoinHLS(ctx, m, chunks, audio, filepath.Join(dir, "hls"), true)
		default:
			err = fmt.Errorf("%w: %q", ErrFormat, f)
		}
		if err != nil {
			return nil, fmt.Errorf("join movie as %s: %w", f, err)
		}
		made = append(made, path)
	}
	return made, nil
}

func joinFile(ctx context.Context, m *Movie, chunks []string, audio, dir, format string) (path string, err error) {
	stream, err := m.stream(format)
	if err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(dir, "join-")
	if err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	list, readOnly, err := concatList(m, chunks)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(work, "list.txt"), []byte(list), 0o600); err != nil {
		return "", fmt.Errorf("write list: %w", err)
	}
	// Without xerror a file whose end did not fit on the disk counts as made.
	args := []string{"-xerror", "-f", "concat", "-safe", "0", "-i", "list.txt"}
	var sound []string
	if audio != "" {
		if audio, err = filepath.Abs(audio); err != nil {
			return "", fmt.Errorf("find sound: %w", err)
		}
		args = append(args, "-i", audio)
		sound = append([]string{"-map", "1:a:0"}, soundArgs(audio, format)...)
		readOnly = append(readOnly, audio)
	}
	args = append(append(args, "-map", fmt.Sprintf("0:v:%d", stream), "-c:v", "copy"), sound...)
	out := "movie." + format
	if format == MP4 {
		args = append(append(args, m.lastArgs(90_000)...), "-video_track_timescale", "90000", "-movflags", "+faststart", "-f", "mp4", out)
	} else {
		args = append(append(args, m.lastArgs(1000)...), "-f", "webm", out)
	}
	if err := ffmpeg(ctx, work, readOnly, nil, args); err != nil {
		return "", err
	}
	path = filepath.Join(dir, out)
	return path, os.Rename(filepath.Join(work, out), path)
}

// stream is the index of the format's pictures in the chunks.
func (m *Movie) stream(format string) (int, error) {
	if len(m.Encoders) == 0 && len(m.Chunks) == 1 && takes(format, m.Chunks[0].Tiles[0].Codec) {
		return 0, nil
	}
	i := slices.IndexFunc(m.Encoders, func(e Encoder) bool { return (e.Codec == "h264") != (format == WebM) })
	if i < 0 {
		return 0, fmt.Errorf("%w: the chunks were not made for it", ErrFormat)
	}
	return i, nil
}

// lastArgs let the last picture of a copied movie last to its end, in a file
// with so many units of time in a second.
func (m *Movie) lastArgs(units float64) []string {
	if len(m.Chunks) != 1 || !m.Chunks[0].Copy {
		return nil
	}
	c := m.Chunks[0]
	return []string{"-bsf:v", fmt.Sprintf("setts=duration=if(eq(N\\,%d)\\,%.0f\\,DURATION)", c.Pictures-1, (c.To-c.Last).Seconds()*units)}
}

// concatList is the list of chunks for ffmpeg's concat demuxer, with their
// lengths, and what it has to read.
func concatList(m *Movie, chunks []string) (string, []string, error) {
	var b strings.Builder
	b.WriteString("ffconcat version 1.0\n")
	var paths []string
	for i, c := range chunks {
		path, err := filepath.Abs(c)
		if err != nil {
			return "", nil, fmt.Errorf("find chunk: %w", err)
		}
		paths = append(paths, path)
		fmt.Fprintf(&b, "file '%s'\n", strings.ReplaceAll(path, "'", `'\''`))
		fmt.Fprintf(&b, "duration %.6f\n", (m.Chunks[i].To - m.Chunks[i].From).Seconds())
	}
	return b.String(), paths, nil
}

// soundArgs say how the sound gets into a format.
func soundArgs(audio, format string) []string {
	ext := strings.ToLower(filepath.Ext(audio))
	switch {
	case format == WebM && (ext == ".ogg" || ext == ".opus"), format != WebM && (ext == ".m4a" || ext == ".aac"):
		return []string{"-c:a", "copy"}
	case format == WebM:
		return []string{"-c:a", "libopus", "-b:a", "64k", "-ar", "48000"}
	}
	return []string{"-c:a", "aac", "-b:a", "128k"}
}
