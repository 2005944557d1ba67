-- Calls: members in a table of their own, what calls are listed and filtered
-- by, deletion, and tasks. {{elements}} gives the elements of a JSON array as
-- rows with a column "value", {{json}} is the type of JSON.

-- +goose Up
CREATE TABLE call_members (
  cid TEXT NOT NULL, user_id TEXT NOT NULL, role TEXT NOT NULL DEFAULT 'user',
  custom TEXT NOT NULL DEFAULT '{}', created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  PRIMARY KEY (cid, user_id)
);
CREATE INDEX call_members_user ON call_members (user_id, cid);

-- Members were only ever written together with their call.
INSERT INTO call_members (cid, user_id, role, custom, created_at, updated_at)
SELECT c.cid, m.value ->> 'user_id', COALESCE(m.value ->> 'role', 'user'), COALESCE(m.value ->> 'custom', '{}'), c.created_at, c.created_at
FROM calls AS c CROSS JOIN {{elements}}(CAST(c.members AS {{json}})) AS m
WHERE COALESCE(m.value ->> 'user_id', '') <> ''
ON CONFLICT DO NOTHING;
ALTER TABLE calls DROP COLUMN members;

ALTER TABLE calls ADD COLUMN team TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN channel_cid TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN starts_at BIGINT NOT NULL DEFAULT 0;
-- deleted_at: hidden from reads since; the row goes when nothing is kept of it.
ALTER TABLE calls ADD COLUMN deleted_at BIGINT NOT NULL DEFAULT 0;
DROP INDEX calls_created;
CREATE INDEX calls_created ON calls (created_at, cid);
CREATE INDEX calls_updated ON calls (updated_at, cid);
CREATE INDEX calls_starts ON calls (starts_at, cid);
CREATE INDEX calls_ended ON calls (ended_at, cid);
CREATE INDEX calls_creator ON calls (created_by_id, created_at);
CREATE INDEX calls_live ON calls (current_session_id) WHERE current_session_id <> '';
CREATE INDEX calls_flagged ON calls (created_at) WHERE flagged = 1;

ALTER TABLE call_types ADD COLUMN notification_settings TEXT NOT NULL DEFAULT '{"enabled":false}';

CREATE INDEX participants_present ON participants (session_id) WHERE left_at = 0;
CREATE INDEX users_created ON users (created_at, id);

-- tasks: work that a request started and that goes on after its answer.
CREATE TABLE tasks (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, object TEXT NOT NULL,
  status TEXT NOT NULL, -- waiting, running, completed, failed
  result TEXT NOT NULL DEFAULT '{}', error TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE INDEX tasks_status ON tasks (status, created_at);
CREATE UNIQUE INDEX tasks_open ON tasks (kind, object) WHERE status IN ('waiting', 'running');

-- +goose Down
-- Members are lost on the way down.
DROP TABLE tasks;
DROP INDEX users_created; DROP INDEX participants_present;
ALTER TABLE call_types DROP COLUMN notification_settings;
DROP INDEX calls_flagged; DROP INDEX calls_live; DROP INDEX calls_creator; DROP INDEX calls_ended;
DROP INDEX calls_starts; DROP INDEX calls_updated; DROP INDEX calls_created;
ALTER TABLE calls DROP COLUMN deleted_at;
ALTER TABLE calls DROP COLUMN starts_at;
ALTER TABLE calls DROP COLUMN channel_cid;
ALTER TABLE calls DROP COLUMN team;
ALTER TABLE calls ADD COLUMN members TEXT NOT NULL DEFAULT '[]';
CREATE INDEX calls_created ON calls (created_at);
DROP TABLE call_members;
