package recorder

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"regexp"

	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/mjr"
	"stillwatch/recording/raw"
	"stillwatch/recording/stream"
)

// callName is a call's TYPE:ID.
var callName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}:[A-Za-z0-9_-]{1,64}$`)

// bring makes a session's folder of what is imported.
func bring(ctx context.Context, o ImportOrder, opt mjr.Options) (*mjr.Result, error) {
	if len(o.Paths) != 1 {
		return mjr.Import(ctx, o.Paths, o.Event, opt)
	}
	if info, err := os.Stat(o.Paths[0]); err != nil || !info.IsDir() {
		return mjr.Import(ctx, o.Paths, o.Event, opt)
	}
	f, err := stream.Open(o.Paths[0])
	if errors.Is(err, stream.ErrEmpty) || errors.Is(err, fs.ErrNotExist) {
		return mjr.Import(ctx, o.Paths, o.Event, opt)
	}
	if err != nil {
		return nil, err
	}
	if o.Event != nil {
		return nil, &recording.FieldError{Field: "event", Want: "must not be given for a stream, which says itself who sent what"}
	}
	return unpack(ctx, f, o.Paths[0], opt)
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
