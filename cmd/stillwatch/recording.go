package main

import (
	"context"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/internal/evidence"
	"stillwatch/internal/signature"
	"stillwatch/internal/telemetry"
	"stillwatch/recording"
	"stillwatch/recording/layout"
	"stillwatch/recording/raw"
	"stillwatch/recording/recorder"
	"stillwatch/web"
)

// startRecorder starts what keeps packets and makes files of them. It starts
// before the calls and ends after them, so that it hears of every session's
// end.
func (p *Program) startRecorder(ctx context.Context) error {
	id, err := p.nodeID()
	if err != nil {
		return err
	}
	cfg, err := p.recorderConfig(id)
	if err != nil {
		return err
	}
	cfg.Bus = p.bus
	ready := telemetry.Histogram(p.metrics, "recording_ready_seconds",
		"How long after a recording's end, or its import, all of its files were stored.", readyBuckets)
	cfg.Ready = func(after time.Duration) { ready(after.Seconds()) }
	p.recorder = recorder.New(cfg)
	return p.begin(ctx, "recorder", p.recorder)
}

// readyBuckets are in seconds, and close where half of the shortest calls and
// the minutes of others lie.
var readyBuckets = []float64{1, 2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 450, 600, 900, 1800, 3600, 7200, 21600}

func (p *Program) recorderConfig(node string) (recorder.Config, error) {
	for _, name := range layout.Names() {
		recording.AddLayout(name)
	}
	c := p.cfg.Recording
	key, err := evidence.LoadKey(filepath.Join(p.cfg.Data.Dir, "evidence.key"))
	if err != nil {
		return recorder.Config{}, err
	}
	dir := c.Dir
	if dir == "" {
		dir = filepath.Join(p.cfg.Data.Dir, "recordings")
	}
	grace := c.FlagGrace
	if grace == 0 {
		grace = time.Nanosecond // none, which is not the default
	}
	return recorder.Config{
		Node: node, DB: p.db, Seal: p.seal, Objects: p.stores, Plan: web.PlanOf, Dir: dir, Workers: c.Workers,
		Prefix: c.Prefix, Backup: c.Backup, Client: &http.Client{Transport: byScheme{p}, CheckRedirect: p.guard.HTTPClient().CheckRedirect}, SpoolBytes: c.SpoolBytes, SpoolMaxBytes: c.SpoolMaxBytes, MinFree: c.MinFree, FlagGrace: grace,
		Signer:     signature.Signer{Key: p.cred.APIKey, Secret: p.cred.APISecret},
		KeepFailed: c.KeepFailed, StoreFor: c.StoreFor, Handover: c.Handover, KeepWork: !c.CleanTemporaryFiles, DeleteExternal: p.cfg.Blob.DeleteExternal, Evidence: key, Log: p.log,
	}, nil
}

// byScheme reaches addresses that are not encrypted by the rules for those.
type byScheme struct{ p *Program }

// RoundTrip implements http.RoundTripper.
func (b byScheme) RoundTrip(req *http.Request) (*http.Response, error) {
	return b.p.guardFor(req.URL.Scheme == "http").RoundTripper().RoundTrip(req)
}

// callTap tells the recorder of the live calls. It is a call.TrackObserver for
// all tracks, a call.LayerObserver and a call.SessionObserver.
type callTap struct {
	r *recorder.Recorder

	mu     sync.Mutex
	tracks map[string]string // session by track
}

func newCallTap(r *recorder.Recorder) *callTap { return &callTap{r: r, tracks: map[string]string{}} }

// SessionStarted implements call.SessionObserver.
func (c *callTap) SessionStarted(s call.Session) {
	c.r.SessionStarted(raw.SessionInfo{CID: s.CID, CallType: s.CallType, CallID: s.CallID, SessionID: s.ID, StartedAt: s.StartedAt})
}

// SessionEnded implements call.SessionObserver.
func (c *callTap) SessionEnded(s call.Session) { c.r.SessionEnded(s.ID, s.EndedAt) }

// ParticipantJoined implements call.SessionObserver.
func (c *callTap) ParticipantJoined(p call.Participant) {
	c.r.Joined(p.Session.ID, p.UserSessionID, p.UserID, p.Role, p.JoinedAt)
}

// ParticipantLeft implements call.SessionObserver.
func (c *callTap) ParticipantLeft(p call.Participant, _ string) {
	c.r.Left(p.Session.ID, p.UserSessionID, p.UserID, p.LeftAt)
}

// TrackAdded implements call.TrackObserver.
func (c *callTap) TrackAdded(t capture.Track) {
	track, ok := t.(*call.Track)
	if !ok {
		return
	}
	info := t.Info()
	c.mu.Lock()
	c.tracks[info.ID] = info.SessionID
	c.mu.Unlock()
	c.r.TrackAdded(info.SessionID, info.ID, liveTrack{track})
}

// TrackRemoved implements call.TrackObserver.
func (c *callTap) TrackRemoved(id string) {
	c.mu.Lock()
	session := c.tracks[id]
	delete(c.tracks, id)
	c.mu.Unlock()
	c.r.TrackRemoved(session, id, time.Now())
}

// TrackMuted implements call.TrackObserver.
func (c *callTap) TrackMuted(id string, muted bool) {
	c.r.TrackMuted(c.session(id), id, muted, time.Now())
}

// LayerAdded implements call.LayerObserver.
func (c *callTap) LayerAdded(id, _ string) { c.r.LayersChanged(c.session(id), id) }

func (c *callTap) session(track string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tracks[track]
}

// liveTrack is a call's track as the recorder sees it.
type liveTrack struct{ *call.Track }

// Streams implements recorder.Track.
func (t liveTrack) Streams() []raw.StreamInfo {
	info, codec := t.Info(), t.Codec()
	var out []raw.StreamInfo
	for _, rid := range t.RIDs() {
		out = append(out, raw.StreamInfo{
			TrackID: info.ID, RID: rid, Order: t.Order(rid), UserID: info.UserID, UserSessionID: info.UserSessionID, Type: info.Type,
			MimeType: codec.MimeType, ClockRate: codec.ClockRate, Channels: codec.Channels, Fmtp: codec.Fmtp,
			RotationExtID: info.RotationExtID, AudioLevelExtID: info.AudioLevelExtID, ParameterSets: info.ParameterSets, Record: info.Record,
		})
	}
	return out
}
