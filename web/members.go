package web

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// UpdateCallMembers adds, changes and removes members of a call. Who is no
// admin gives only roles whose permissions they have themselves.
func (s *Server) UpdateCallMembers(ctx context.Context, req api.UpdateCallMembersRequestObject) (api.UpdateCallMembersResponseObject, error) {
	in := orZero(req.Body)
	call, err := s.callAt(ctx, req.Type, req.ID, CapUpdateMember)
	if err != nil {
		return nil, err
	}
	if err := s.checkUpdate(ctx, call, in); err != nil {
		return nil, err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := lockCall(ctx, tx, &call); err != nil {
			return err
		}
		if err := s.changeMembers(ctx, tx, call.CID, in); err != nil {
			return err
		}
		now := s.cfg.Now()
		if _, err := tx.NewUpdate().Model((*db.CallRow)(nil)).Set("updated_at = ?", db.At(now)).Where("cid = ?", call.CID).Exec(ctx); err != nil {
			return fmt.Errorf("update call %s: %w", call.CID, err)
		}
		if err := s.cfg.DB.TellCallChanged(ctx, tx, event.CallUpdated, call.CID, now); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "call.members", call.CID, in)
	})
	if err != nil {
		return nil, err
	}
	members, err := s.cfg.DB.MembersOf(ctx, maxLimit, call.CID)
	if err != nil {
		return nil, err
	}
	bodies, err := s.memberBodies(ctx, call.CID, members[call.CID])
	return api.UpdateCallMembers200JSONResponse{Members: bodies}, err
}

func (s *Server) checkUpdate(ctx context.Context, call db.CallRow, in api.UpdateCallMembersRequest) error {
	fields := map[string]string{}
	checkMembers(fields, "update_members", in.UpdateMembers)
	if len(fields) > 0 {
		return badFields(fields)
	}
	who := callerOf(ctx)
	if who.Administers() {
		return nil
	}
	have, err := s.capabilitiesIn(ctx, who, call)
	if err != nil {
		return err
	}
	ct, err := s.callType(ctx, s.cfg.DB, call.Type)
	if err != nil {
		return err
	}
	for _, m := range in.UpdateMembers {
		for _, c := range ct.Grants.V[m.Role] {
			if !slices.Contains(have, canonical(c)) {
				return forbidden("the role %q gives the permission %s, which user %q lacks in %s", m.Role, c, who.UserID, call.CID)
			}
		}
	}
	return nil
}

func (s *Server) changeMembers(ctx context.Context, tx bun.Tx, cid string, in api.UpdateCallMembersRequest) error {
	if len(in.RemoveMembers) > 0 {
		_, err := tx.NewDelete().Model((*db.MemberRow)(nil)).Where("cid = ?", cid).Where("user_id IN (?)", bun.List(in.RemoveMembers)).Exec(ctx)
		if err != nil {
			return fmt.Errorf("remove members of %s: %w", cid, err)
		}
	}
	now := s.cfg.Now()
	for _, m := range in.UpdateMembers {
		if err := ensureUsers(ctx, tx, now, userRequest{ID: m.UserID}); err != nil {
			return err
		}
		row := memberRow(cid, m, db.At(now))
		q := tx.NewInsert().Model(&row).On("CONFLICT (cid, user_id) DO UPDATE").Set("updated_at = EXCLUDED.updated_at")
		if m.Role != "" {
			q = q.Set("role = EXCLUDED.role")
		}
		if m.Custom != nil {
			q = q.Set("custom = EXCLUDED.custom")
		}
		if _, err := q.Exec(ctx); err != nil {
			return fmt.Errorf("write member %s of %s: %w", m.UserID, cid, err)
		}
	}
	n, err := tx.NewSelect().Model((*db.MemberRow)(nil)).Where("cid = ?", cid).Count(ctx)
	if err == nil && n > maxMembers {
		return badField("update_members", fmt.Sprintf("would give the call %d members; it can have %d", n, maxMembers))
	}
	return err
}

func memberRow(cid string, m api.MemberRequest, now db.Time) db.MemberRow {
	row := db.MemberRow{CID: cid, UserID: m.UserID, Role: m.Role, CreatedAt: now, UpdatedAt: now}
	if row.Role == "" {
		row.Role = auth.RoleUser
	}
	row.Custom.V = orEmptyMap(m.Custom)
	return row
}

var memberFields = filter.Fields{
	"user_id":    {Column: "cm.user_id", Kind: filter.Text, Sortable: true},
	"role":       {Column: "cm.role", Kind: filter.Text, Sortable: true},
	"created_at": {Column: "cm.created_at", Kind: filter.Instant, Sortable: true},
	"updated_at": {Column: "cm.updated_at", Kind: filter.Instant, Sortable: true},
	"custom":     {Column: "cm.custom", Kind: filter.Custom},
}

// QueryCallMembers lists a call's members to those who may enter it.
func (s *Server) QueryCallMembers(ctx context.Context, req api.QueryCallMembersRequestObject) (api.QueryCallMembersResponseObject, error) {
	in := orZero(req.Body)
	cid := in.Type + ":" + in.ID
	if err := s.mayEnter(ctx, callerOf(ctx), cid); err != nil {
		return nil, err
	}
	if _, err := s.existingCall(ctx, in.Type, in.ID); err != nil {
		return nil, err
	}
	p, err := memberFields.Page(sortOf(in.Sort), []filter.Sort{{Field: "created_at"}}, in.Limit, in.Next, in.Prev, "user_id")
	if err != nil {
		return nil, err
	}
	var rows []db.MemberRow
	q, err := memberFields.Where(s.cfg.DB.NewSelect().Model(&rows).Where("cm.cid = ?", cid), in.FilterConditions)
	if err != nil {
		return nil, filtered("filter_conditions", err)
	}
	if err := p.Apply(q).Scan(ctx); err != nil {
		return nil, fmt.Errorf("query members of %s: %w", cid, err)
	}
	rows, next, prev := filter.Cut(p, rows, memberSortValue)
	members, err := s.memberBodies(ctx, cid, rows)
	return api.QueryCallMembers200JSONResponse{Members: members, Next: next, Prev: prev}, err
}

func memberSortValue(row *db.MemberRow, field string) any {
	switch field {
	case "user_id":
		return row.UserID
	case "role":
		return row.Role
	case "updated_at":
		return row.UpdatedAt
	}
	return row.CreatedAt
}

// memberBodies shows members of one call.
func (s *Server) memberBodies(ctx context.Context, cid string, rows []db.MemberRow) ([]api.Member, error) {
	ids := make([]string, len(rows))
	for i, m := range rows {
		ids[i] = m.UserID
	}
	users, err := s.cfg.DB.UsersIn(ctx, cid, ids...)
	return memberBodies(rows, users), err
}
