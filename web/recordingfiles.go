package web

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/storage"
	"stillwatch/recording"
	"stillwatch/web/api"
)

// recordingKinds are the files that a list of a call's recordings shows; the
// others belong to one of them.
var recordingKinds = []string{"movie", "audio", "video", "raw", "metadata"}

// ListRecordings lists the files of a call's recordings, newest first: to
// moderators, and those of the business lane to who made the call, is a member
// of it or was in it. Others get none.
func (s *Server) ListRecordings(ctx context.Context, req api.ListRecordingsRequestObject) (api.ListRecordingsResponseObject, error) {
	cid, who, in := req.Type+":"+req.ID, callerOf(ctx), req.Params
	if err := s.mayEnter(ctx, who, cid); err != nil {
		return nil, err
	}
	p, err := newPage(in.Limit, in.Next)
	if err != nil {
		return nil, err
	}
	call, err := s.existingCall(ctx, req.Type, req.ID)
	if err != nil {
		return nil, err
	}
	if see, err := s.seesRecordings(ctx, who, call); err != nil || !see {
		return api.ListRecordings200JSONResponse{Recordings: []api.CallRecording{}}, err
	}
	var rows []db.RecordingFileRow
	q := s.cfg.DB.NewSelect().Model(&rows).Where("cid = ?", cid).Where("deleted_at = 0").Where("kind IN (?)", bun.List(recordingKinds))
	if !who.Moderates() {
		q = q.Where("lane = ?", db.LaneBusiness)
	}
	if in.SessionID != "" {
		q = q.Where("session_id = ?", in.SessionID)
	}
	if in.RecordingType != "" {
		q = q.Where("type = ?", string(in.RecordingType))
	}
	q = overlapping(q, "ended_at", in.Since, in.Until)
	if err := p.apply(q, "started_at").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read recordings of %s: %w", cid, err)
	}
	rows, next := cut(p, rows, func(r *db.RecordingFileRow) cursor { return cursor{r.StartedAt.UnixNano(), r.ID} })
	files, err := s.fileBodies(ctx, rows)
	return api.ListRecordings200JSONResponse{Recordings: files, Next: next}, err
}

// seesRecordings tells whether somebody who may enter the call has to do with
// it.
func (s *Server) seesRecordings(ctx context.Context, who auth.Identity, call db.CallRow) (bool, error) {
	if who.Moderates() || who.UserID == call.CreatedByID {
		return true, nil
	}
	for _, model := range []any{(*db.MemberRow)(nil), (*db.ParticipantRow)(nil)} {
		found, err := s.cfg.DB.NewSelect().Model(model).Where("cid = ?", call.CID).Where("user_id = ?", who.UserID).Exists(ctx)
		if err != nil {
			return false, fmt.Errorf("look for %s in %s: %w", who.UserID, call.CID, err)
		}
		if found {
			return true, nil
		}
	}
	return false, nil
}

// overlapping narrows to what overlaps [since, until); zero times are open.
// end is the column of the end, in which 0 is not yet.
func overlapping(q *bun.SelectQuery, end string, since, until time.Time) *bun.SelectQuery {
	if !since.IsZero() {
		q = q.Where("(? > ? OR ? = 0)", bun.Ident(end), db.At(since), bun.Ident(end))
	}
	if !until.IsZero() {
		q = q.Where("started_at < ?", db.At(until))
	}
	return q
}

// fileBodies shows files with links that open them for a day, or as long as
// they exist if that is less.
func (s *Server) fileBodies(ctx context.Context, rows []db.RecordingFileRow) ([]api.CallRecording, error) {
	buckets, err := s.buckets(ctx, rows)
	if err != nil {
		return nil, err
	}
	files := []api.CallRecording{}
	for _, r := range rows {
		link, played := s.linksTo(r)
		media := r.Media.V
		media.Streams = orEmpty(media.Streams)
		files = append(files, api.CallRecording{
			Filename: r.Filename, URL: link, PlaybackURL: played, StartTime: r.StartedAt.Time, EndTime: r.EndedAt.Time,
			SessionID: r.SessionID, RecordingType: api.CallRecordingRecordingType(r.Type), IndexID: r.ID, Format: r.Format, Kind: r.Kind,
			Bucket: buckets[r.Storage], Size: r.Size, Media: media, Items: orEmpty(r.Items.V),
			UserID: r.UserID, TrackType: r.TrackType, Sha256: r.SHA256, Encrypted: bool(r.Encrypted), Hold: bool(r.Hold),
			ExpiresAt: instantOrNil(r.ExpiresAt), RecordingID: r.RecordingID, Lane: api.CallRecordingLane(r.Lane),
		})
	}
	return files, nil
}

// linksTo are the links to a file and to what a player takes of it.
func (s *Server) linksTo(r db.RecordingFileRow) (link, played string) {
	if r.ObjectKey == "" {
		return "", ""
	}
	until := s.linkUntil(r)
	link = s.cfg.Signer.SignGet(storage.Ref(r.Storage, r.ObjectKey), until)
	if n := len(r.Items.V); n > 1 && strings.HasSuffix(r.Items.V[n-1].Key, recording.PlayName) {
		return link, s.cfg.Signer.SignGet(storage.Ref(r.Storage, r.Items.V[n-1].Key), until)
	}
	return link, link
}

func (s *Server) linkUntil(r db.RecordingFileRow) time.Time {
	until := s.cfg.Now().Add(heldURLLife)
	if gone := r.ExpiresAt.Time; !bool(r.Hold) && !gone.IsZero() && gone.Before(until) {
		return gone
	}
	return until
}

// buckets are the buckets of the external storages that the files lie in.
func (s *Server) buckets(ctx context.Context, rows []db.RecordingFileRow) (map[string]string, error) {
	out := map[string]string{}
	external := false
	for _, r := range rows {
		external = external || r.Storage != ""
	}
	if !external {
		return out, nil
	}
	storages, err := db.ExternalStorages(ctx, s.cfg.DB)
	if err != nil {
		return nil, err
	}
	for _, st := range storages {
		out[st.Name] = st.Bucket
	}
	return out, nil
}

func instantOrNil(t db.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}
