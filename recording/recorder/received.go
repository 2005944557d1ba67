package recorder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/mjr"
	"stillwatch/recording/raw"
	"stillwatch/recording/stream"
)

// callName is a call's TYPE:ID.
var callName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}:[A-Za-z0-9_-]{1,64}$`)

// brought is what an import has made a session's folder of.
type brought struct {
	*mjr.Result
	// start is when the recording begins, which is not before the session.
	start time.Time
}

// bring makes a session's folder of what is imported.
func bring(ctx context.Context, o ImportOrder, opt mjr.Options) (brought, error) {
	f, err := receivedIn(o.Paths)
	if err != nil {
		return brought{}, err
	}
	if f == nil {
		res, err := mjr.Import(ctx, o.Paths, o.Event, opt)
		if err != nil {
			return brought{}, err
		}
		return brought{res, res.Session.StartedAt}, nil
	}
	if o.Event != nil {
		return brought{}, &recording.FieldError{Field: "event", Want: "must not be given for a stream, which says itself who sent what"}
	}
	res, err := unpack(ctx, f, o.Paths[0], opt)
	if err != nil {
		return brought{}, err
	}
	return brought{res, runStart(res, f.Header().RunStartedAt)}, nil
}

// runStart is when a run began in an ongoing session. What a header says that
// cannot be is passed over.
func runStart(res *mjr.Result, told time.Time) time.Time {
	from := res.Session.StartedAt
	if told.Before(from) || !told.Before(from.Add(res.Length)) {
		return from
	}
	return told
}

// receivedIn is the stream that lies in a folder; nil if the paths are of
// something else.
func receivedIn(paths []string) (*stream.Folder, error) {
	if len(paths) != 1 {
		return nil, nil
	}
	if info, err := os.Stat(paths[0]); err != nil || !info.IsDir() {
		return nil, nil // which mjr.Import tells of
	}
	f, err := stream.Open(paths[0])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, stream.ErrEmpty) {
		return nil, tooHigh(paths[0])
	}
	return f, err
}

// tooHigh tells of a folder that holds nothing but folders, one of them of a
// stream.
func tooHigh(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // as above
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() }) {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if _, err := stream.Open(path); err == nil {
			return &recording.FieldError{Field: "paths", Want: fmt.Sprintf("must be files of Janus or the folder of one stream, such as %s: %s holds folders of streams", path, dir)}
		}
	}
	return nil
}

// unpack makes a session's folder of a received stream.
func unpack(ctx context.Context, f *stream.Folder, path string, opt mjr.Options) (*mjr.Result, error) {
	s := f.Header().Session()
	// Not the session's own: that may have been recorded here as well.
	s.SessionID = cmp.Or(opt.SessionID, event.DeriveID("received stream", f.Header().RecordingID))
	s.CallType, s.CallID = cmp.Or(opt.CallType, s.CallType), cmp.Or(opt.CallID, s.CallID)
	s.CID = s.CallType + ":" + s.CallID
	if !callName.MatchString(s.CID) || s.StartedAt.IsZero() {
		return nil, &recording.FieldError{Field: "call", Want: "must be named: the stream's own name is none"}
	}
	dir, key, err := opt.Place(s)
	if err != nil {
		return nil, err
	}
	got, err := f.Unpack(ctx, dir, key, s)
	if err != nil {
		return nil, err
	}
	res := &mjr.Result{Dir: dir, Session: s, Length: got.Length, People: []mjr.Person{}, Tracks: []mjr.Track{}, Problems: got.Problems}
	for _, p := range got.People {
		res.People = addPerson(res.People, p)
	}
	for _, t := range got.Tracks {
		res.Tracks = append(res.Tracks, mjr.Track{
			File: path, TrackID: t.Info.TrackID, UserID: t.Info.UserID, Type: t.Info.Type, MimeType: t.Info.MimeType,
			From: t.Info.At, To: max(t.To, t.Info.At), Packets: t.Packets,
		})
	}
	return res, nil
}

// addPerson puts the connections of one user together.
func addPerson(people []mjr.Person, p stream.Person) []mjr.Person {
	if p.Role == raw.RoleMixer {
		p.Role = "" // only an import of a mixer's sound has one
	}
	for i := range people {
		if q := &people[i]; q.UserID == p.UserID {
			q.Join, q.Leave = min(q.Join, p.Join), max(q.Leave, p.Leave)
			return people
		}
	}
	return append(people, mjr.Person{UserID: p.UserID, Role: p.Role, Join: p.Join, Leave: p.Leave})
}
