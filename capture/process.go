package capture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// madePicture is a picture on its way to the store.
type madePicture struct {
	still.Picture
	sum [sha256.Size]byte
}

// lastPicture remembers what a track showed, to tell a frozen camera.
type lastPicture struct {
	sum    [sha256.Size]byte
	phash  uint64
	repeat int
}

func (s *Sampler) makePictures(ctx context.Context) {
	for !s.pictures.done() {
		j, tooOld := s.pictures.pop(s.cfg.Now)
		s.shed(tooOld, "waited too long")
		if j != nil {
			s.makePicture(ctx, j)
		}
	}
}

func (s *Sampler) makePicture(ctx context.Context, j *job) {
	j.begun = s.cfg.Now()
	pic, err := s.cfg.Imager.Picture(ctx, still.Request{
		Codec: j.kf.Codec, Keyframe: j.kf.Data, MaxHeight: j.rec.settings.height(),
		Rotation: j.kf.Rotation, Quality: s.cfg.JPEGQuality,
	})
	j.kf.Data = nil
	if err != nil {
		reason, detail := pictureGap(err)
		s.finishGap(j, reason, detail)
		return
	}
	j.made = s.cfg.Now()
	j.pic = &madePicture{Picture: pic, sum: sha256.Sum256(pic.JPEG)}
	if reason := s.unseen(j); reason != "" {
		s.finishGap(j, reason, "")
		return
	}
	for _, lost := range s.stores.push(j) {
		s.finishGap(lost, event.GapStorage, "store is too slow")
	}
}

// pictureGap says why a keyframe gave no picture.
func pictureGap(err error) (reason event.GapReason, detail string) {
	for _, c := range []struct {
		err    error
		reason event.GapReason
	}{
		{still.ErrUndecodable, event.GapUndecodable},
		{still.ErrUnsupported, event.GapUndecodable},
		{still.ErrTooLarge, event.GapUndecodable},
		{still.ErrInvalid, event.GapUndecodable},
		{still.ErrCrashed, event.GapCrashed},
		{still.ErrDeadline, event.GapCrashed},
		{still.ErrParked, event.GapCrashed},
	} {
		if errors.Is(err, c.err) {
			return c.reason, c.err.Error()
		}
	}
	for _, ours := range []error{still.ErrBusy, still.ErrClosed, still.ErrUnavailable} {
		if errors.Is(err, ours) {
			return event.GapOverload, ours.Error()
		}
	}
	return event.GapOverload, "picture failed"
}

// unseen returns the reason why a picture shows nothing, if it does not.
func (s *Sampler) unseen(j *job) event.GapReason {
	p := j.pic
	if p.LumaMean <= s.cfg.BlackMean && p.LumaStd <= s.cfg.BlackStd {
		return event.GapBlack
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := &j.t.picture
	if last.sum == p.sum && last.phash == p.PHash {
		last.repeat++
	} else {
		*last = lastPicture{sum: p.sum, phash: p.PHash}
	}
	frozen := s.cfg.FrozenAfter > 0 && last.repeat >= s.cfg.FrozenAfter
	if frozen && j.t.info.Type != event.TrackScreenShare {
		return event.GapFrozen
	}
	return ""
}

func (s *Sampler) storePictures(ctx context.Context) {
	for !s.stores.done() {
		j, tooOld := s.stores.pop(s.cfg.Now)
		for _, lost := range tooOld {
			s.finishGap(lost, event.GapStorage, "store is too slow")
		}
		if j != nil {
			s.store(ctx, j)
		}
	}
}

// store puts the JPEG into the object store, then the tensors where the
// classifier finds them, then tells.
func (s *Sampler) store(ctx context.Context, j *job) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StoreTimeout)
	defer cancel()
	frame := s.frame(j)
	storage, missed, err := s.keep(ctx, j, &frame)
	if err != nil {
		s.cfg.Log.Warn("frame is not stored", "frame", frame.FrameID, "error", err)
		s.finishGap(j, event.GapStorage, "object store failed")
		return
	}
	s.putRow(frame, storage, missed) // also if telling fails: what is stored must be swept
	if s.cfg.Tensors != nil {
		for size, rgb := range j.pic.Tensors {
			s.cfg.Tensors.Put(frame.FrameID, size, rgb)
		}
	}
	env := event.New(event.TypeFrameReady, frame.CID+"/"+frame.UserID, s.cfg.Now(), frame)
	if err := s.cfg.Publisher.Publish(ctx, event.TopicFrames, env); err != nil {
		s.cfg.Log.Warn("frame is not published", "frame", frame.FrameID, "error", err)
		s.finishGap(j, event.GapStorage, "event bus failed")
		return
	}
	s.finish(j, frame)
}

// keep stores the JPEG where the call's frames go and notes in frame where it
// is. storage is the external storage that holds it, and missed the one that
// should; at most one of them is not "".
func (s *Sampler) keep(ctx context.Context, j *job, frame *event.FrameReady) (storage, missed string, err error) {
	wanted, key := j.rec.settings.Storage, frame.ObjectKey
	if wanted == "" || s.cfg.External == nil {
		return "", "", s.cfg.Store.Put(ctx, key, j.pic.JPEG, "image/jpeg")
	}
	frame.ObjectKey, err = s.cfg.External.Place(ctx, wanted, key, j.pic.JPEG, "image/jpeg")
	if frame.ObjectKey == key {
		return "", wanted, err
	}
	return wanted, "", err
}

func (s *Sampler) frame(j *job) event.FrameReady {
	info, at, id := j.t.info, j.kf.LastAt.UTC(), event.NewID()
	cid := sha256.Sum256([]byte(info.CID))
	return event.FrameReady{
		FrameID: id, CID: info.CID, CallType: info.CallType, SessionID: info.SessionID,
		EgressID: j.rec.egressID, UserID: info.UserID, TrackID: info.ID, TrackType: info.Type,
		Codec: info.Codec, CapturedAt: at,
		ObjectKey: fmt.Sprintf("frames/%s/%s/%s/%s.jpg", at.Format(time.DateOnly), hex.EncodeToString(cid[:8]), info.SessionID, id),
		SHA256:    hex.EncodeToString(j.pic.sum[:]), PHash: fmt.Sprintf("%016x", j.pic.PHash),
		Width: j.pic.Width, Height: j.pic.Height, Bytes: len(j.pic.JPEG), Node: s.cfg.Node,
	}
}

func (s *Sampler) putRow(f event.FrameReady, storage, missed string) {
	ok := s.cfg.Rows.PutFrame(db.FrameRow{
		ID: f.FrameID, CID: f.CID, SessionID: f.SessionID, EgressID: f.EgressID, UserID: f.UserID,
		TrackID: f.TrackID, TrackType: string(f.TrackType), Codec: string(f.Codec),
		CapturedAt: db.At(f.CapturedAt), ObjectKey: f.ObjectKey, SHA256: f.SHA256, PHash: f.PHash,
		Width: f.Width, Height: f.Height, Bytes: f.Bytes, ExpiresAt: db.At(f.CapturedAt.Add(s.cfg.Retention)),
		Storage: storage, FallbackFrom: missed,
	})
	if !ok {
		s.mu.Lock()
		s.counts.rowsLost++
		s.mu.Unlock()
	}
}

// finish ends a frame that was captured.
func (s *Sampler) finish(j *job, frame event.FrameReady) {
	now := s.cfg.Now()
	s.mu.Lock()
	s.landLocked(j)
	j.t.lack -= j.t.lack / lackMemory
	j.t.counts.Captured++
	j.t.counts.Layer, j.t.counts.SourceHeight = j.rid, j.pic.SourceHeight
	s.counts.captured++
	j.rec.failures, j.rec.failing, j.rec.told = 0, time.Time{}, false
	s.closeGapLocked(j.t)
	s.mu.Unlock()
	if s.cfg.OnFrame == nil {
		return
	}
	ft := FrameTiming{
		Frame: frame, Queued: j.begun.Sub(j.kf.LastAt), Picture: j.made.Sub(j.begun),
		Store: now.Sub(j.made), Total: now.Sub(j.kf.LastAt), Still: j.pic.Timing,
	}
	if !j.asked.IsZero() {
		ft.Answer = j.kf.LastAt.Sub(j.asked)
	}
	s.cfg.OnFrame(ft)
}

// shed ends frames for which there was no worker.
func (s *Sampler) shed(jobs []*job, detail string) {
	for _, j := range jobs {
		s.mu.Lock()
		j.t.lack += (1 - j.t.lack) / lackMemory
		s.mu.Unlock()
		s.finishGap(j, event.GapOverload, detail)
	}
}

// finishGap ends a frame that was lost after its keyframe was whole.
func (s *Sampler) finishGap(j *job, reason event.GapReason, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.landLocked(j)
	s.gapLocked(j.t, j.rec, reason, detail, j.due)
	if j.t.removed {
		s.closeGapLocked(j.t)
	}
}

func (s *Sampler) landLocked(j *job) {
	j.t.counts.InFlight--
	s.counts.inFlight--
}
