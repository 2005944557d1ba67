package composite

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"
)

// vga is the quality of 640x480 whose size is promised.
const vga = "vga"

// Canvas is the size of a movie of a quality in pixels, always even; "" is
// 720p. It returns ErrQuality for what is none of those of Options.
func Canvas(quality string) (width, height int, err error) {
	switch quality {
	case "":
		return 1280, 720, nil
	case vga:
		return 640, 480, nil
	case "360p", "420p", "480p", "720p", "1080p", "1440p":
		height, _ = strconv.Atoi(quality[:len(quality)-1])
		return (height*16/9 + 1) &^ 1, height, nil
	}
	if _, err := fmt.Sscanf(quality, "portrait-%dx%d", &width, &height); err != nil {
		return 0, 0, fmt.Errorf("%w: %q", ErrQuality, quality)
	}
	width, height = width&^1, height&^1
	if width < 64 || height < 64 || width > 2560 || height > 2560 {
		return 0, 0, fmt.Errorf("%w: %q, want sides of 64 to 2560 pixels", ErrQuality, quality)
	}
	return width, height, nil
}

// Encoder is how the pictures of a chunk are coded.
type Encoder struct {
	// Codec is h264, vp8 or vp9.
	Codec string `json:"codec"`
	// CRF is the quality of h264 where Rate is 0: lower is better.
	CRF int `json:"crf,omitempty"`
	// Rate is the average wanted and MaxRate the highest, in bits a second.
	Rate    int `json:"rate,omitempty"`
	MaxRate int `json:"max_rate"`
}

// level is what one of 640x480 takes: low 2 MB a minute, high 4 MB.
var levels = map[string]struct{ rate, crf int }{
	"low":    {267_000, 28},
	"medium": {400_000, 24},
	"high":   {533_000, 21},
}

// encoders are those that the formats need. The vga preset holds its rate,
// as its size is promised; others spend what the picture needs, up to twice
// the rate of their area.
func encoders(m *Movie, level, quality, webm string) ([]Encoder, error) {
	if level == "" {
		level = "high"
	}
	l, ok := levels[level]
	if !ok {
		return nil, fmt.Errorf("%w: level %q is not low, medium or high", ErrQuality, level)
	}
	rate := int(float64(l.rate) * float64(m.Width*m.Height) / (640 * 480) * max(float64(m.FPS)/25, 1))
	var all []Encoder
	for _, f := range m.Formats {
		e := Encoder{Codec: "h264", CRF: l.crf, MaxRate: 2 * rate}
		if quality == vga {
			e = Encoder{Codec: "h264", Rate: rate, MaxRate: rate * 3 / 2}
		}
		switch f {
		case MP4, HLS:
		case WebM:
			if e.Codec = webm; webm == "" {
				e.Codec = "vp9"
			}
			if e.Codec != "vp8" && e.Codec != "vp9" {
				return nil, fmt.Errorf("%w: webm takes vp8 or vp9, not %q", ErrFormat, webm)
			}
			e.CRF, e.Rate = 0, rate
			if e.Codec == "vp9" && quality == vga {
				e.Rate = rate * 7 / 8 // in realtime mode it takes about a sixth more than it is told
			}
		default:
			return nil, fmt.Errorf("%w: %q is not mp4, webm or hls", ErrFormat, f)
		}
		if !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	return all, nil
}

// minKeyint is the least distance of keyframes that x264 is told. With a
// shorter one, as of a chunk of few pictures, it uses fewer references, and
// its headers are no longer those of the other chunks.
const minKeyint = 50

// args are ffmpeg's for the stream of index i, with a keyframe every gop
// pictures and nowhere else.
func (e Encoder) args(i, gop int) []string {
	n := strconv.Itoa(i)
	a := []string{"-g:v:" + n, strconv.Itoa(max(gop, minKeyint)), "-threads:v:" + n, "1"}
	switch e.Codec {
	case "h264":
		// stitchable: headers that do not depend on the content, so that all
		// chunks of a movie have the same.
		a = append(a, "-c:v:"+n, "libx264", "-preset:v:"+n, "veryfast", "-tune:v:"+n, "ssim", "-profile:v:"+n, "high",
			"-x264-params:v:"+n, fmt.Sprintf("scenecut=0:open-gop=0:stitchable=1:keyint=%d:min-keyint=%d", max(gop, minKeyint), max(gop, minKeyint)))
		if e.Rate == 0 {
			a = append(a, "-crf:v:"+n, strconv.Itoa(e.CRF))
		}
	default:
		coder := "libvpx"
		if e.Codec == "vp9" {
			coder = "libvpx-vp9"
		}
		a = append(a, "-c:v:"+n, coder, "-deadline:v:"+n, "realtime", "-cpu-used:v:"+n, "8",
			"-auto-alt-ref:v:"+n, "0", "-lag-in-frames:v:"+n, "0", "-keyint_min:v:"+n, strconv.Itoa(gop))
	}
	if e.Rate > 0 {
		a = append(a, "-b:v:"+n, strconv.Itoa(e.Rate))
	}
	return append(a, "-maxrate:v:"+n, strconv.Itoa(e.MaxRate), "-bufsize:v:"+n, strconv.Itoa(2*e.MaxRate))
}

// colour reads #rrggbb.
func colour(s string) (color.RGBA, error) {
	var c color.RGBA
	c.A = 255
	if len(s) != 7 {
		return c, fmt.Errorf("%w: background %q is not #rrggbb", ErrQuality, s)
	}
	v, err := strconv.ParseUint(s[1:], 16, 32)
	if s[0] != '#' || err != nil {
		return c, fmt.Errorf("%w: background %q is not #rrggbb", ErrQuality, s)
	}
	c.R, c.G, c.B = byte(v>>16), byte(v>>8), byte(v)
	return c, nil
}
