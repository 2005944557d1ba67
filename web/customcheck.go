package web

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/moderation"
	"stillwatch/web/api"
)

// maxOutsideLabels bounds the scores of one push.
const maxOutsideLabels = 100

// CustomCheck puts what a classifier of the backend's says into the review
// queue at once. Scores about a participant who is in the call go to the
// policy as well, as one frame's: alone they decide nothing.
func (s *Server) CustomCheck(ctx context.Context, req api.CustomCheckRequestObject) (api.CustomCheckResponseObject, error) {
	in := orZero(req.Body)
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return nil, err
	}
	if err := checkEntity(in.EntityType, in.EntityID, in.EntityCreatorID, in.ModerationPayload); err != nil {
		return nil, err
	}
	scores, err := outsideScores(in.Flags)
	if err != nil {
		return nil, err
	}
	var itemID string
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, f := range outsideFlags(in, by) {
			if itemID, err = s.cfg.Actions.Flag(ctx, f); err != nil {
				return err
			}
		}
		return s.pushVerdict(ctx, tx, in, scores)
	})
	if err != nil {
		return nil, fmt.Errorf("custom check of %s: %w", in.EntityID, err)
	}
	item, err := s.cfg.DB.ReviewItem(ctx, itemID, s.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("read review item %s: %w", itemID, err)
	}
	return api.CustomCheck200JSONResponse(api.CustomCheckResponse{ID: itemID, Item: item, Status: item.Status}), nil
}

// checkEntity holds the entity of a check to what can be reviewed.
func checkEntity(entityType, entityID, creator string, p api.ModerationPayload) error {
	fields := map[string]string{}
	checkCustom(fields, "moderation_payload.custom", p.Custom)
	if entityType == event.EntityCall {
		if _, _, err := splitCID("entity_id", entityID); err != nil {
			fields["entity_id"] = `must be the call's "type:id"`
		}
	}
	if creator != "" && !validUser(creator) {
		fields["entity_creator_id"] = wantUser
	}
	if creator == "" && entityType == event.EntityCall {
		fields["entity_creator_id"] = "must be the participant whom it is about"
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

// outsideFlags are the flags of a push; the first brings the payload.
func outsideFlags(in api.CustomCheckRequest, by string) []actions.FlagRequest {
	out := make([]actions.FlagRequest, len(in.Flags))
	for i, f := range in.Flags {
		out[i] = actions.FlagRequest{
			EntityType: in.EntityType, EntityID: in.EntityID, UserID: in.EntityCreatorID, ByUserID: by,
			Type: string(f.Type), Labels: f.Labels, Reason: f.Reason, Custom: f.Custom,
		}
		if in.EntityType == event.EntityCall {
			out[i].CID = in.EntityID
		}
	}
	p := in.ModerationPayload
	out[0].Payload = event.ModerationPayload{Texts: p.Texts, Images: p.Images, Videos: p.Videos, Audios: p.Audios, Custom: p.Custom}
	return out
}

// outsideScores are the scores of all flags, the highest of each label: a push
// is one look, however many flags it has.
func outsideScores(flags []api.CustomCheckFlag) ([]event.Score, error) {
	top, fields := map[string]float64{}, map[string]string{}
	for i, f := range flags {
		checkCustom(fields, fmt.Sprintf("flags[%d].custom", i), f.Custom)
		raw, ok := f.Custom["scores"]
		if !ok {
			continue
		}
		at := fmt.Sprintf("flags[%d].custom.scores", i)
		scores, ok := raw.(map[string]any)
		if !ok || len(scores) > maxOutsideLabels {
			fields[at] = fmt.Sprintf("must be an object of at most %d labels and their scores", maxOutsideLabels)
			continue
		}
		for label, v := range scores {
			score, ok := v.(float64)
			if !ok || math.IsNaN(score) || score < 0 || score > 1 || label == "" || len(label) > 100 {
				fields[at] = "must be scores from 0 to 1, by labels of 1 to 100 bytes"
				continue
			}
			top[label] = max(top[label], score)
		}
	}
	if len(fields) > 0 {
		return nil, badFields(fields)
	}
	out := []event.Score{}
	for _, label := range slices.Sorted(maps.Keys(top)) {
		out = append(out, event.Score{Label: label, Score: top[label]})
	}
	return out, nil
}

// pushVerdict hands the scores to the policy if the participant is in the call.
func (s *Server) pushVerdict(ctx context.Context, tx bun.Tx, in api.CustomCheckRequest, scores []event.Score) error {
	if in.EntityType != event.EntityCall || len(scores) == 0 {
		return nil
	}
	var present db.ParticipantRow
	err := tx.NewSelect().Model(&present).Where("cid = ?", in.EntityID).Where("user_id = ?", in.EntityCreatorID).
		Where("left_at = 0").Order("joined_at DESC").Limit(1).Scan(ctx)
	if db.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the participant: %w", err)
	}
	v := outsideVerdict(in, present.SessionID, scores, s.cfg.Now().UTC())
	ev := event.New(event.TypeOutsideVerdict, in.EntityID+"/"+in.EntityCreatorID, v.At, v)
	ev.ID = event.DeriveID("outside", v.VerdictID)
	return db.Enqueue(ctx, tx, event.TopicChecks, ev)
}

// outsideVerdict is the verdict of a push. One that names what it looked at, by
// custom.id, counts once however often it comes.
func outsideVerdict(in api.CustomCheckRequest, sessionID string, scores []event.Score, at time.Time) event.Verdict {
	look := event.NewID()
	for _, f := range in.Flags {
		if id, ok := f.Custom["id"].(string); ok && id != "" {
			look = event.DeriveID("look", in.EntityID, in.EntityCreatorID, sessionID, id)
			break
		}
	}
	callType, _, _ := splitCID("", in.EntityID)
	return event.Verdict{
		VerdictID: event.DeriveID("verdict", look), State: event.VerdictKnown, Source: event.SourceOutside, Scores: scores, Models: []event.ModelScores{}, At: at,
		Frame: event.FrameReady{
			FrameID: look, CID: in.EntityID, CallType: callType, SessionID: sessionID, UserID: in.EntityCreatorID,
			TrackID: moderation.OutsideTrack, TrackType: event.TrackVideo, CapturedAt: at,
		},
	}
}

// Check has images classified and held against the policy.
func (s *Server) Check(ctx context.Context, req api.CheckRequestObject) (api.CheckResponseObject, error) {
	task, err := s.startCheck(ctx, orZero(req.Body), moderation.TaskCheck)
	if err != nil {
		return nil, err
	}
	return api.Check200JSONResponse(api.CheckResponse{Status: "pending", RecommendedAction: moderation.RecommendReview, TaskID: task}), nil
}

// Analyze has images classified, without a decision.
func (s *Server) Analyze(ctx context.Context, req api.AnalyzeRequestObject) (api.AnalyzeResponseObject, error) {
	task, err := s.startCheck(ctx, orZero(req.Body), moderation.TaskAnalyze)
	if err != nil {
		return nil, err
	}
	return api.Analyze200JSONResponse(api.AnalyzeResponse{TaskID: task}), nil
}

// startCheck writes the task of a check down and enqueues it.
func (s *Server) startCheck(ctx context.Context, in api.CheckRequest, kind string) (taskID string, err error) {
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return "", err
	}
	if err := checkEntity(in.EntityType, in.EntityID, in.EntityCreatorID, in.ModerationPayload); err != nil {
		return "", err
	}
	p := in.ModerationPayload
	if len(p.Images) == 0 {
		return "", badField("moderation_payload.images", "must be one image or more: nothing else can be looked at")
	}
	now := s.cfg.Now().UTC()
	order := event.CheckRequested{
		TaskID: event.NewID(), EntityType: in.EntityType, EntityID: in.EntityID, EntityCreatorID: in.EntityCreatorID,
		ConfigKey: cmp.Or(in.ConfigKey, moderation.CheckKey(in.EntityType, in.EntityID)), ByUserID: by,
		Payload: event.ModerationPayload{Texts: p.Texts, Images: p.Images, Videos: p.Videos, Audios: p.Audios, Custom: p.Custom},
		Decide:  kind == moderation.TaskCheck, TestMode: in.TestMode, RequestedAt: now,
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := db.TaskRow{
			ID: order.TaskID, Kind: kind, Object: in.EntityType + "/" + in.EntityID + "/" + order.TaskID, Status: db.TaskWaiting,
			Result: db.JSON[map[string]any]{V: map[string]any{}}, CreatedAt: db.At(now), UpdatedAt: db.At(now),
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		ev := event.New(event.TypeCheckRequested, "check/"+order.TaskID, now, order)
		ev.ID = event.DeriveID("check", order.TaskID)
		if err := db.Enqueue(ctx, tx, event.TopicChecks, ev); err != nil {
			return err
		}
		return audit(ctx, tx, now, by, kind, "task:"+order.TaskID, map[string]any{
			"entity_type": in.EntityType, "entity_id": in.EntityID, "images": len(p.Images), "test_mode": in.TestMode,
		})
	})
	if err != nil {
		return "", fmt.Errorf("start %s of %s: %w", kind, in.EntityID, err)
	}
	return order.TaskID, nil
}
