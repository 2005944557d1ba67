package db

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// callBody is the "call" object of API answers and public events.
type callBody struct {
	Type             string          `json:"type"`
	ID               string          `json:"id"`
	CID              string          `json:"cid"`
	Team             string          `json:"team,omitempty"`
	CurrentSessionID string          `json:"current_session_id"`
	CreatedBy        creator         `json:"created_by"`
	Custom           map[string]any  `json:"custom"`
	CreatedAt        time.Time       `json:"created_at"`
	UpdatedAt        time.Time       `json:"updated_at"`
	StartsAt         *time.Time      `json:"starts_at,omitempty"`
	EndedAt          *time.Time      `json:"ended_at,omitempty"`
	Recording        bool            `json:"recording"`
	Transcribing     bool            `json:"transcribing"`
	Captioning       bool            `json:"captioning"`
	Translating      bool            `json:"translating"`
	Backstage        bool            `json:"backstage"`
	ChannelCID       string          `json:"channel_cid,omitempty"`
	Settings         json.RawMessage `json:"settings"`
	BlockedUserIDs   []string        `json:"blocked_user_ids"`
	Ingress          ingressBody     `json:"ingress"`
	Egress           egressBody      `json:"egress"`
	Session          *sessionBody    `json:"session,omitempty"`
}

// creator is a user whose custom data is shown even when there is none.
type creator struct {
	event.User
	Custom map[string]any `json:"custom"`
}

type address struct {
	Address string `json:"address"`
}

type ingressBody struct {
	RTMP address `json:"rtmp"`
	SRT  address `json:"srt"`
	WHIP address `json:"whip"`
}

type statusBody struct {
	Status string `json:"status"`
}

type egressBody struct {
	Broadcasting       bool        `json:"broadcasting"`
	RTMPs              []string    `json:"rtmps"`
	FrameRecording     *statusBody `json:"frame_recording"`
	CompositeRecording *statusBody `json:"composite_recording"`
	// The others are told of only where they run.
	IndividualRecording *statusBody `json:"individual_recording,omitempty"`
	RawRecording        *statusBody `json:"raw_recording,omitempty"`
}

type sessionBody struct {
	ID             string              `json:"id"`
	Participants   []event.Participant `json:"participants"`
	CountByRole    map[string]int      `json:"participants_count_by_role"`
	AnonymousCount int                 `json:"anonymous_participant_count"`
	AcceptedBy     map[string]string   `json:"accepted_by"`
	MissedBy       map[string]string   `json:"missed_by"`
	RejectedBy     map[string]string   `json:"rejected_by"`
	StartedAt      *time.Time          `json:"started_at,omitempty"`
	EndedAt        *time.Time          `json:"ended_at,omitempty"`
}

// CallBody returns the call as API answers and public events show it.
// sql.ErrNoRows is wrapped when there is no such call (see IsNotFound).
func (d *DB) CallBody(ctx context.Context, cid string) (json.RawMessage, error) {
	var row CallRow
	if err := d.reader(ctx).NewSelect().Model(&row).Where("cid = ?", cid).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read call %s: %w", cid, err)
	}
	bodies, err := d.CallBodies(ctx, row)
	if err != nil {
		return nil, err
	}
	return bodies[0], nil
}

// CallBodies is CallBody for rows that are read already, in a handful of
// queries however many they are.
func (d *DB) CallBodies(ctx context.Context, rows ...CallRow) ([]json.RawMessage, error) {
	sessions, present, err := d.sessions(ctx, rows)
	if err != nil {
		return nil, err
	}
	ids := map[string][]string{}
	for _, row := range rows {
		ids[row.CID] = append(ids[row.CID], row.CreatedByID)
	}
	for _, p := range present {
		ids[p.CID] = append(ids[p.CID], p.UserID)
	}
	recorded, err := d.recorded(ctx, rows)
	if err != nil {
		return nil, err
	}
	users, err := d.UsersInCalls(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, p := range present {
		if s := sessions[p.SessionID]; s != nil {
			s.Participants = append(s.Participants, event.Participant{
				User: users[p.CID][p.UserID], UserSessionID: p.UserSessionID, Role: p.Role, JoinedAt: p.JoinedAt.Time,
			})
			s.CountByRole[p.Role]++
		}
	}
	out := make([]json.RawMessage, len(rows))
	for i, row := range rows {
		body := d.callBody(row, users[row.CID][row.CreatedByID], sessions[row.CurrentSessionID])
		recorded[row.CID].show(row, &body)
		if out[i], err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("describe call %s: %w", row.CID, err)
		}
	}
	return out, nil
}

func (d *DB) callBody(row CallRow, by event.User, session *sessionBody) callBody {
	body := callBody{
		Type: row.Type, ID: row.ID, CID: row.CID, Team: row.Team, CurrentSessionID: row.CurrentSessionID,
		CreatedBy: creator{by, by.Custom}, Custom: row.Custom.V, CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
		StartsAt: instant(row.StartsAt), EndedAt: instant(row.EndedAt), ChannelCID: row.ChannelCID,
		Settings: row.Settings.V, BlockedUserIDs: orEmpty(row.BlockedUserIDs.V),
		Egress: egressBody{RTMPs: []string{}}, Session: session,
	}
	body.Ingress.WHIP.Address = d.PublicURL + "/whip/" + url.PathEscape(row.Type) + "/" + url.PathEscape(row.ID)
	for _, custom := range []*map[string]any{&body.Custom, &body.CreatedBy.Custom} {
		if *custom == nil {
			*custom = map[string]any{}
		}
	}
	if len(body.Settings) == 0 || string(body.Settings) == "null" {
		body.Settings = json.RawMessage("{}")
	}
	if row.FrameEgressID != "" {
		body.Egress.FrameRecording = &statusBody{"running"}
	}
	return body
}

// sessions returns the calls' current sessions by id, and who is in them now.
func (d *DB) sessions(ctx context.Context, calls []CallRow) (map[string]*sessionBody, []ParticipantRow, error) {
	out := map[string]*sessionBody{}
	var ids []string
	for _, call := range calls {
		if id := call.CurrentSessionID; id != "" {
			ids = append(ids, id)
			none := map[string]string{}
			out[id] = &sessionBody{
				ID: id, Participants: []event.Participant{}, CountByRole: map[string]int{},
				AcceptedBy: none, MissedBy: none, RejectedBy: none,
			}
		}
	}
	if len(ids) == 0 {
		return out, nil, nil
	}
	var rows []SessionRow
	if err := d.reader(ctx).NewSelect().Model(&rows).Where("id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
		return nil, nil, fmt.Errorf("read sessions of calls: %w", err)
	}
	for _, row := range rows {
		out[row.ID].StartedAt, out[row.ID].EndedAt = instant(row.StartedAt), instant(row.EndedAt)
	}
	var present []ParticipantRow
	err := d.reader(ctx).NewSelect().Model(&present).Where("session_id IN (?)", bun.List(ids)).
		Where("left_at = 0").Order("joined_at", "user_session_id").Scan(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read participants of calls: %w", err)
	}
	return out, present, nil
}

func instant(t Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}
