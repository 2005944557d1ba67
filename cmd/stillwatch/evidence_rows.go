package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/evidence"
	"stillwatch/internal/storage"
	"stillwatch/recording"
)

func (x *exporter) recording(context.Context) error {
	r := x.row
	return x.add(evidence.Entry{Kind: "recording", ID: r.ID, At: r.StartedAt.Time, Until: until(r.StoppedAt), Actor: r.RequestedBy}, note{
		"cid": r.CID, "session_id": r.SessionID, "node": r.Node, "type": r.Type, "lane": r.Lane, "state": r.State, "plan": recording.Public(r.Plan.V),
		"custom": r.Custom.V, "mandatory": bool(r.Mandatory), "flagged": bool(r.Flagged), "error_code": r.ErrorCode, "error": r.Error,
	})
}

// files adds the recording's files, each object of them an entry. What was
// deleted after its retention is told without its object.
func (x *exporter) files(ctx context.Context) error {
	var rows []db.RecordingFileRow
	if err := x.db.NewSelect().Model(&rows).Where("recording_id = ?", x.row.ID).Order("created_at", "id").Scan(ctx); err != nil {
		return err
	}
	for _, r := range rows {
		about := note{
			"kind": r.Kind, "format": r.Format, "filename": r.Filename, "storage": r.Storage, "object_key": r.ObjectKey, "size": r.Size,
			"user_id": r.UserID, "track_type": r.TrackType, "encrypted": bool(r.Encrypted), "media": r.Media.V, "hold": bool(r.Hold),
			"expires_at": until(r.ExpiresAt), "deleted_at": until(r.DeletedAt), "items": r.Items.V,
		}
		e := evidence.Entry{Kind: "file", ID: r.ID, At: r.StartedAt.Time, Until: until(r.EndedAt)}
		if !r.DeletedAt.IsZero() {
			if err := x.add(e, about); err != nil {
				return err
			}
			continue
		}
		items := r.Items.V
		if len(items) == 0 && r.ObjectKey != "" {
			items = []event.RecordingItem{{Key: r.ObjectKey, Size: r.Size, Checksum: event.Checksum{SHA256: r.SHA256}}}
		}
		seen := map[string]bool{}
		for i, item := range items {
			object, name := e, inFolder(item.Key)
			if linked(r, name) {
				continue
			}
			if seen[name] {
				name = fmt.Sprintf("%d-%s", i+1, name)
			}
			seen[name] = true
			if err := x.fetch(ctx, &object, storage.Ref(r.Storage, item.Key), path.Join("files", inFolder(r.ID), name), item.Checksum.SHA256); errors.Is(err, errGone) && due(r.ExpiresAt, r.Hold) {
				object = e
			} else if err != nil {
				return err
			}
			if err := x.add(object, about); err != nil {
				return err
			}
			about = note{"kind": r.Kind, "item": i + 1}
		}
	}
	return nil
}

// linked tells the playlists that hold links of this server: whoever gets the
// folder has no use for them, and is not to have the links.
func linked(r db.RecordingFileRow, name string) bool {
	return r.Format == event.RecordingHLS && strings.HasPrefix(name, "play") && strings.HasSuffix(name, ".m3u8")
}

// frames adds the stills of the call's session that are still there.
func (x *exporter) frames(ctx context.Context) error {
	var rows []db.FrameRow
	err := x.db.NewSelect().Model(&rows).Where("cid = ?", x.row.CID).Where("session_id = ?", x.row.SessionID).Where("deleted_at = 0").
		Where("object_key <> ''").Order("captured_at", "id").Scan(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		e := evidence.Entry{Kind: "frame", ID: r.ID, At: r.CapturedAt.Time, Actor: r.UserID}
		name := path.Join("frames", inFolder(r.ID)+cmp.Or(path.Ext(r.ObjectKey), ".jpg"))
		if err := x.fetch(ctx, &e, r.ObjectKey, name, r.SHA256); errors.Is(err, errGone) && due(r.ExpiresAt, r.Hold) {
			continue
		} else if err != nil {
			return err
		}
		if err := x.add(e, note{
			"user_id": r.UserID, "track_id": r.TrackID, "track_type": r.TrackType, "codec": r.Codec, "width": r.Width, "height": r.Height,
			"phash": r.PHash, "hold": bool(r.Hold),
		}); err != nil {
			return err
		}
	}
	return nil
}

// verdicts adds those of the session's frames, and those that were pushed.
func (x *exporter) verdicts(ctx context.Context) error {
	var rows []db.VerdictRow
	frames := x.db.NewSelect().Model((*db.FrameRow)(nil)).Column("id").Where("cid = ?", x.row.CID).Where("session_id = ?", x.row.SessionID)
	err := x.db.NewSelect().Model(&rows).Where("cid = ?", x.row.CID).Where("(session_id = ? OR frame_id IN (?))", x.row.SessionID, frames).
		Order("at", "id").Scan(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := x.add(evidence.Entry{Kind: "verdict", ID: r.ID, At: r.At.Time, Actor: cmp.Or(r.Source, "models")}, note{
			"frame_id": r.FrameID, "user_id": r.UserID, "state": r.State, "reason": r.Reason, "scores": r.Scores.V, "models": r.Models.V,
			"reused": bool(r.Reused),
		}); err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) decisions(ctx context.Context) error {
	var rows []db.DecisionRow
	if err := x.db.NewSelect().Model(&rows).Where("cid = ?", x.row.CID).Where("session_id = ?", x.row.SessionID).Order("at", "id").Scan(ctx); err != nil {
		return err
	}
	for _, r := range rows {
		if err := x.add(evidence.Entry{Kind: "decision", ID: r.ID, At: r.At.Time, Actor: "rule " + r.Rule + " of policy " + r.PolicyVersion}, note{
			"user_id": r.UserID, "rule": r.Rule, "policy_version": r.PolicyVersion, "action": r.Action, "labels": r.Labels.V, "score": r.Score,
			"evidence": r.Evidence.V,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) actions(ctx context.Context) error {
	var rows []db.ActionRow
	err := x.db.NewSelect().Model(&rows).Where("cid = ?", x.row.CID).Where("session_id = ?", x.row.SessionID).Order("requested_at", "id").Scan(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := x.add(evidence.Entry{Kind: "action", ID: r.ID, At: r.RequestedAt.Time, Actor: cmp.Or(r.ByUserID, "policy")}, note{
			"decision_id": r.DecisionID, "kind": r.Kind, "user_id": r.UserID, "reason": r.Reason, "state": r.State, "attempts": r.Attempts,
			"payload": r.Payload.V, "sent_at": until(r.SentAt), "confirmed_at": until(r.ConfirmedAt),
		}); err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) holds(ctx context.Context) error {
	var rows []db.RecordingHoldRow
	if err := x.db.NewSelect().Model(&rows).Where("recording_id = ?", x.row.ID).Order("placed_at", "id").Scan(ctx); err != nil {
		return err
	}
	for _, r := range rows {
		if err := x.add(evidence.Entry{Kind: "hold", ID: r.ID, At: r.PlacedAt.Time, Until: until(r.ReleasedAt), Actor: r.PlacedBy}, note{
			"reason": r.Reason, "release_asked_by": r.ReleaseAskedBy, "release_asked_at": until(r.ReleaseAskedAt), "released_by": r.ReleasedBy,
		}); err != nil {
			return err
		}
	}
	return nil
}

// audits adds what was done about the call and the recording, exports of
// before among them.
func (x *exporter) audits(ctx context.Context) error {
	var rows []db.AuditRow
	err := x.db.NewSelect().Model(&rows).Where("object IN (?, ?)", "call:"+x.row.CID, "recording:"+x.row.ID).Order("at", "id").Scan(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := x.add(evidence.Entry{Kind: "audit", ID: r.ID, At: r.At.Time, Actor: r.Actor}, note{"verb": r.Verb, "object": r.Object, "detail": r.Detail.V}); err != nil {
			return err
		}
	}
	return nil
}
