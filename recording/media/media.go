// Package media makes coded pictures and sound of a call's stored packets, on
// the call's clock, and files of them: each track without transcoding, and one
// of all sound.
package media

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording/raw"
)

// Errors that callers may want to tell apart.
var (
	// ErrUnknown says that there is no such stream or track.
	ErrUnknown = errors.New("unknown stream or track")
	// ErrNoSound and ErrNoMedia say that nothing was there to make a file of.
	ErrNoSound = errors.New("no sound")
	ErrNoMedia = errors.New("no picture and no sound")
	// ErrFormat says that a codec does not go into the format that was wanted.
	ErrFormat = errors.New("format does not take the codec")
)

// Span is a stretch of the call, To not included, since its start.
type Span struct {
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

// Length is To − From.
func (s Span) Length() time.Duration { return s.To - s.From }

// Person is one connection of a user, from coming to going. Who comes back is
// another person.
type Person struct {
	UserID, UserSessionID, Name, Role string
	Join, Leave                       time.Duration
}

// Track is a camera, a microphone, a shared screen or its sound.
type Track struct {
	ID string
	// Person is the index of whose it is in People.
	Person int
	Type   event.TrackType
	// Codec is VP8, VP9, H264, AV1, Opus, PCMU or PCMA, "" for one that cannot
	// be read.
	Codec     string
	Channels  int // of sound
	ClockRate int // Hz
	// Layers are in falling order of size; at least one.
	Layers []Layer
	Muted  []Span
	// LeftOut says that only evidence shows the track: who publishes it chose
	// to have the other half recorded.
	LeftOut bool
}

// Video tells whether the track is a picture.
func (t Track) Video() bool {
	return t.Type == event.TrackVideo || t.Type == event.TrackScreenShare
}

// Layer is a track's stream, or one simulcast layer of it.
type Layer struct {
	StreamID, RID string
	// Width and Height are of the largest keyframe, in pixels before rotation.
	Width, Height int
	// Bitrate is of what can be decoded, in bits a second.
	Bitrate int
	// Spans are when there is something to decode; gaps of more than a second
	// and mutes divide them.
	Spans []Span
	// Keys are when keyframes are; of video.
	Keys  []time.Duration
	Stats Stats
}

// Session is a recorded call. It is safe for concurrent use if its Source is.
type Session struct {
	src     Source
	info    raw.SessionInfo
	length  time.Duration
	people  []Person
	tracks  []Track
	streams map[string]*stream
}

// Load reads every stream of the session once. A stream whose reading fails
// counts as far as it could be read; Problems tells.
func Load(src Source) (*Session, error) { return LoadContext(context.Background(), src) }

// LoadContext is Load that can be broken off.
func LoadContext(ctx context.Context, src Source) (*Session, error) {
	s := &Session{src: src, info: src.Session(), length: src.Length(), streams: map[string]*stream{}}
	s.people = people(src.Entries(), s.length)
	byConnection := map[string][]*clock{}
	infos := src.Streams()
	for _, info := range infos {
		in := newStreamInfo(info)
		st, err := scan(ctx, src, in)
		if err != nil {
			return nil, fmt.Errorf("read stream %s: %w", info.ID, err)
		}
		s.streams[info.ID] = st
		id := cmp.Or(info.UserSessionID, info.ID)
		byConnection[id] = append(byConnection[id], st.clock)
	}
	for _, clocks := range byConnection {
		share(clocks)
	}
	s.makeTracks(infos, mutes(src.Entries(), s.length))
	return s, nil
}

func (s *Session) makeTracks(infos []raw.StreamInfo, muted map[string][]Span) {
	index := map[[2]string]int{}
	for _, info := range infos {
		st := s.streams[info.ID]
		st.place()
		id := [2]string{info.UserSessionID, info.TrackID}
		i, ok := index[id]
		if !ok {
			i = len(s.tracks)
			index[id] = i
			s.tracks = append(s.tracks, Track{
				ID: info.TrackID, Person: s.personOf(info), Type: info.Type, Codec: st.in.codec,
				Channels: int(info.Channels), ClockRate: int(st.in.ClockRate), Muted: muted[info.TrackID],
				LeftOut: info.LeftOut(),
			})
		}
		t := &s.tracks[i]
		l := Layer{StreamID: info.ID, RID: info.RID, Bitrate: st.bitrate(), Stats: st.stats}
		l.Width, l.Height = st.largest()
		l.Spans = cut(st.spans, t.Muted)
		for _, k := range st.keys {
			l.Keys = append(l.Keys, k.at0)
		}
		t.Layers = append(t.Layers, l)
	}
	for _, t := range s.tracks {
		slices.SortStableFunc(t.Layers, func(a, b Layer) int {
			return cmp.Or(b.Width*b.Height-a.Width*a.Height, b.Bitrate-a.Bitrate)
		})
	}
}

// Info returns what the journal says of the session.
func (s *Session) Info() raw.SessionInfo { return s.info }

// Length is from the session's start to the last thing seen.
func (s *Session) Length() time.Duration { return s.length }

// People returns who was there, in order of coming.
func (s *Session) People() []Person { return s.people }

// Tracks returns all tracks, in the order in which they began.
func (s *Session) Tracks() []Track { return s.tracks }

// Recorded is the session without the tracks that are left out.
func (s *Session) Recorded() *Session {
	some := *s
	some.tracks = slices.DeleteFunc(slices.Clone(s.tracks), func(t Track) bool { return t.LeftOut })
	return &some
}

// Track finds a track by its id.
func (s *Session) Track(id string) (Track, bool) {
	i := slices.IndexFunc(s.tracks, func(t Track) bool { return t.ID == id })
	if i < 0 {
		return Track{}, false
	}
	return s.tracks[i], true
}

// Problems returns, for each stream that could not be read to its end, why.
func (s *Session) Problems() []error {
	var all []error
	for _, t := range s.tracks {
		for _, l := range t.Layers {
			st := s.streams[l.StreamID]
			if st.fault != nil {
				all = append(all, fmt.Errorf("read stream %s: %w", l.StreamID, st.fault))
			}
			if st.in.codec == "" {
				all = append(all, fmt.Errorf("read stream %s: codec %s is not known", l.StreamID, st.in.MimeType))
			}
		}
	}
	return all
}
