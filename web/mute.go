package web

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// MuteUsers stops the forwarding of what users publish now. Who publishes a
// new track is heard and seen again: only a mute of the policy, which has a
// duration, holds for tracks to come.
func (s *Server) MuteUsers(ctx context.Context, req api.MuteUsersRequestObject) (api.MuteUsersResponseObject, error) {
	in := orZero(req.Body)
	call, err := s.callAt(ctx, req.Type, req.ID, CapMute)
	if err != nil {
		return nil, err
	}
	tracks := mutedTracks(in)
	fields := map[string]string{}
	if len(tracks) == 0 {
		fields["audio"] = "or video, screenshare or screenshare_audio must be true"
	}
	if len(in.UserIds) == 0 && !in.MuteAllUsers {
		fields["user_ids"] = "must name a user, or mute_all_users be true"
	}
	if len(fields) > 0 {
		return nil, badFields(fields)
	}
	by, err := actor(request(ctx), in.MutedByID)
	if err != nil {
		return nil, err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		users, err := whomToMute(ctx, tx, call, in, by)
		if err != nil || len(users) == 0 {
			return err
		}
		_, err = s.cfg.Actions.Mute(ctx, actions.MuteRequest{
			UserIDs: users, CID: call.CID, ByUserID: by, Reason: "muted by a moderator", Tracks: tracks,
		})
		if err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "call.mute", call.CID, map[string]any{"user_ids": users, "tracks": tracks})
	})
	return api.MuteUsers200JSONResponse{}, err
}

func mutedTracks(in api.MuteUsersRequest) (tracks []event.TrackType) {
	for _, kind := range []struct {
		named bool
		track event.TrackType
	}{
		{in.Audio, event.TrackAudio},
		{in.Video, event.TrackVideo},
		{in.Screenshare, event.TrackScreenShare},
		{in.ScreenshareAudio, event.TrackScreenShareAudio},
	} {
		if kind.named {
			tracks = append(tracks, kind.track)
		}
	}
	return tracks
}

// whomToMute are the users who are named, and for mute_all_users everyone who
// is in the call now, but for who asks.
func whomToMute(ctx context.Context, tx bun.IDB, call db.CallRow, in api.MuteUsersRequest, by string) ([]string, error) {
	users := in.UserIds
	if in.MuteAllUsers && call.CurrentSessionID != "" {
		var present []string
		err := tx.NewSelect().Model((*db.ParticipantRow)(nil)).ColumnExpr("DISTINCT user_id").Where("session_id = ?", call.CurrentSessionID).
			Where("left_at = 0").Where("user_id <> ?", by).Order("user_id").Scan(ctx, &present)
		if err != nil {
			return nil, fmt.Errorf("read participants of %s: %w", call.CID, err)
		}
		users = slices.Concat(users, present)
	}
	users = slices.Clone(users)
	slices.Sort(users)
	return slices.Compact(users), nil
}
