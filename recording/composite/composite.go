// Package composite makes one movie of all participants of a recorded call.
//
// A Movie is planned first: the canvas and the call's layout intervals, cut
// into chunks. Each chunk is one run of ffmpeg that decodes the tiles (the
// lowest simulcast layer that is large enough for its tile), puts them
// together and encodes a closed piece that begins with an IDR picture. Chunks
// do not know of each other, so that any worker may render any of them; Join
// then puts them one after the other without encoding again, which leaves no
// seam, and adds the sound.
package composite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"stillwatch/recording/layout"
)

// Errors of planning.
var (
	ErrEmpty   = errors.New("the call has no length")
	ErrQuality = errors.New("unknown quality")
	ErrFormat  = errors.New("unknown format")
)

// Source is a recorded call. All times are since the session's start.
type Source interface {
	// People are those who were there, with the times at which they showed and
	// said something; a spell's TrackID is the ID of a Track.
	People() []layout.Person
	Length() time.Duration
	Tracks() []Track
	// From gives a layer's pictures in order, beginning with the last keyframe
	// at or before a time, or the first there is.
	From(ctx context.Context, streamID string, at time.Duration) iter.Seq2[Sample, error]
}

// Track is a camera or a shared screen.
type Track struct {
	ID string
	// Codec is VP8, VP9, H264 or AV1.
	Codec  string
	Layers []Layer
}

// Layer is a track's only stream, or one of its simulcast layers.
type Layer struct {
	StreamID string
	// Width and Height are of its largest keyframe, in pixels.
	Width, Height int
	// Spans are the times in which it can be decoded, in order.
	Spans []Span
	// Keys are the times of its keyframes, in order.
	Keys []time.Duration
}

// Span is a stretch of time: From is in it, To is not.
type Span struct{ From, To time.Duration }

// Sample is a coded picture.
type Sample struct {
	At time.Duration
	// Data is a VP8 or VP9 frame, an H.264 access unit in Annex B form or an
	// AV1 temporal unit; valid until the next one is read.
	Data []byte
	Key  bool
	// Width and Height are known of keyframes.
	Width, Height int
	// Broken pictures miss something before them and cannot be decoded.
	Broken bool
	// Rotation is in degrees clockwise: 0, 90, 180, 270.
	Rotation int
}

// Formats of a movie.
const (
	MP4  = "mp4"
	WebM = "webm"
	HLS  = "hls"
)

// Options say what the movie looks like.
type Options struct {
	// Quality is 360p, 420p, 480p, 720p, 1080p or 1440p (16:9), portrait-WxH,
	// or vga (640x480); "" is 720p.
	Quality string
	// Level is low, medium or high: how many bits it may take; "" is high.
	Level string
	// FPS is pictures a second, 1 to 60; 0 is 25.
	FPS int
	// Layout arranges the tiles; nil is the grid.
	Layout layout.Layout
	// Arrange are options of the layout; FrameTime is set by Plan.
	Arrange layout.Options
	// From and To are the part of the call to show; To 0 is its end.
	From, To time.Duration
	// Names burns names in. Background is a colour as #rrggbb, "" a dark grey.
	// Watermark is a text in the lower right corner.
	Names      bool
	Background string
	Watermark  string
	// Blur makes everybody unrecognisable whose user id is not in Flagged, and
	// leaves their names out.
	Blur    bool
	Flagged []string
	// Formats are of MP4, WebM, HLS; none is MP4.
	Formats []string
	// WebMCodec is vp9 or vp8; "" is vp9.
	WebMCodec string
	// MaxChunk is about how long a chunk may be; 0 is 12 s. One for which no
	// keyframe is near is longer, at most 60 s.
	MaxChunk time.Duration
	// Cut is a time of the movie at which a chunk ends, so that what comes
	// before can be published alone; 0 is none.
	Cut time.Duration
}

// Movie is the plan of a movie. It is plain data: what reads its JSON renders
// the same pictures. Times are since the movie's start.
type Movie struct {
	Width  int `json:"width"`
	Height int `json:"height"`
	FPS    int `json:"fps"`
	// Start is where in the call the movie begins: the mixed sound begins there
	// too. Frames is how many pictures it has.
	Start      time.Duration `json:"start"`
	Frames     int           `json:"frames"`
	Background string        `json:"background"`
	Watermark  string        `json:"watermark,omitempty"`
	Formats    []string      `json:"formats"`
	// Encoders are what each chunk is encoded with, one stream each.
	Encoders []Encoder `json:"encoders"`
	Chunks   []Chunk   `json:"chunks"`
}

// Length of the movie, to the frame.
func (m *Movie) Length() time.Duration { return m.time(m.Frames) }

// time of a frame.
func (m *Movie) time(frame int) time.Duration {
	return time.Duration(math.Round(float64(frame) * float64(time.Second) / float64(m.FPS)))
}

// frame nearest to a time.
func (m *Movie) frame(d time.Duration) int {
	return int(math.Round(d.Seconds() * float64(m.FPS)))
}

// after is the first frame at or after a time; a microsecond is none.
func (m *Movie) after(d time.Duration) int {
	return int(math.Ceil((d - time.Microsecond).Seconds() * float64(m.FPS)))
}

// Chunk is a piece of the movie with one arrangement, or of a copied movie all
// of it.
type Chunk struct {
	N int `json:"n"`
	// From and To are whole frames of the movie.
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
	// Tiles are empty for a bare background.
	Tiles []Tile `json:"tiles"`
	// Copy takes the only tile's pictures as they are.
	Copy bool `json:"copy,omitempty"`
	// Pictures is how many are copied, and Last the time of the last.
	Pictures int           `json:"pictures,omitempty"`
	Last     time.Duration `json:"last,omitempty"`
}

// Tile is a picture or a name card in its place.
type Tile struct {
	Rect layout.Rect `json:"rect"`
	// StreamID is the layer to show, "" for a name card; Codec, Width and
	// Height are the layer's.
	StreamID string `json:"stream_id,omitempty"`
	Codec    string `json:"codec,omitempty"`
	Width    int    `json:"width,omitempty"`
	Height   int    `json:"height,omitempty"`
	// Whole shows all of the picture, with bars; otherwise it fills the tile.
	Whole bool `json:"whole,omitempty"`
	Blur  bool `json:"blur,omitempty"`
	// Name is written on a card, and with Label over a picture.
	Name  string `json:"name,omitempty"`
	Label bool   `json:"label,omitempty"`
}

// Plan makes the plan of a movie. The same source and options give the same
// plan. It returns ErrEmpty, ErrQuality or ErrFormat, wrapped.
func Plan(ctx context.Context, src Source, o Options) (*Movie, error) {
	m, err := o.movie(src.Length())
	if err != nil {
		return nil, err
	}
	people := src.People()
	o.Arrange.FrameTime = m.time(1)
	if o.Layout == nil {
		if o.Layout, err = layout.Find("grid"); err != nil {
			return nil, fmt.Errorf("find layout: %w", err)
		}
	}
	scene := layout.Scene{Width: m.Width, Height: m.Height, Length: m.Start + m.Length(), People: people}
	p := planner{m: m, o: o, people: people, tracks: map[string]Track{}}
	for _, t := range src.Tracks() {
		p.tracks[t.ID] = t
	}
	for _, i := range layout.Timeline(scene, o.Layout, o.Arrange) {
		from, to := max(m.frame(i.From-m.Start), 0), m.frame(i.To-m.Start)
		if to > from {
			p.interval(from, to, i.Tiles)
		}
	}
	if err := p.copy(ctx, src); err != nil {
		return nil, err
	}
	return m, nil
}

// movie is a plan without chunks.
func (o *Options) movie(length time.Duration) (*Movie, error) {
	m := &Movie{FPS: o.FPS, Start: max(o.From, 0), Background: o.Background, Watermark: o.Watermark, Formats: slices.Clone(o.Formats)}
	if m.FPS == 0 {
		m.FPS = 25
	}
	if m.FPS < 1 || m.FPS > 60 {
		return nil, fmt.Errorf("%w: %d pictures a second, want 1 to 60", ErrQuality, o.FPS)
	}
	var err error
	if m.Width, m.Height, err = Canvas(o.Quality); err != nil {
		return nil, err
	}
	if m.Background == "" {
		m.Background = "#101418"
	}
	if _, err := colour(m.Background); err != nil {
		return nil, err
	}
	if len(m.Formats) == 0 {
		m.Formats = []string{MP4}
	}
	if m.Encoders, err = encoders(m, o.Level, o.Quality, o.WebMCodec); err != nil {
		return nil, err
	}
	if o.MaxChunk <= 0 {
		o.MaxChunk = 12 * time.Second
	}
	if o.To > 0 {
		length = min(length, o.To)
	}
	m.Start = m.time(m.frame(m.Start)) // intervals begin at whole frames
	if m.Frames = m.frame(length - m.Start); m.Frames <= 0 {
		if length <= m.Start {
			return nil, fmt.Errorf("plan movie: %w", ErrEmpty)
		}
		m.Frames = 1
	}
	return m, nil
}
