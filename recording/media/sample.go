package media

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Sample is a coded picture (VP8 or VP9 frame, H.264 access unit in Annex B
// form, AV1 temporal unit in the low-overhead format) or a packet of sound.
type Sample struct {
	// At is on the call's clock, since the session's start. It never falls
	// within a stream.
	At time.Duration
	// Ticks is the RTP timestamp in the track's clock rate, unwrapped; the
	// first sample of a stream has its true value.
	Ticks int64
	// Data is valid until the next sample.
	Data []byte
	// Key: a keyframe. All sound is.
	Key bool
	// Width and Height are of keyframes in pixels before rotation, else 0.
	Width, Height int
	// Broken: something before was lost, so that this cannot be decoded; until
	// the next Key.
	Broken bool
	// Rotation in degrees clockwise makes the picture upright.
	Rotation int
	// Level is the sound's loudness in −dBov, 0 to 127 (silence), and Voice
	// whether it is speech (RFC 6464); only with Leveled, else 127.
	Level          uint8
	Voice, Leveled bool
	// Length is of sound.
	Length time.Duration

	params uint64
	mark   mark
}

// Samples gives a stream's samples in sequence, each once. After an error
// nothing more comes.
func (s *Session) Samples(ctx context.Context, streamID string) iter.Seq2[Sample, error] {
	return s.read(ctx, streamID, nil, nil)
}

// From gives the samples from the last keyframe at or before a moment on, or
// all if there is none; of sound, from the packet that sounds at the moment.
func (s *Session) From(ctx context.Context, streamID string, at time.Duration) iter.Seq2[Sample, error] {
	st := s.streams[streamID]
	if st == nil {
		return s.Samples(ctx, streamID)
	}
	if !st.in.Video() {
		return s.read(ctx, streamID, st.soundBefore(at), func(m Sample) bool { return m.At+m.Length > at })
	}
	key := -1
	for i, k := range st.keys {
		if k.at0 <= at {
			key = i
		}
	}
	if key < 0 {
		return s.Samples(ctx, streamID)
	}
	k := st.keys[key]
	return s.read(ctx, streamID, st.checkBefore(k.mark), func(m Sample) bool { return m.Key && m.mark.seg == k.seg && m.Ticks == k.ticks })
}

// soundBefore returns the last place to read from that is before a moment.
func (st *stream) soundBefore(at time.Duration) *snapshot {
	var best *snapshot
	for i := range st.checks {
		if st.clock.place(st.checks[i].mark) > at-maxWait {
			break
		}
		best = &st.checks[i].snapshot
	}
	return best
}

// read gives samples from the first for which start answers true.
func (s *Session) read(ctx context.Context, id string, from *snapshot, start func(Sample) bool) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		st := s.streams[id]
		if st == nil {
			yield(Sample{}, fmt.Errorf("%w: %s", ErrUnknown, id))
			return
		}
		var last time.Duration
		done := false
		emit := func(c *coded) bool {
			m := st.sample(c, &last)
			if start != nil && !start(m) {
				return true
			}
			start = nil
			done = !yield(m, nil)
			return !done
		}
		err := newReading(st.in, st.clock, false, from, emit).run(ctx, s.src, from)
		// what could not be read at Load is told by Problems
		if err != nil && !done && (st.fault == nil || ctx.Err() != nil) {
			yield(Sample{}, fmt.Errorf("read stream %s: %w", id, err))
		}
	}
}

func (st *stream) sample(c *coded, last *time.Duration) Sample {
	m := Sample{
		At: max(st.clock.place(c.mark), *last), Ticks: c.ticks, Data: c.data, Key: c.key, Broken: c.broken,
		Width: c.width, Height: c.height, Rotation: int(c.rotation), Level: 127,
		Length: st.clock.duration(c.length), params: c.params, mark: c.mark,
	}
	if c.level > 0 {
		m.Level, m.Voice, m.Leveled = uint8(c.level-1)&0x7f, (c.level-1)&0x80 != 0, true
	}
	*last = m.At
	return m
}

// LevelPoint is a packet's loudness in −dBov, 0 to 127 (silence), and whether
// it is speech (RFC 6464).
type LevelPoint struct {
	At    time.Duration
	Level uint8
	Voice bool
}

// Levels returns the loudness of a track of sound, in order of time; nothing
// where the sender did not tell.
func (s *Session) Levels(trackID string) []LevelPoint {
	t, ok := s.Track(trackID)
	if !ok {
		return nil
	}
	st := s.streams[t.Layers[0].StreamID]
	all := make([]LevelPoint, 0, len(st.levels))
	var last time.Duration
	for _, l := range st.levels {
		last = max(last, st.clock.place(l.mark))
		all = append(all, LevelPoint{At: last, Level: uint8(l.level) & 0x7f, Voice: l.level&0x80 != 0})
	}
	return all
}
