-- Who took a permission away: what a host takes does not bind moderators.

-- +goose Up
ALTER TABLE call_grants ADD COLUMN by_admin SMALLINT NOT NULL DEFAULT 1;

-- +goose Down
ALTER TABLE call_grants DROP COLUMN by_admin;
