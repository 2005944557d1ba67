-- +goose Up
-- recording_handovers: sessions whose packets lie in the object store, so that
-- several machines make files of them. key is the packets', sealed with the
-- master key; without it what lies there can be read by nobody.
CREATE TABLE recording_handovers (
  session_id TEXT PRIMARY KEY, node TEXT NOT NULL, state TEXT NOT NULL, key TEXT NOT NULL DEFAULT '', files TEXT NOT NULL DEFAULT '[]',
  size BIGINT NOT NULL DEFAULT 0, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE recording_handovers;
