package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stillwatch/recording/raw"
)

const (
	// batchBytes are given to the folder at a time: its writer never waits for
	// the disk and holds 4 MiB of a stream at most.
	batchBytes = 1 << 20
	// patience is how long the disk may take for a batch.
	patience = 30 * time.Second
	// maxStreams and maxPeople bound what a stream may tell of, maxProblems what
	// is told of it.
	maxStreams  = 10_000
	maxPeople   = 100_000
	maxProblems = 100
)

// Unpacked is what was in a stream.
type Unpacked struct {
	Session raw.SessionInfo
	// Length is when the last of it happened, since the session's start.
	Length time.Duration
	People []Person
	Tracks []UnpackedTrack
	// Missing is how many numbers did not come.
	Missing uint64
	// Whole tells that the stream's end is there.
	Whole bool
	// Problems tell of gaps and of what could not be used.
	Problems []string
}

// Person is somebody of the call, by connection.
type Person struct {
	UserID, UserSessionID, Role string
	Join, Leave                 time.Duration
}

// UnpackedTrack is a stream of packets.
type UnpackedTrack struct {
	Info    raw.StreamInfo
	To      time.Duration
	Packets int
}

// Unpack makes a session's folder of package raw of what a Receiver wrote, as
// the one that recorded the call has it. The session is as the stream's header
// says, or as session changes it.
func (f *Folder) Unpack(ctx context.Context, dir string, key raw.Key, session raw.SessionInfo) (*Unpacked, error) {
	// The writer counts time from its making: what came is put on its clock.
	w, err := raw.Create(dir, key, session, raw.Options{FlushEvery: 20 * time.Millisecond})
	if err != nil {
		return nil, fmt.Errorf("unpack stream: %w", err)
	}
	u := &unpacker{w: w, out: &Unpacked{Session: session, Problems: []string{}}, tracks: map[uint32]*unpacking{}, people: map[string]*Person{}}
	if err := u.all(ctx, f); err != nil {
		return nil, errors.Join(fmt.Errorf("unpack stream: %w", err), w.Discard())
	}
	if err := w.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("unpack stream: %w", err), raw.Destroy(dir))
	}
	return u.out, nil
}

type unpacker struct {
	w      *raw.Writer
	out    *Unpacked
	tracks map[uint32]*unpacking
	people map[string]*Person // by connection
	last   uint64
	// sent packets, of which those before mark are to be written before more
	// come; batch are the bytes since.
	sent, mark uint64
	batch      int
	full       bool // streams were left out
}

type unpacking struct {
	w *raw.StreamWriter
	n int // index in Unpacked.Tracks
}

func (u *unpacker) problem(format string, args ...any) {
	if len(u.out.Problems) < maxProblems {
		u.out.Problems = append(u.out.Problems, fmt.Sprintf(format, args...))
	}
}

func (u *unpacker) all(ctx context.Context, f *Folder) error {
	for rec, err := range f.Records() {
		if err != nil {
			return err
		}
		if rec.Seq > 0 {
			if u.last > 0 && rec.Seq > u.last+1 {
				u.missing(rec)
			}
			u.last = rec.Seq
		}
		if err := u.record(ctx, rec); err != nil {
			return err
		}
	}
	if lost := u.w.Stats().Lost; lost > 0 {
		return fmt.Errorf("%d packets were not written", lost)
	}
	if !u.out.Whole {
		u.problem("the stream has no end: it was cut off")
	}
	for _, p := range u.people {
		if p.Leave == 0 {
			p.Leave = u.out.Length
		}
		u.out.People = append(u.out.People, *p)
	}
	slices.SortFunc(u.out.People, func(a, b Person) int {
		return cmp.Or(cmp.Compare(a.Join, b.Join), cmp.Compare(a.UserSessionID, b.UserSessionID))
	})
	return u.w.Note(raw.Entry{Kind: raw.Ended, At: u.out.Length})
}

func (u *unpacker) missing(rec Record) {
	n := rec.Seq - u.last - 1
	u.out.Missing += n
	if rec.Kind == KindGap {
		u.problem("the sender dropped %d packets from %v to %v", rec.Gap.Packets, rec.Gap.From, rec.Gap.To)
		return
	}
	u.problem("%d records after number %d did not come", n, u.last)
}

func (u *unpacker) record(ctx context.Context, rec Record) error {
	switch rec.Kind {
	case KindRTP, KindRTCP:
		t := u.tracks[rec.Number]
		if t == nil {
			return nil // its stream was not told of: the event was lost
		}
		u.to(rec.At)
		t.w.Write(rec.Data, rec.Kind == KindRTCP, u.out.Session.StartedAt.Add(rec.At))
		track := &u.out.Tracks[t.n]
		track.To = max(track.To, rec.At)
		track.Packets++
		return u.pace(ctx, len(rec.Data))
	case KindEvent:
		return u.event(rec.Event)
	case KindGap:
		return u.w.Note(raw.Entry{Kind: raw.Lost, At: rec.Gap.To, Detail: fmt.Sprintf("%d packets", rec.Gap.Packets)})
	case KindEnd:
		u.to(rec.End.At)
		u.out.Whole = true
	case KindHeader, KindSignature:
	}
	return nil
}

func (u *unpacker) to(at time.Duration) { u.out.Length = max(u.out.Length, at) }

// event takes what was told; a state that is told anew changes nothing.
func (u *unpacker) event(e Event) error {
	if e.At < 0 {
		return fmt.Errorf("%w: an event before the beginning", ErrFormat)
	}
	u.to(e.At)
	switch e.Kind {
	case raw.Joined:
		if u.people[e.UserSessionID] != nil {
			return nil
		}
		if len(u.people) >= maxPeople {
			return fmt.Errorf("%w: more than %d people", ErrFormat, maxPeople)
		}
		u.people[e.UserSessionID] = &Person{UserID: e.UserID, UserSessionID: e.UserSessionID, Role: e.Role, Join: e.At}
	case raw.Left:
		p := u.people[e.UserSessionID]
		if p == nil || p.Leave > 0 {
			return nil
		}
		p.Leave = e.At
	case raw.Added:
		if u.tracks[e.Number] != nil || e.Stream == nil {
			return nil
		}
		if len(u.tracks) >= maxStreams {
			if !u.full {
				u.full = true
				u.problem("there are more than %d streams: those after are left out", maxStreams)
			}
			return nil
		}
		w, err := u.w.Stream(*e.Stream)
		if err != nil {
			return err
		}
		u.tracks[e.Number] = &unpacking{w, len(u.out.Tracks)}
		u.out.Tracks = append(u.out.Tracks, UnpackedTrack{Info: w.Info(), To: e.Stream.At})
		return nil
	case raw.Removed, raw.Muted, raw.Unmuted:
	default:
		return nil // Speaker, which is found again in the sound, and what is not known
	}
	return u.w.Note(e.Entry)
}

// pace waits after each batch until the one before is written.
func (u *unpacker) pace(ctx context.Context, n int) error {
	u.sent++
	if u.batch += n + 8; u.batch < batchBytes {
		return nil
	}
	u.batch = 0
	defer func() { u.mark = u.sent }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		if s := u.w.Stats(); s.Packets+s.Lost >= u.mark {
			return nil
		}
		select {
		case <-tick.C:
		case <-late:
			return errors.New("the disk does not take it")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
