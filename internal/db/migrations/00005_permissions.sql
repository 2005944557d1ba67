-- What users may do in a call beyond their roles, and who wants to be recorded.

-- +goose Up
-- call_grants: one row a user and capability; granted 0 takes away what a role gives.
CREATE TABLE call_grants (
  cid TEXT NOT NULL, user_id TEXT NOT NULL, capability TEXT NOT NULL, granted SMALLINT NOT NULL,
  by_user_id TEXT NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (cid, user_id, capability)
);

-- recording_permissions: of a user or of a domain, which is a team of users.
CREATE TABLE recording_permissions (
  scope TEXT NOT NULL, id TEXT NOT NULL, -- scope: user, domain
  recording_type TEXT NOT NULL, recording_profile TEXT NOT NULL,
  by_user_id TEXT NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (scope, id)
);

-- recording_decision: whether the call is to be recorded, decided for its
-- creator when it was made. frame_storage: the external storage its frames go to.
ALTER TABLE calls ADD COLUMN recording_decision TEXT NOT NULL DEFAULT '{}';
ALTER TABLE calls ADD COLUMN frame_storage TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE calls DROP COLUMN frame_storage;
ALTER TABLE calls DROP COLUMN recording_decision;
DROP TABLE recording_permissions;
DROP TABLE call_grants;
