-- +goose Up
-- settings: what may be shown; sealed: secrets by field, each sealed for this
-- storage's name (internal/seal).
CREATE TABLE external_storages (
  name TEXT PRIMARY KEY, storage_type TEXT NOT NULL, bucket TEXT NOT NULL, path TEXT NOT NULL DEFAULT '',
  settings TEXT NOT NULL DEFAULT '{}', sealed TEXT NOT NULL DEFAULT '{}',
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);

-- app_settings has one row, with id 1, made when a setting is first changed.
CREATE TABLE app_settings (
  id INTEGER PRIMARY KEY, hook_compression SMALLINT NOT NULL DEFAULT 0, updated_at BIGINT NOT NULL
);

-- storage: the external storage that holds the frame, '' for our own.
-- fallback_from: the external storage that it was meant for and that did not
-- take it, '' if there was none.
ALTER TABLE frames ADD COLUMN storage TEXT NOT NULL DEFAULT '';
ALTER TABLE frames ADD COLUMN fallback_from TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE frames DROP COLUMN fallback_from;
ALTER TABLE frames DROP COLUMN storage;
DROP TABLE app_settings; DROP TABLE external_storages;
