package synthetic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"stillwatch/internal/event"

	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
)

// ClipConfig describes a clip to encode.
type ClipConfig struct {
	// Picture is one of Pictures, or the path of a PNG or JPEG.
	Picture string
	Codec   event.Codec
	// Width and Height in pixels; default 1280x720.
	Width, Height int
	// FPS is frames per second; default 25.
	FPS int
	// Kbps is the target bit rate; default 1500.
	Kbps int
	// Takes is how many pieces the clip has, default 4, and Seconds how long
	// each is, default 3. Each begins with a keyframe and holds no other.
	Takes, Seconds int
	// Noise adds moving grain, as a camera's sensor does, so that the picture
	// is still but not frozen; 0 to 100, default 4, negative for none.
	Noise int
	// Flash makes the first tenth of every second white.
	Flash bool
}

func (c ClipConfig) withDefaults() ClipConfig {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Width, 1280)
	def(&c.Height, 720)
	def(&c.FPS, 25)
	def(&c.Kbps, 1500)
	def(&c.Takes, 4)
	def(&c.Seconds, 3)
	def(&c.Noise, 4)
	return c
}

// Clip is an encoded clip in memory. The first frame of each take is a
// keyframe and decodes alone, so a publisher answers a picture loss
// indication by going on with the next take.
type Clip struct {
	Codec  event.Codec
	FPS    int
	Width  int
	Height int
	// Take is the length of a take in frames.
	Take int
	// Frames are coded pictures: VP8 or VP9 frames, H.264 access units in
	// Annex B form, AV1 temporal units.
	Frames [][]byte
}

// Next is the index of the frame at which the take after that of frame i
// begins.
func (c *Clip) Next(i int) int {
	if n := (i/c.Take + 1) * c.Take; n < len(c.Frames) {
		return n
	}
	return 0
}

// MakeClip encodes a clip with the ffmpeg command, or takes it from dir where
// an earlier call with the same settings left it.
func MakeClip(ctx context.Context, dir string, cfg ClipConfig) (*Clip, error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make clip folder: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "4 %+v", cfg))
	path := filepath.Join(dir, hex.EncodeToString(sum[:8])+extension(cfg.Codec))
	if _, err := os.Stat(path); err != nil {
		if err := encode(ctx, cfg, path); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read clip: %w", err)
	}
	frames, err := split(cfg.Codec, data)
	if err != nil {
		return nil, fmt.Errorf("split clip %s: %w", path, err)
	}
	if len(frames) == 0 {
		return nil, fmt.Errorf("clip %s holds no frame", path)
	}
	return &Clip{Codec: cfg.Codec, FPS: cfg.FPS, Width: cfg.Width, Height: cfg.Height, Take: cfg.Seconds * cfg.FPS, Frames: frames}, nil
}

func extension(c event.Codec) string {
	if c == event.H264 {
		return ".h264"
	}
	return ".ivf"
}

// encode writes to a temporary name first, so that a clip is whole or absent.
func encode(ctx context.Context, cfg ClipConfig, path string) error {
	coder, err := encoderArgs(cfg)
	if err != nil {
		return err
	}
	source := cfg.Picture
	if png, err := Picture(cfg.Picture); err == nil {
		f, err := os.CreateTemp(filepath.Dir(path), "picture-*.png")
		if err != nil {
			return fmt.Errorf("write picture: %w", err)
		}
		defer os.Remove(f.Name())
		_, err = f.Write(png)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("write picture: %w", err)
		}
		source = f.Name()
	}
	filter := fmt.Sprintf("scale=%d:%d:flags=area:out_color_matrix=bt601:out_range=tv", cfg.Width, cfg.Height)
	if cfg.Noise > 0 {
		filter += fmt.Sprintf(",noise=alls=%d:allf=t", cfg.Noise)
	}
	if cfg.Flash {
		filter += ",drawbox=color=white:t=fill:enable='lt(mod(t,1),0.1)'"
	}
	filter += ",format=yuv420p"
	tmp, err := os.CreateTemp(filepath.Dir(path), "clip-*"+extension(cfg.Codec))
	if err != nil {
		return fmt.Errorf("make clip: %w", err)
	}
	tmp.Close()
	defer os.Remove(tmp.Name())
	args := []string{
		"-nostdin", "-hide_banner", "-loglevel", "error", "-y",
		"-loop", "1", "-framerate", fmt.Sprint(cfg.FPS), "-t", fmt.Sprint(cfg.Seconds * cfg.Takes),
		"-i", source, "-vf", filter, "-an",
		"-g", "100000", "-force_key_frames", fmt.Sprintf("expr:gte(t,n_forced*%d)", cfg.Seconds), "-b:v", fmt.Sprintf("%dk", cfg.Kbps),
	}
	args = append(append(args, coder...), tmp.Name())
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("encode %s clip with ffmpeg: %w: %s", cfg.Codec, err, strings.TrimSpace(stderr.String()))
	}
	return os.Rename(tmp.Name(), path)
}

func encoderArgs(cfg ClipConfig) ([]string, error) {
	rate := fmt.Sprintf("%dk", cfg.Kbps)
	switch cfg.Codec {
	case event.VP8:
		return []string{
			"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-threads", "2", "-auto-alt-ref", "0",
			"-maxrate", rate, "-bufsize", rate, "-f", "ivf",
		}, nil
	case event.VP9:
		return []string{
			"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-threads", "2", "-auto-alt-ref", "0",
			"-lag-in-frames", "0", "-row-mt", "1", "-f", "ivf",
		}, nil
	case event.H264:
		return []string{
			"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "baseline",
			"-x264-params", "sliced-threads=0:slices=1:scenecut=0:repeat-headers=1", "-f", "h264",
		}, nil
	case event.AV1:
		return []string{"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-f", "ivf"}, nil
	default:
		return nil, fmt.Errorf("encode clip: codec %q is not one of VP8, VP9, H264, AV1", cfg.Codec)
	}
}

func split(codec event.Codec, data []byte) ([][]byte, error) {
	if codec == event.H264 {
		return splitH264(data)
	}
	r, _, err := ivfreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var frames [][]byte
	for {
		frame, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
	}
}

// splitH264 groups NAL units into access units. The encoder is told to make
// one slice a picture, so a coded slice (types 1 and 5) ends its unit.
func splitH264(data []byte) ([][]byte, error) {
	r, err := h264reader.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var units [][]byte
	var unit []byte
	for {
		nal, err := r.NextNAL()
		if errors.Is(err, io.EOF) {
			return units, nil
		}
		if err != nil {
			return nil, err
		}
		unit = append(append(unit, 0, 0, 0, 1), nal.Data...)
		if nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr || nal.UnitType == h264reader.NalUnitTypeCodedSliceNonIdr {
			units = append(units, unit)
			unit = nil
		}
	}
}
