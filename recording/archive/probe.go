package archive

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"stillwatch/internal/event"
	"stillwatch/internal/jail"
)

// probeTimeout bounds one look at a file.
const probeTimeout = 2 * time.Minute

// probed is what ffprobe says.
type probed struct {
	Streams []struct {
		Index      int    `json:"index"`
		CodecType  string `json:"codec_type"`
		CodecName  string `json:"codec_name"`
		BitRate    string `json:"bit_rate"`
		Width      int    `json:"width"`
		Height     int    `json:"height"`
		FrameRate  string `json:"r_frame_rate"`
		Channels   int    `json:"channels"`
		SampleRate string `json:"sample_rate"`
		Tags       struct {
			Rotate string `json:"rotate"`
		} `json:"tags"`
		SideData []struct {
			Rotation float64 `json:"rotation"`
		} `json:"side_data_list"`
	} `json:"streams"`
	Format struct {
		Name     string `json:"format_name"`
		Duration string `json:"duration"`
	} `json:"format"`
}

// Probe tells what is in a media file, or in an HLS playlist with its segments
// beside it. The bit rate of each stream is there: where the container does not
// give it, the packets are counted. The size is the file's, or that of all
// that a playlist names.
func Probe(ctx context.Context, path string) (event.MediaInfo, error) {
	none := event.MediaInfo{Streams: []event.MediaStream{}}
	var p probed
	text, err := ffprobe(ctx, path, "-show_format", "-show_streams", "-of", "json")
	if err != nil {
		return none, fmt.Errorf("probe %s: %w", filepath.Base(path), err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return none, fmt.Errorf("read probe of %s: %w", filepath.Base(path), err)
	}
	if len(p.Streams) == 0 {
		return none, fmt.Errorf("probe %s: no stream in it", filepath.Base(path))
	}
	size, err := mediaSize(path, 1)
	if err != nil {
		return none, fmt.Errorf("probe %s: %w", filepath.Base(path), err)
	}
	duration, _ := strconv.ParseFloat(p.Format.Duration, 64)
	info := event.MediaInfo{
		Streams: make([]event.MediaStream, 0, len(p.Streams)),
		Format: event.MediaFormat{
			Duration: strconv.FormatFloat(math.Round(duration*1000)/1000, 'f', -1, 64), Name: shortFormat(p.Format.Name, path),
			Size: size, BitRate: rate(size, duration),
		},
	}
	counted := true
	for _, s := range p.Streams {
		bits, _ := strconv.ParseInt(s.BitRate, 10, 64)
		samples, _ := strconv.Atoi(s.SampleRate)
		counted = counted && bits > 0
		stream := event.MediaStream{Index: s.Index, CodecType: s.CodecType, CodecName: s.CodecName, BitRate: bits, Channels: s.Channels, SampleRate: samples}
		if s.CodecType == "video" {
			stream.Width, stream.Height, stream.FrameRate = s.Width, s.Height, s.FrameRate
			info.Metadata.Rotate = cmp.Or(info.Metadata.Rotate, s.Tags.Rotate)
			for _, side := range s.SideData {
				if side.Rotation != 0 { // counted the other way round there
					info.Metadata.Rotate = cmp.Or(info.Metadata.Rotate, strconv.Itoa((360-int(side.Rotation))%360))
				}
			}
		}
		info.Streams = append(info.Streams, stream)
	}
	if !counted {
		err = countRates(ctx, path, duration, info.Streams)
	}
	return info, err
}

func rate(size int64, duration float64) int64 {
	if duration <= 0 {
		return 0
	}
	return int64(math.Round(float64(size) * 8 / duration))
}

// countRates fills in bit rates that the container does not tell.
func countRates(ctx context.Context, path string, duration float64, streams []event.MediaStream) error {
	text, err := ffprobe(ctx, path, "-show_packets", "-show_entries", "packet=stream_index,size", "-of", "csv=p=0")
	if err != nil {
		return fmt.Errorf("count packets of %s: %w", filepath.Base(path), err)
	}
	sizes := map[int]int64{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) < 2 {
			continue
		}
		index, err := strconv.Atoi(fields[0])
		n, err2 := strconv.ParseInt(fields[1], 10, 64)
		if err == nil && err2 == nil {
			sizes[index] += n
		}
	}
	for i := range streams {
		if streams[i].BitRate == 0 {
			streams[i].BitRate = rate(sizes[streams[i].Index], duration)
		}
	}
	return nil
}

// ffprobe looks at a file that it may read and nothing else, but a playlist's
// segments beside it.
func ffprobe(ctx context.Context, path string, args ...string) ([]byte, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "stillwatch-probe-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	readable := abs
	if isPlaylist(abs) {
		readable = filepath.Dir(abs)
	}
	var out bytes.Buffer
	err = jail.Run(ctx, jail.Command{
		Name: "ffprobe", Args: append(append([]string{"-v", "error", "-protocol_whitelist", "file"}, args...), "-i", abs),
		Dir: dir, ReadOnly: []string{readable}, Stdout: &out, Timeout: probeTimeout,
	})
	return out.Bytes(), err
}

func isPlaylist(path string) bool { return strings.EqualFold(filepath.Ext(path), ".m3u8") }

// mediaSize is the size of a file, or of a playlist and all files it names,
// and those that these name if they are playlists.
func mediaSize(path string, deeper int) (int64, error) {
	info, err := os.Stat(path)
	if err != nil || !isPlaylist(path) {
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	names, err := PlaylistFiles(path)
	if err != nil {
		return 0, err
	}
	size := info.Size()
	for _, name := range names {
		var more int64
		full := filepath.Join(filepath.Dir(path), name)
		if isPlaylist(name) && deeper > 0 { // a master playlist names others
			more, err = mediaSize(full, deeper-1)
		} else if info, err = os.Stat(full); err == nil {
			more = info.Size()
		}
		if err != nil {
			return 0, err
		}
		size += more
	}
	return size, nil
}

// ErrPlaylist is a playlist that names something outside of its folder.
var ErrPlaylist = errors.New("bad playlist")

// PlaylistFiles returns the files that an HLS media playlist names, in order
// and each once, relative to its folder (RFC 8216, section 4.3): the segments,
// and what EXT-X-MAP names. It returns ErrPlaylist for one outside.
func PlaylistFiles(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read playlist: %w", err)
	}
	return playlistFiles(string(text))
}

func playlistFiles(text string) (names []string, err error) {
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if attributes, ok := strings.CutPrefix(line, "#EXT-X-MAP:"); ok {
			_, uri, _ := strings.Cut(attributes, `URI="`)
			line, _, _ = strings.Cut(uri, `"`)
		}
		if line == "" || line[0] == '#' || seen[line] {
			continue
		}
		if !filepath.IsLocal(line) || strings.Contains(line, ":") {
			return nil, fmt.Errorf("%w: it names %.80q", ErrPlaylist, line)
		}
		seen[line] = true
		names = append(names, line)
	}
	return names, nil
}

// shortFormat picks one name of the several that a demuxer goes by: the
// file's extension if it is one of them.
func shortFormat(names, path string) string {
	list := strings.Split(names, ",")
	ext := strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
	for _, name := range list {
		if name == ext {
			return name
		}
	}
	switch {
	case strings.Contains(names, "mp4"):
		return "mp4"
	case strings.Contains(names, "webm"):
		return "matroska"
	}
	return list[0]
}
