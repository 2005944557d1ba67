package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/capture/ingest"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/capture/ingest/whep"
	"stillwatch/capture/ingest/whip"
	"stillwatch/capture/node"
	"stillwatch/capture/picture"
	"stillwatch/internal/auth"
	"stillwatch/internal/event"
	"stillwatch/web"
)

// startCapture starts what is between the wire and the stored frame.
func (p *Program) startCapture(ctx context.Context) error {
	id, err := p.nodeID()
	if err != nil {
		return err
	}
	p.pictures = picture.NewPool(picture.Config{Workers: p.workers(), Park: filepath.Join(p.cfg.Data.Dir, "parked"), Log: p.log})
	if err := p.begin(ctx, "picture workers", p.pictures); err != nil {
		return err
	}
	p.reportSandbox()
	rows := capture.NewDBRows(p.db)
	if err := p.begin(ctx, "frame rows", rows); err != nil {
		return err
	}
	p.node = node.New(node.Config{ID: id, DB: p.db, Bus: p.bus, Settings: liveSettings, Log: p.log})
	p.sampler = capture.NewSampler(capture.Config{
		Node: id, Workers: p.workers(), Imager: p.pictures, Store: p.blobs, External: p.stores, Publisher: p.bus, Rows: rows, Tensors: p.tensors,
		Retention: p.cfg.Capture.Retention, Log: p.log,
		OnRecording: func(e capture.RecordingEvent) {
			if e.Kind == capture.RecordingFailed {
				p.node.RecordingFailed(e.CID, e.EgressID, e.Reason, e.At)
			}
		},
	})
	if err := p.begin(ctx, "sampler", p.sampler); err != nil {
		return err
	}
	tap := newCallTap(p.recorder)
	p.calls = call.New(call.Config{
		MaxParticipants: p.cfg.Media.MaxPeers, MaxViewers: p.cfg.Media.MaxPeers,
		Tracks: []call.TrackObserver{p.sampler}, Media: []call.TrackObserver{tap}, Sessions: []call.SessionObserver{p.node, tap},
	})
	p.node.SetParts(p.calls, p.sampler)
	if err := p.begin(ctx, "node", p.node); err != nil {
		return err
	}
	if err := p.begin(ctx, "calls", p.calls); err != nil {
		return err
	}
	return p.startMedia(ctx)
}

func (p *Program) startMedia(ctx context.Context) error {
	p.media = rtc.New(rtc.Config{Listen: p.cfg.Media.Listen, PublicIPs: p.cfg.Media.PublicIPs, Logger: p.log})
	if err := p.begin(ctx, "media transport", p.media); err != nil {
		return err
	}
	door := web.Gatekeeper{DB: p.db, Recording: p.recordingSystem()}
	keeper := ingest.GatekeeperFunc(func(ctx context.Context, r ingest.Request) error {
		if r.Watch != "" {
			if r.Server {
				r.Role = auth.RoleModerator // the backend may see what a moderator may
			}
			return refusal(door.Watch(ctx, r.CallType, r.CallID, r.UserID, r.Role))
		}
		if err := door.Admit(ctx, r.CallType, r.CallID, r.UserID, r.Role); err != nil || r.Record == event.RecordAll || r.Server {
			return refusal(err)
		}
		return refusal(door.Narrow(ctx, r.CallType, r.CallID, r.UserID, r.Role))
	})
	authenticate := ingest.AuthenticatorFunc(func(token string) (ingest.Identity, error) {
		id, err := p.auth.Verify(token)
		return ingest.Identity{Server: id.Server, UserID: id.UserID, Role: id.Role, CallCIDs: id.CallCIDs}, err
	})
	p.whip = whip.New(whip.Config{Transport: p.media, Registry: p.calls, Auth: authenticate, Gatekeeper: keeper, Logger: p.log})
	if err := p.begin(ctx, "whip", p.whip); err != nil {
		return err
	}
	p.whep = whep.New(whep.Config{Transport: p.media, Registry: p.calls, Auth: authenticate, Gatekeeper: keeper, Logger: p.log})
	return p.begin(ctx, "whep", p.whep)
}

// refusal turns the door's answer into the media endpoints' kind.
func refusal(err error) error {
	var r *web.Refusal
	if errors.As(err, &r) {
		return ingest.Refuse(r.Status, "%s", r.Reason)
	}
	return err
}

// liveSettings reads of a call's settings what its node needs.
func liveSettings(raw json.RawMessage) (node.Settings, error) {
	s, alone, err := web.LiveSettings(raw)
	if err != nil {
		return node.Settings{}, err
	}
	return node.Settings{
		Mode: s.Mode, Settings: capture.Settings{IntervalSeconds: s.CaptureIntervalInSeconds, Quality: s.Quality}, AloneAfter: alone,
	}, nil
}

// nodeID is made at the first start and kept, so that orders that were sent
// while the node was down still find it.
func (p *Program) nodeID() (string, error) {
	path := filepath.Join(p.cfg.Data.Dir, "node")
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id, nil
	}
	id := event.NewID()
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep node id: %w", err)
	}
	return id, nil
}

// reportSandbox says how well the decoders are locked in.
func (p *Program) reportSandbox() {
	st := p.pictures.Status()
	log := p.log.With("component", "picture")
	log.Info("decoders run in sandboxed children", "workers", st.Workers, "landlock", st.Landlock, "seccomp", st.Seccomp)
	if st.LandlockError != nil {
		log.Warn("Landlock is not in force: the kernel lacks it; seccomp and limits are", "error", st.LandlockError)
	}
	if st.SeccompError != nil {
		log.Warn("seccomp is not in force", "error", st.SeccompError)
	}
}

// workers is how many pictures are made at once.
func (p *Program) workers() int {
	if p.cfg.Capture.Workers > 0 {
		return p.cfg.Capture.Workers
	}
	return runtime.NumCPU()
}
