package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"
	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// maxMembers bounds a call's members, which are kept in one row.
const maxMembers = 500

type callRequest struct {
	Data struct {
		CreatedByID      string          `json:"created_by_id"`
		CreatedBy        *userRequest    `json:"created_by"`
		Custom           map[string]any  `json:"custom"`
		Members          []memberRequest `json:"members"`
		SettingsOverride json.RawMessage `json:"settings_override"`
	} `json:"data"`
	MembersLimit int `json:"members_limit"`
}

type memberRequest struct {
	UserID string         `json:"user_id"`
	Role   string         `json:"role"`
	Custom map[string]any `json:"custom"`
}

// newCall is a call that is to be made unless it exists.
type newCall struct {
	callType, id string
	createdBy    userRequest
	custom       map[string]any
	members      []memberRequest
	override     json.RawMessage
}

func (s *Server) getOrCreateCall(c echo.Context) error {
	callType, id, err := callPath(c)
	if err != nil {
		return err
	}
	var req callRequest
	if err := decode(c, &req); err != nil {
		return err
	}
	ctx, cid := c.Request().Context(), callType+":"+id
	if err := s.mayEnter(ctx, caller(c), cid); err != nil {
		return err
	}
	created := false
	if _, err := s.call(ctx, cid); db.IsNotFound(err) {
		n, err := newCallFrom(c, callType, id, req)
		if err != nil {
			return err
		}
		if created, err = s.createCall(ctx, n); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return s.answerCall(c, cid, status, reply{"created": created}, req.MembersLimit)
}

// newCallFrom checks what only the making of a call needs.
func newCallFrom(c echo.Context, callType, id string, req callRequest) (newCall, error) {
	n := newCall{callType: callType, id: id, custom: req.Data.Custom, members: req.Data.Members, override: req.Data.SettingsOverride}
	who := caller(c)
	switch {
	case !who.Server:
		// A user who could choose the settings could switch off being watched.
		if len(n.override) > 0 && string(n.override) != "null" && !who.Administers() {
			return n, forbidden("settings_override needs a server token or the role admin")
		}
		// And one who could choose roles could take every permission.
		ranked := slices.ContainsFunc(n.members, func(m memberRequest) bool { return m.Role != "" && m.Role != auth.RoleUser })
		if ranked && !who.Administers() {
			return n, forbidden("data.members[].role needs a server token or the role admin")
		}
		n.createdBy = userRequest{ID: who.UserID, Role: who.Role}
	case req.Data.CreatedBy != nil:
		n.createdBy = *req.Data.CreatedBy
	case req.Data.CreatedByID != "":
		n.createdBy.ID = req.Data.CreatedByID
	default:
		n.createdBy.ID = who.UserID
	}
	fields := map[string]string{}
	if n.createdBy.ID == "" {
		fields["data.created_by_id"] = "is required with a server token"
	} else if !validUser(n.createdBy.ID) {
		fields["data.created_by_id"] = wantUser
	}
	if len(n.members) > maxMembers {
		fields["data.members"] = fmt.Sprintf("must be at most %d", maxMembers)
	}
	for i, m := range n.members {
		if !validUser(m.UserID) {
			fields[fmt.Sprintf("data.members[%d].user_id", i)] = wantUser
		}
	}
	if len(fields) > 0 {
		return n, badFields(fields)
	}
	return n, nil
}

func (s *Server) getCall(c echo.Context) error {
	callType, id, err := callPath(c)
	if err != nil {
		return err
	}
	limit, err := queryLimit(c, "members_limit")
	if err != nil {
		return err
	}
	cid := callType + ":" + id
	if err := s.mayEnter(c.Request().Context(), caller(c), cid); err != nil {
		return err
	}
	return s.answerCall(c, cid, http.StatusOK, reply{}, limit)
}

// mayEnter refuses a user whose token is for other calls, or who is banned.
func (s *Server) mayEnter(ctx context.Context, id auth.Identity, cid string) error {
	if id.Server {
		return nil
	}
	if !id.MayJoin(cid) {
		return forbidden("the token is not good for the call %s", cid)
	}
	return refuseBanned(ctx, s.cfg.DB, s.cfg.Now(), id.UserID, cid)
}

// call reads a call; db.IsNotFound tells that there is none.
func (s *Server) call(ctx context.Context, cid string) (db.CallRow, error) {
	var row db.CallRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("cid = ?", cid).Scan(ctx)
	return row, err
}

// existingCall reads the call of the route's {type} and {id}.
func (s *Server) existingCall(c echo.Context) (db.CallRow, error) {
	callType, id, err := callPath(c)
	if err != nil {
		return db.CallRow{}, err
	}
	cid := callType + ":" + id
	row, err := s.call(c.Request().Context(), cid)
	if db.IsNotFound(err) {
		return row, notFound("call", cid)
	}
	return row, err
}

// answerCall writes the call with its members and the caller's capabilities.
func (s *Server) answerCall(c echo.Context, cid string, status int, r reply, membersLimit int) error {
	ctx := c.Request().Context()
	row, err := s.call(ctx, cid)
	if db.IsNotFound(err) {
		return notFound("call", cid)
	}
	if err != nil {
		return err
	}
	body, err := s.cfg.DB.CallBody(ctx, cid)
	if err != nil {
		return err
	}
	have, err := s.capabilitiesIn(ctx, caller(c), row)
	if err != nil {
		return err
	}
	members, err := s.memberBodies(ctx, row, membersLimit)
	if err != nil {
		return err
	}
	r["call"], r["members"], r["own_capabilities"] = body, members, have
	return s.answer(c, status, r)
}

type memberBody struct {
	db.Member
	User   event.User     `json:"user"`
	Custom map[string]any `json:"custom"`
}

func (s *Server) memberBodies(ctx context.Context, call db.CallRow, limit int) ([]memberBody, error) {
	members := call.Members.V
	if limit <= 0 || limit > maxLimit {
		limit = maxLimit
	}
	members = members[:min(limit, len(members))]
	var ids []string
	for _, m := range members {
		ids = append(ids, m.UserID)
	}
	users, err := s.cfg.DB.UsersIn(ctx, call.CID, ids...)
	if err != nil {
		return nil, err
	}
	out := []memberBody{}
	for _, m := range members {
		b := memberBody{Member: m, User: users[m.UserID], Custom: m.Custom}
		if b.Custom == nil {
			b.Custom = map[string]any{}
		}
		out = append(out, b)
	}
	return out, nil
}

func (s *Server) createCall(ctx context.Context, n newCall) (created bool, err error) {
	return createCall(ctx, s.cfg.DB, s.cfg.Now, n)
}

// createCall makes the call with the settings of its type, frozen, unless it
// exists. With frame recording on "auto-on" the recording starts with it.
func createCall(ctx context.Context, d *db.DB, now clock, n newCall) (created bool, err error) {
	err = d.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var ct db.CallTypeRow
		err := tx.NewSelect().Model(&ct).Where("name = ?", n.callType).Scan(ctx)
		if db.IsNotFound(err) {
			return notFound("call type", n.callType)
		}
		if err != nil {
			return fmt.Errorf("read call type %s: %w", n.callType, err)
		}
		settings, err := readSettings(ct.Settings.V)
		if err != nil {
			return err
		}
		if settings, err = settings.Merge(n.override, "data.settings_override"); err != nil {
			return err
		}
		if err := ensureUsers(ctx, tx, now(), n.people()...); err != nil {
			return err
		}
		row := n.row(db.At(now()), settings)
		res, err := tx.NewInsert().Model(&row).On("CONFLICT (cid) DO NOTHING").Exec(ctx)
		if err != nil {
			return fmt.Errorf("insert call %s: %w", row.CID, err)
		}
		if k, err := res.RowsAffected(); err != nil || k == 0 {
			return err
		}
		created = true
		if settings.FrameRecording.Mode != ModeAutoOn {
			return nil
		}
		_, err = setFrameRecording(ctx, d, tx, now(), row.CID, true)
		return err
	})
	return created && err == nil, err
}

func (n newCall) people() []userRequest {
	out := []userRequest{n.createdBy}
	for _, m := range n.members {
		if !slices.ContainsFunc(out, func(u userRequest) bool { return u.ID == m.UserID }) {
			out = append(out, userRequest{ID: m.UserID})
		}
	}
	return out
}

func (n newCall) row(now db.Time, settings Settings) db.CallRow {
	row := db.CallRow{
		CID: n.callType + ":" + n.id, Type: n.callType, ID: n.id, CreatedByID: n.createdBy.ID,
		Settings: settingsColumn(settings), CreatedAt: now, UpdatedAt: now,
	}
	row.Custom.V = n.custom
	if row.Custom.V == nil {
		row.Custom.V = map[string]any{}
	}
	row.BlockedUserIDs.V, row.Members.V = []string{}, []db.Member{}
	for _, m := range n.members {
		role := m.Role
		if role == "" {
			role = auth.RoleUser
		}
		row.Members.V = append(row.Members.V, db.Member{UserID: m.UserID, Role: role, Custom: m.Custom, CreatedAt: now.Time, UpdatedAt: now.Time})
	}
	return row
}
