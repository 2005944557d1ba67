package composite

import (
	"context"
	"iter"
	"slices"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording/layout"
	"stillwatch/recording/media"
)

// session is a recorded call read from its packets.
type session struct {
	s *media.Session
}

// FromSession makes a recorded call the source of a movie.
func FromSession(s *media.Session) Source { return session{s} }

// Length implements Source.
func (s session) Length() time.Duration { return s.s.Length() }

// Tracks implements Source.
func (s session) Tracks() []Track {
	var all []Track
	for _, t := range s.s.Tracks() {
		if !t.Video() || fourCC[t.Codec] == "" {
			continue
		}
		out := Track{ID: t.ID, Codec: t.Codec}
		for _, l := range t.Layers {
			spans := make([]Span, 0, len(l.Spans))
			for _, sp := range l.Spans {
				spans = append(spans, Span(sp))
			}
			out.Layers = append(out.Layers, Layer{StreamID: l.StreamID, Width: l.Width, Height: l.Height, Spans: spans, Keys: l.Keys})
		}
		all = append(all, out)
	}
	return all
}

// People implements Source.
func (s session) People() []layout.Person {
	var all []layout.Person
	for _, p := range s.s.People() {
		all = append(all, layout.Person{ID: p.UserSessionID, UserID: p.UserID, Name: p.Name, Join: p.Join, Leave: p.Leave, Hidden: p.Mixer()})
	}
	for _, t := range s.s.Tracks() {
		if t.Person < 0 || t.Person >= len(all) {
			continue
		}
		p := &all[t.Person]
		switch {
		case t.Type == event.TrackScreenShare && fourCC[t.Codec] != "":
			p.Screen = append(p.Screen, spells(t)...)
		case t.Type == event.TrackVideo && fourCC[t.Codec] != "":
			p.Camera = append(p.Camera, spells(t)...)
		case t.Type == event.TrackAudio:
			var points []layout.LevelPoint
			for _, l := range s.s.Levels(t.ID) {
				points = append(points, layout.LevelPoint(l))
			}
			p.Speech = append(p.Speech, layout.Speakers(points, layout.SpeakerOptions{})...)
		}
	}
	return all
}

// spells are the times in which any layer of a track can be decoded.
func spells(t media.Track) []layout.Spell {
	var spans []media.Span
	for _, l := range t.Layers {
		spans = append(spans, l.Spans...)
	}
	slices.SortFunc(spans, func(a, b media.Span) int { return int(a.From - b.From) })
	var all []layout.Spell
	for _, sp := range spans {
		if n := len(all); n > 0 && sp.From <= all[n-1].To {
			all[n-1].To = max(all[n-1].To, sp.To)
			continue
		}
		all = append(all, layout.Spell{TrackID: t.ID, From: sp.From, To: sp.To})
	}
	return all
}

// From implements Source.
func (s session) From(ctx context.Context, streamID string, at time.Duration) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		for m, err := range s.s.From(ctx, streamID, at) {
			out := Sample{At: m.At, Data: m.Data, Key: m.Key, Width: m.Width, Height: m.Height, Broken: m.Broken, Rotation: m.Rotation}
			if !yield(out, err) {
				return
			}
		}
	}
}
