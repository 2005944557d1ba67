package web

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// Mute notes that a user does not want to hear others. Clients act on it;
// what the others publish stays as it is.
func (s *Server) Mute(ctx context.Context, req api.MuteRequestObject) (api.MuteResponseObject, error) {
	in := orZero(req.Body)
	user, known, missing, err := s.muted(ctx, in)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	var expires db.Time
	if in.Timeout > 0 {
		expires = db.At(now.Add(time.Duration(in.Timeout) * time.Minute))
	}
	var rows []db.UserMuteRow
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if len(known) == 0 {
			return nil
		}
		for _, id := range known {
			rows = append(rows, db.UserMuteRow{UserID: user, TargetID: id, CreatedAt: db.At(now), UpdatedAt: db.At(now), ExpiresAt: expires})
		}
		_, err := tx.NewInsert().Model(&rows).On("CONFLICT (user_id, target_id) DO UPDATE").
			Set("updated_at = EXCLUDED.updated_at").Set("expires_at = EXCLUDED.expires_at").Exec(ctx)
		if err != nil {
			return fmt.Errorf("note mutes of %s: %w", user, err)
		}
		if err := tx.NewSelect().Model(&rows).Where("user_id = ?", user).Where("target_id IN (?)", bun.List(known)).Order("target_id").Scan(ctx); err != nil {
			return fmt.Errorf("read mutes of %s: %w", user, err)
		}
		return audit(ctx, tx, now, user, "user.mute", "user:"+user, map[string]any{"targets": known})
	})
	if err != nil {
		return nil, err
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", append(known, user)...)
	out := api.Mute200JSONResponse{Mutes: []api.UserMute{}, NonExistingUsers: missing}
	for _, r := range rows {
		m := api.UserMute{User: users[user], Target: users[r.TargetID], CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time}
		if !r.ExpiresAt.IsZero() {
			m.Expires = &r.ExpiresAt.Time
		}
		out.Mutes = append(out.Mutes, m)
	}
	return out, err
}

// muted reads whose mutes a request is about, and which of the targets exist.
func (s *Server) muted(ctx context.Context, in api.MuteRequest) (user string, known, missing []string, err error) {
	if user, err = self(ctx, "user_id", in.UserID); err != nil {
		return "", nil, nil, err
	}
	targets := sortedSet(in.TargetIds)
	if len(targets) == 0 { // no body at all
		return "", nil, nil, badField("target_ids", "is missing")
	}
	var have []string
	err = s.cfg.DB.NewSelect().Model((*db.UserRow)(nil)).Column("id").Where("id IN (?)", bun.List(targets)).Scan(ctx, &have)
	if err != nil {
		return "", nil, nil, fmt.Errorf("read the targets: %w", err)
	}
	exists := map[string]bool{}
	for _, id := range have {
		exists[id] = true
	}
	for _, id := range targets {
		switch {
		case id == user:
			return "", nil, nil, badField("target_ids", "must not name the user who mutes")
		case exists[id]:
			known = append(known, id)
		default:
			missing = append(missing, id)
		}
	}
	return user, known, missing, nil
}

// Unmute takes mutes back; who was not muted stays so.
func (s *Server) Unmute(ctx context.Context, req api.UnmuteRequestObject) (api.UnmuteResponseObject, error) {
	user, known, missing, err := s.muted(ctx, orZero(req.Body))
	if err != nil {
		return nil, err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if len(known) == 0 {
			return nil
		}
		res, err := tx.NewDelete().Model((*db.UserMuteRow)(nil)).Where("user_id = ?", user).Where("target_id IN (?)", bun.List(known)).Exec(ctx)
		if err != nil {
			return fmt.Errorf("take mutes of %s back: %w", user, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return audit(ctx, tx, s.cfg.Now(), user, "user.unmute", "user:"+user, map[string]any{"targets": known})
	})
	return api.Unmute200JSONResponse{NonExistingUsers: missing}, err
}
