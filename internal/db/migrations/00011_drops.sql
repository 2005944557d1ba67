-- +goose Up
-- recording_drops: sessions whose packets were given up, or not written, since
-- there was no room. It tells so to whoever asks for them later.
CREATE TABLE recording_drops (
  session_id TEXT PRIMARY KEY, cid TEXT NOT NULL, node TEXT NOT NULL DEFAULT '', started_at BIGINT NOT NULL,
  dropped_at BIGINT NOT NULL, bytes BIGINT NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT ''
);

-- +goose Down
DROP TABLE recording_drops;
