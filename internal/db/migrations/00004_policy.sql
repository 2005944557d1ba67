-- The policy of the API: rules that escalate, configs of labels, and what came
-- of them.

-- +goose Up
-- body: the rule as the policy reads it (policy.CallRule), JSON.
CREATE TABLE moderation_rules (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, rule_type TEXT NOT NULL, enabled SMALLINT NOT NULL,
  body TEXT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX moderation_rules_name ON moderation_rules (name);

-- body: the config as the policy reads it (policy.CallConfig), JSON.
CREATE TABLE moderation_configs (
  key TEXT PRIMARY KEY, team TEXT NOT NULL DEFAULT '', body TEXT NOT NULL,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);

-- violations: what a rule of the API counts, per rule, user and call. A
-- restart goes on counting from here.
CREATE TABLE violations (
  id TEXT PRIMARY KEY, rule_id TEXT NOT NULL, rule_name TEXT NOT NULL, cid TEXT NOT NULL,
  session_id TEXT NOT NULL, user_id TEXT NOT NULL, number INTEGER NOT NULL, policy_version TEXT NOT NULL,
  frame_id TEXT NOT NULL, actions TEXT NOT NULL DEFAULT '[]',
  captured_at BIGINT NOT NULL, -- of the frame that completed it
  at BIGINT NOT NULL
);
CREATE INDEX violations_user ON violations (user_id, captured_at);
CREATE INDEX violations_cid ON violations (cid, at);

-- policy_versions: what each version in decisions says, JSON.
CREATE TABLE policy_versions (version TEXT PRIMARY KEY, policy TEXT NOT NULL, created_at BIGINT NOT NULL);

-- source: 'outside' for verdicts that were pushed by the backend, which stand
-- on no frame of ours, else ''. session_id is set for those alone.
ALTER TABLE verdicts ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE verdicts ADD COLUMN session_id TEXT NOT NULL DEFAULT '';
CREATE INDEX verdicts_outside ON verdicts (user_id, at) WHERE source <> '';

-- +goose Down
DROP INDEX verdicts_outside;
ALTER TABLE verdicts DROP COLUMN session_id;
ALTER TABLE verdicts DROP COLUMN source;
DROP TABLE policy_versions; DROP TABLE violations; DROP TABLE moderation_configs; DROP TABLE moderation_rules;
