package db

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// RoleUser is the role of a user of whom nothing else is known.
const RoleUser = "user"

// User returns a user's public shape, with the bans that hold everywhere. An
// unknown id gives a user of that id with role "user": tokens name users
// before the server has heard of them.
func (d *DB) User(ctx context.Context, id string) (event.User, error) { return d.UserIn(ctx, id, "") }

// UserIn is User with the bans that hold in the call cid counted as well.
func (d *DB) UserIn(ctx context.Context, id, cid string) (event.User, error) {
	users, err := d.UsersIn(ctx, cid, id)
	if err != nil {
		return event.User{}, err
	}
	return users[id], nil
}

// UsersIn returns several users by id in two queries.
func (d *DB) UsersIn(ctx context.Context, cid string, ids ...string) (map[string]event.User, error) {
	users, err := d.UsersInCalls(ctx, map[string][]string{cid: ids})
	return users[cid], err
}

type forUsersKey struct{}

// ForUsers marks a context whose answers are shown to users. Who is banned in
// the shadow must not find out: outside of transactions, where events for the
// backend are made, users read with it are not ShadowBanned.
func ForUsers(ctx context.Context) context.Context {
	return context.WithValue(ctx, forUsersKey{}, true)
}

func (d *DB) hidesShadow(ctx context.Context) bool {
	return ctx.Value(forUsersKey{}) != nil && d.reader(ctx) == bun.IDB(d.DB)
}

// UsersInCalls returns users by call and id, each with the bans that hold in
// that call, in two queries.
func (d *DB) UsersInCalls(ctx context.Context, ids map[string][]string) (map[string]map[string]event.User, error) {
	out := make(map[string]map[string]event.User, len(ids))
	known := map[string]event.User{}
	cids := []string{""}
	for cid, list := range ids {
		cids = append(cids, cid)
		for _, id := range list {
			known[id] = PublicUser(UserRow{ID: id, Role: RoleUser})
		}
	}
	var bans []BanRow
	if all := slices.Collect(maps.Keys(known)); len(all) > 0 {
		var rows []UserRow
		if err := d.reader(ctx).NewSelect().Model(&rows).Where("id IN (?)", bun.List(all)).Scan(ctx); err != nil {
			return nil, fmt.Errorf("read users: %w", err)
		}
		for _, r := range rows {
			known[r.ID] = PublicUser(r)
		}
		if err := liveBans(d.reader(ctx).NewSelect().Model(&bans), d.now(), cids...).Where("user_id IN (?)", bun.List(all)).Scan(ctx); err != nil {
			return nil, fmt.Errorf("read bans of users: %w", err)
		}
	}
	hidden := d.hidesShadow(ctx)
	for cid, list := range ids {
		out[cid] = make(map[string]event.User, len(list))
		for _, id := range list {
			u := known[id]
			for _, b := range bans {
				if b.UserID == id && (b.CID == "" || b.CID == cid) {
					u.Banned = u.Banned || !bool(b.Shadow)
					u.ShadowBanned = u.ShadowBanned || bool(b.Shadow) && !hidden
				}
			}
			out[cid][id] = u
		}
	}
	return out, nil
}

// PublicUser is the row in the public shape, without the state of bans.
func PublicUser(r UserRow) event.User {
	return event.User{
		ID: r.ID, Name: r.Name, Image: r.Image, Role: r.Role, Language: r.Language,
		Teams: orEmpty(r.Teams.V), BlockedUserIDs: orEmpty(r.BlockedUserIDs.V),
		Invisible: bool(r.Invisible), Online: bool(r.Online),
		LastActive: r.LastActive.Time, CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time,
		Custom: r.Custom.V,
	}
}

// SawUser notes that the user is active now, and makes its row if there is
// none. The role of a token is good while the token is: the row of somebody
// new says RoleUser, and that of a known user stays.
func (d *DB) SawUser(ctx context.Context, id string, online bool, now time.Time) error {
	row := UserRow{
		ID: id, Role: RoleUser, Online: Bool(online), LastActive: At(now), CreatedAt: At(now), UpdatedAt: At(now),
		Teams: JSON[[]string]{[]string{}}, BlockedUserIDs: JSON[[]string]{[]string{}},
		Custom: JSON[map[string]any]{map[string]any{}},
	}
	_, err := d.reader(ctx).NewInsert().Model(&row).On("CONFLICT (id) DO UPDATE").
		Set("online = EXCLUDED.online").Set("last_active = EXCLUDED.last_active").Exec(ctx)
	if err != nil {
		return fmt.Errorf("note user %s: %w", id, err)
	}
	return nil
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
