package mjr

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording/raw"
)

// Options say where an import goes.
type Options struct {
	// Dir is the folder that is made; Key seals it.
	Dir string
	Key raw.Key
	// Place, where set, says both instead, once it is known which session the
	// files are of. Its error ends the import.
	Place func(s raw.SessionInfo) (dir string, key raw.Key, err error)
	// CallType and CallID name the call. "" are "default", and the event's
	// conference, the files' room or "imported".
	CallType, CallID string
	// SessionID names the session. "" is one that the same files always get.
	SessionID string
	// Log may be nil: then nothing is logged.
	Log *slog.Logger
}

// Result is what became of an import. It can be written as JSON, in which times
// are nanoseconds since the session's start.
type Result struct {
	Dir     string          `json:"dir"`
	Session raw.SessionInfo `json:"session"`
	// Length is from the first who came to the last who left.
	Length time.Duration `json:"length"`
	People []Person      `json:"people"`
	Tracks []Track       `json:"tracks"`
	// Problems are files that were left out, or not imported to their end: each
	// names its file, and where in it.
	Problems []string `json:"problems"`
}

// Person is somebody of the call. Times are since the session's start.
type Person struct {
	UserID string        `json:"user_id"`
	Role   string        `json:"role,omitempty"`
	Join   time.Duration `json:"join"`
	Leave  time.Duration `json:"leave"`
}

// Track is a file that became a track.
type Track struct {
	File     string          `json:"file"`
	TrackID  string          `json:"track_id"`
	UserID   string          `json:"user_id"`
	Type     event.TrackType `json:"type"`
	MimeType string          `json:"mime_type"`
	From     time.Duration   `json:"from"`
	To       time.Duration   `json:"to"`
	// Packets were imported, Dropped were not: no RTP, or of another payload
	// type than most.
	Packets int `json:"packets"`
	Dropped int `json:"dropped"`
}

// Import makes a folder of package raw of .mjr files and the WAV file of a
// mixer, or of the folders that hold them. Who sent them and when is told by
// the event of the conference; without one (nil) by the files' heads and
// names, and then the files must be of one room. Files that the event does not
// name are left out, and its own paths are not followed: only their last part
// counts.
//
// Files that cannot be imported, wholly or from some byte on, are told by
// Result.Problems; with an error there is no session, and what was written of
// it is gone. A folder whose journal has no end is one that a killed import
// left: destroy it.
//
// The sound of a mixer becomes a track of a user "mixer" with RoleMixer. There
// are no sender reports in these files, so tracks are put beside one another by
// when their packets arrived.
func Import(ctx context.Context, paths []string, e *ConferenceEvent, o Options) (*Result, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	paths, err := expand(paths)
	if err != nil {
		return nil, err
	}
	res := &Result{Dir: o.Dir, People: []Person{}, Tracks: []Track{}, Problems: []string{}}
	var problems []error
	problem := func(err error) {
		o.Log.Warn("import leaves out", "err", err)
		problems = append(problems, err)
		res.Problems = append(res.Problems, err.Error())
	}
	sources, err := gather(ctx, paths, e, problem)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("nothing could be imported: %w", errors.Join(problems...))
	}
	if res.Session, err = session(sources, e, o); err != nil {
		return nil, err
	}
	if o.Place != nil {
		if o.Dir, o.Key, err = o.Place(res.Session); err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		res.Dir = o.Dir
	}
	w, err := raw.Create(o.Dir, o.Key, res.Session, raw.Options{FlushEvery: flushEvery, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	im := &importer{w: w, res: res, start: res.Session.StartedAt}
	if err := im.all(ctx, sources); err != nil {
		return nil, errors.Join(fmt.Errorf("import: %w", err), w.Discard())
	}
	if err := w.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("import: %w", err), raw.Destroy(o.Dir))
	}
	return res, nil
}

// session is what the files are of.
func session(all []*source, e *ConferenceEvent, o Options) (raw.SessionInfo, error) {
	id, uuid := "", ""
	if e != nil {
		id, uuid = e.ConferenceID, e.Recording.UUID
	}
	room, err := roomOf(all)
	if err != nil && e == nil {
		return raw.SessionInfo{}, err
	}
	s := raw.SessionInfo{
		CallType: cmp.Or(o.CallType, "default"), CallID: cmp.Or(o.CallID, plain(cmp.Or(id, room)), "imported"),
		StartedAt: all[0].begin,
	}
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, uuid) // a hash takes all
	for _, x := range all {
		if x.join.Before(s.StartedAt) {
			s.StartedAt = x.join
		}
		_, _ = fmt.Fprintln(sum, filepath.Base(x.path), x.begin.UnixMilli(), x.length)
	}
	s.StartedAt = s.StartedAt.UTC().Truncate(time.Millisecond)
	s.CID = s.CallType + ":" + s.CallID
	s.SessionID = cmp.Or(o.SessionID, hex.EncodeToString(sum.Sum(nil)[:16]))
	return s, nil
}

// plain makes of a name one that a call can have.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, s)
	return s[:min(len(s), 64)]
}

// importer fills a folder.
type importer struct {
	w     *raw.Writer
	res   *Result
	start time.Time
	// sent packets, of which those before mark are to be written before more
	// come; batch are the bytes since.
	sent, mark uint64
	batch      int
}

func (im *importer) since(t time.Time) time.Duration { return max(t.Sub(im.start), 0) }

// step is a line of the journal that is to be written in its order.
type step struct {
	at time.Duration
	do func() error
}

// all writes the journal, then the packets, then the journal's end.
func (im *importer) all(ctx context.Context, sources []*source) error {
	steps := im.people(sources)
	writers := make([]*raw.StreamWriter, len(sources))
	ids := make(map[string]int)
	for i, s := range sources {
		info := s.stream(ids)
		info.At = im.since(s.begin)
		end := im.since(s.begin.Add(s.length + opusFrame))
		steps = append(steps, step{info.At, func() (err error) {
			writers[i], err = im.w.Stream(info)
			return err
		}}, step{end, func() error {
			return im.w.Note(raw.Entry{Kind: raw.Removed, At: end, UserID: info.UserID, UserSessionID: info.UserSessionID, TrackID: info.TrackID})
		}})
		im.res.Tracks = append(im.res.Tracks, Track{
			File: s.path, TrackID: info.TrackID, UserID: info.UserID, Type: info.Type, MimeType: info.MimeType, From: info.At, To: end,
		})
	}
	// Stable: people come before their tracks, and go after them.
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	for _, s := range steps {
		if err := s.do(); err != nil {
			return err
		}
	}
	for i, s := range sources {
		if err := im.packets(ctx, s, writers[i], &im.res.Tracks[i]); err != nil {
			return err
		}
		writers[i].End()
	}
	if lost := im.w.Stats().Lost; lost > 0 {
		return fmt.Errorf("%d packets were not written: %w", lost, errSlow)
	}
	return im.w.Note(raw.Entry{Kind: raw.Ended, At: im.res.Length})
}

// people are the steps in which they come and go.
func (im *importer) people(sources []*source) []step {
	where := make(map[string]int)
	people := im.res.People
	for _, s := range sources {
		i, ok := where[s.user]
		if !ok {
			i = len(people)
			where[s.user] = i
			people = append(people, Person{UserID: s.user, Role: s.role, Join: im.since(s.join)})
		}
		people[i].Join = min(people[i].Join, im.since(s.join))
		people[i].Leave = max(people[i].Leave, im.since(s.leave))
		im.res.Length = max(im.res.Length, im.since(s.leave))
	}
	im.res.People = people
	var steps []step
	for _, p := range people {
		e := raw.Entry{UserID: p.UserID, UserSessionID: p.UserID, Name: p.UserID, Role: p.Role}
		in, out := e, e
		in.Kind, in.At, out.Kind, out.At = raw.Joined, p.Join, raw.Left, p.Leave
		// A nanosecond keeps those who leave behind their tracks' ends.
		steps = append(steps, step{in.At, func() error { return im.w.Note(in) }}, step{out.At + 1, func() error { return im.w.Note(out) }})
	}
	return steps
}

// stream describes a source's track. ids counts those of the same name.
func (s *source) stream(ids map[string]int) raw.StreamInfo {
	what := map[event.TrackType]string{
		event.TrackVideo: "camera", event.TrackScreenShare: "screen", event.TrackAudio: "microphone", event.TrackScreenShareAudio: "screen-sound",
	}[s.kind]
	id := s.user + "-" + what
	if ids[id]++; ids[id] > 1 {
		id = fmt.Sprintf("%s-%d", id, ids[id])
	}
	c := codecTable["opus"] // of a mixer's sound
	if s.track != nil {
		c = s.track.codec
	}
	info := raw.StreamInfo{
		ID: id, TrackID: id, UserID: s.user, UserSessionID: s.user, Type: s.kind,
		MimeType: c.mime, ClockRate: c.rate, Channels: c.channels,
	}
	if s.track != nil {
		info.Fmtp, info.ParameterSets = s.track.info.Fmtp, s.track.parameterSets()
		info.AudioLevelExtID, info.RotationExtID = s.track.extension(audioLevelURI), s.track.extension(orientationURI)
	}
	return info
}

// packets writes those of one source.
func (im *importer) packets(ctx context.Context, s *source, to *raw.StreamWriter, t *Track) error {
	write := func(b []byte, at time.Duration) error {
		to.Write(b, false, s.begin.Add(at))
		t.Packets++
		return im.pace(ctx, len(b))
	}
	if s.track != nil {
		t.Dropped = s.track.dropped
		return s.track.each(ctx, write)
	}
	if err := eachOpus(ctx, s.path, maxWAV, write); err != nil {
		if ctx.Err() != nil || errors.Is(err, errSlow) {
			return err
		}
		// Better a movie without some of its sound than none.
		im.res.Problems = append(im.res.Problems, err.Error())
	}
	return nil
}
