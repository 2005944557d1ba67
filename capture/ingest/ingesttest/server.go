package ingesttest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/capture/ingest"
	"stillwatch/capture/ingest/gate"
	"stillwatch/capture/ingest/rtc"
)

// Server is a transport, a registry and an HTTP server for handlers over them.
type Server struct {
	URL       string
	Transport *rtc.Transport
	Registry  *call.Registry
	Events    *Events
	// Banned users are refused with 403.
	Banned sync.Map

	mux *http.ServeMux
}

// NewServer starts one. It is closed with the test.
func NewServer(t testing.TB, tune ...func(*rtc.Config, *call.Config)) *Server {
	t.Helper()
	s := &Server{Events: &Events{}, mux: http.NewServeMux()}
	rc := rtc.Config{Listen: "127.0.0.1:0", Gate: gate.Config{}}
	cc := call.Config{Tracks: []call.TrackObserver{s.Events}, Sessions: []call.SessionObserver{s.Events}}
	for _, f := range tune {
		f(&rc, &cc)
	}
	s.Transport, s.Registry = rtc.New(rc), call.New(cc)
	if err := errors.Join(s.Transport.Start(t.Context()), s.Registry.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.mux)
	s.URL = h.URL
	t.Cleanup(func() {
		h.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if err := errors.Join(s.Registry.Close(), s.Transport.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Handle mounts a handler and closes it with the test.
func (s *Server) Handle(t testing.TB, prefix string, h interface {
	http.Handler
	Start(ctx context.Context) error
	Close() error
},
) {
	t.Helper()
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mux.Handle(prefix+"/", h)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Authenticate takes tokens of the form "user:NAME" and "server".
func (s *Server) Authenticate(token string) (ingest.Identity, error) {
	if token == "server" {
		return ingest.Identity{Server: true}, nil
	}
	if name, ok := strings.CutPrefix(token, "user:"); ok {
		name, calls, _ := strings.Cut(name, "@")
		id := ingest.Identity{UserID: name, Role: "user"}
		if calls != "" {
			id.CallCIDs = []string{calls}
		}
		return id, nil
	}
	return ingest.Identity{}, errors.New("signature does not match")
}

// Admit refuses banned users and call types other than "default".
func (s *Server) Admit(_ context.Context, r ingest.Request) error {
	if r.CallType != "default" {
		return ingest.Refuse(http.StatusNotFound, "there is no call type %q", r.CallType)
	}
	if _, banned := s.Banned.Load(r.UserID); banned {
		return ingest.Refuse(http.StatusForbidden, "the user is banned: spam")
	}
	return nil
}

// Events records what observers are told.
type Events struct {
	mu     sync.Mutex
	log    []string
	tracks []capture.Track
}

func (e *Events) add(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, s)
}

// Has tells whether an event happened.
func (e *Events) Has(s string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, have := range e.log {
		if have == s {
			return true
		}
	}
	return false
}

// Log returns all events in order.
func (e *Events) Log() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.log...)
}

// Track waits for the n-th track that was added, from 0.
func (e *Events) Track(t testing.TB, n int) capture.Track {
	t.Helper()
	var out capture.Track
	Eventually(t, "a track is added", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.tracks) > n {
			out = e.tracks[n]
		}
		return out != nil
	})
	return out
}

// TrackAdded records a track.
func (e *Events) TrackAdded(t capture.Track) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tracks = append(e.tracks, t)
	i := t.Info()
	e.log = append(e.log, "track added "+i.UserID+" "+string(i.Type)+" "+string(i.Codec))
}

// TrackRemoved records the end of a track.
func (e *Events) TrackRemoved(string) { e.add("track removed") }

// TrackMuted records that packets stopped or came again.
func (e *Events) TrackMuted(_ string, muted bool) {
	if muted {
		e.add("muted")
	} else {
		e.add("unmuted")
	}
}

// SessionStarted records the start of a session.
func (e *Events) SessionStarted(s call.Session) { e.add("started " + s.CID) }

// SessionEnded records the end of a session.
func (e *Events) SessionEnded(s call.Session) { e.add("ended " + s.CID) }

// ParticipantJoined records a participant.
func (e *Events) ParticipantJoined(p call.Participant) { e.add("joined " + p.UserID) }

// ParticipantLeft records that a participant left.
func (e *Events) ParticipantLeft(p call.Participant, reason string) {
	e.add("left " + p.UserID + ": " + reason)
}

// Wait waits for an event.
func (e *Events) Wait(t testing.TB, s string) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !e.Has(s) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in %q", s, e.Log())
		}
		<-time.After(10 * time.Millisecond)
	}
}
