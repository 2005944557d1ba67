-- +goose Up
-- armed_until: of an order whose session ended, until when the call's next
-- session takes it on; 0 where it waits as long as the call does.
ALTER TABLE recordings ADD COLUMN armed_until BIGINT NOT NULL DEFAULT 0;
-- +goose Down
ALTER TABLE recordings DROP COLUMN armed_until;
