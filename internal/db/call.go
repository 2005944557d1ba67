package db

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"stillwatch/internal/event"
)

// EnsureCallType inserts the call type unless one of that name exists, and
// tells whether it did. Times that are unset become now.
func (d *DB) EnsureCallType(ctx context.Context, row CallTypeRow) (created bool, err error) {
	now := At(d.now())
	if row.CreatedAt.IsZero() {
		row.CreatedAt = now
	}
	if row.UpdatedAt.IsZero() {
		row.UpdatedAt = now
	}
	if row.Grants.V == nil {
		row.Grants.V = map[string][]string{}
	}
	res, err := d.reader(ctx).NewInsert().Model(&row).On("CONFLICT (name) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("ensure call type %s: %w", row.Name, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// callBody is the "call" object of API answers and public events.
type callBody struct {
	Type             string          `json:"type"`
	ID               string          `json:"id"`
	CID              string          `json:"cid"`
	CurrentSessionID string          `json:"current_session_id"`
	CreatedBy        event.User      `json:"created_by"`
	Custom           map[string]any  `json:"custom"`
	CreatedAt        time.Time       `json:"created_at"`
	UpdatedAt        time.Time       `json:"updated_at"`
	EndedAt          *time.Time      `json:"ended_at,omitempty"`
	Recording        bool            `json:"recording"`
	Transcribing     bool            `json:"transcribing"`
	Captioning       bool            `json:"captioning"`
	Translating      bool            `json:"translating"`
	Backstage        bool            `json:"backstage"`
	Settings         json.RawMessage `json:"settings"`
	BlockedUserIDs   []string        `json:"blocked_user_ids"`
	Ingress          ingressBody     `json:"ingress"`
	Egress           egressBody      `json:"egress"`
	Session          *sessionBody    `json:"session,omitempty"`
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
}

type sessionBody struct {
	ID             string            `json:"id"`
	Participants   []participantBody `json:"participants"`
	CountByRole    map[string]int    `json:"participants_count_by_role"`
	AnonymousCount int               `json:"anonymous_participant_count"`
	AcceptedBy     map[string]string `json:"accepted_by"`
	MissedBy       map[string]string `json:"missed_by"`
	RejectedBy     map[string]string `json:"rejected_by"`
	StartedAt      *time.Time        `json:"started_at,omitempty"`
	EndedAt        *time.Time        `json:"ended_at,omitempty"`
}

type participantBody struct {
	User          event.User `json:"user"`
	UserSessionID string     `json:"user_session_id"`
	Role          string     `json:"role"`
	JoinedAt      time.Time  `json:"joined_at"`
}

// CallBody returns the call as API answers and public events show it.
// sql.ErrNoRows is wrapped when there is no such call (see IsNotFound).
func (d *DB) CallBody(ctx context.Context, cid string) (json.RawMessage, error) {
	var row CallRow
	if err := d.reader(ctx).NewSelect().Model(&row).Where("cid = ?", cid).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read call %s: %w", cid, err)
	}
	session, present, err := d.session(ctx, row)
	if err != nil {
		return nil, err
	}
	ids := []string{row.CreatedByID}
	for _, p := range present {
		ids = append(ids, p.UserID)
	}
	users, err := d.UsersIn(ctx, cid, ids...)
	if err != nil {
		return nil, err
	}
	for _, p := range present {
		session.Participants = append(session.Participants, participantBody{
			User: users[p.UserID], UserSessionID: p.UserSessionID, Role: p.Role, JoinedAt: p.JoinedAt.Time,
		})
		session.CountByRole[p.Role]++
	}
	return json.Marshal(d.callBody(row, users[row.CreatedByID], session))
}

func (d *DB) callBody(row CallRow, by event.User, session *sessionBody) callBody {
	body := callBody{
		Type: row.Type, ID: row.ID, CID: row.CID, CurrentSessionID: row.CurrentSessionID,
		CreatedBy: by, Custom: row.Custom.V, CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
		EndedAt: instant(row.EndedAt), Settings: row.Settings.V, BlockedUserIDs: orEmpty(row.BlockedUserIDs.V),
		Egress: egressBody{RTMPs: []string{}}, Session: session,
	}
	body.Ingress.WHIP.Address = d.PublicURL + "/whip/" + url.PathEscape(row.Type) + "/" + url.PathEscape(row.ID)
	if body.Custom == nil {
		body.Custom = map[string]any{}
	}
	if len(body.Settings) == 0 || string(body.Settings) == "null" {
		body.Settings = json.RawMessage("{}")
	}
	if row.FrameEgressID != "" {
		body.Egress.FrameRecording = &statusBody{"running"}
	}
	return body
}

// session returns the call's current session and who is in it now; without
// one, the session is nil.
func (d *DB) session(ctx context.Context, call CallRow) (*sessionBody, []ParticipantRow, error) {
	if call.CurrentSessionID == "" {
		return nil, nil, nil
	}
	none := map[string]string{}
	body := &sessionBody{
		ID: call.CurrentSessionID, Participants: []participantBody{}, CountByRole: map[string]int{},
		AcceptedBy: none, MissedBy: none, RejectedBy: none,
	}
	var row SessionRow
	err := d.reader(ctx).NewSelect().Model(&row).Where("id = ?", call.CurrentSessionID).Scan(ctx)
	if err != nil && !IsNotFound(err) {
		return nil, nil, fmt.Errorf("read session of %s: %w", call.CID, err)
	}
	body.StartedAt, body.EndedAt = instant(row.StartedAt), instant(row.EndedAt)
	var present []ParticipantRow
	err = d.reader(ctx).NewSelect().Model(&present).Where("session_id = ?", call.CurrentSessionID).
		Where("left_at = 0").Order("joined_at", "user_session_id").Scan(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read participants of %s: %w", call.CID, err)
	}
	return body, present, nil
}

func instant(t Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}
