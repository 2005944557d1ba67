-- One schema for SQLite and PostgreSQL. Times are nanoseconds since 1970 UTC
-- (BIGINT), 0 where unset: exact on both, and public events carry nanoseconds.
-- JSON is TEXT; booleans are SMALLINT 0 or 1.

-- +goose Up
CREATE TABLE users (
  id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT '', image TEXT NOT NULL DEFAULT '',
  role TEXT NOT NULL DEFAULT 'user', language TEXT NOT NULL DEFAULT '',
  teams TEXT NOT NULL DEFAULT '[]', blocked_user_ids TEXT NOT NULL DEFAULT '[]',
  custom TEXT NOT NULL DEFAULT '{}', invisible SMALLINT NOT NULL DEFAULT 0,
  online SMALLINT NOT NULL DEFAULT 0, last_active BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);

CREATE TABLE call_types (
  name TEXT PRIMARY KEY, settings TEXT NOT NULL, grants TEXT NOT NULL DEFAULT '{}',
  policy TEXT NOT NULL DEFAULT '', external_storage TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);

CREATE TABLE calls (
  cid TEXT PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL,
  created_by_id TEXT NOT NULL DEFAULT '', custom TEXT NOT NULL DEFAULT '{}',
  -- settings: effective at creation (call type merged with the override), so
  -- that a later change of the type touches new calls only.
  settings TEXT NOT NULL, members TEXT NOT NULL DEFAULT '[]',
  blocked_user_ids TEXT NOT NULL DEFAULT '[]',
  current_session_id TEXT NOT NULL DEFAULT '',
  frame_egress_id TEXT NOT NULL DEFAULT '', -- set while frame recording is on
  flagged SMALLINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, ended_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX calls_created ON calls (created_at);

CREATE TABLE sessions (
  id TEXT PRIMARY KEY, cid TEXT NOT NULL, node TEXT NOT NULL DEFAULT '',
  started_at BIGINT NOT NULL, ended_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX sessions_cid ON sessions (cid, started_at);

CREATE TABLE participants (
  user_session_id TEXT PRIMARY KEY, session_id TEXT NOT NULL, cid TEXT NOT NULL,
  user_id TEXT NOT NULL, role TEXT NOT NULL DEFAULT 'user',
  joined_at BIGINT NOT NULL, left_at BIGINT NOT NULL DEFAULT 0, leave_reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX participants_session ON participants (session_id, joined_at);
CREATE INDEX participants_user ON participants (user_id, joined_at);

CREATE TABLE frames (
  id TEXT PRIMARY KEY, cid TEXT NOT NULL, session_id TEXT NOT NULL, egress_id TEXT NOT NULL,
  user_id TEXT NOT NULL, track_id TEXT NOT NULL, track_type TEXT NOT NULL, codec TEXT NOT NULL,
  captured_at BIGINT NOT NULL, object_key TEXT NOT NULL, sha256 TEXT NOT NULL, phash TEXT NOT NULL,
  width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL,
  expires_at BIGINT NOT NULL, hold SMALLINT NOT NULL DEFAULT 0, deleted_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX frames_cid ON frames (cid, captured_at);
CREATE INDEX frames_user ON frames (user_id, captured_at);
CREATE INDEX frames_expiry ON frames (deleted_at, expires_at);
CREATE INDEX frames_object ON frames (object_key) WHERE deleted_at = 0;

CREATE TABLE gaps (
  id TEXT PRIMARY KEY, cid TEXT NOT NULL, session_id TEXT NOT NULL, user_id TEXT NOT NULL,
  track_id TEXT NOT NULL, track_type TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '',
  from_at BIGINT NOT NULL, to_at BIGINT NOT NULL, due INTEGER NOT NULL
);
CREATE INDEX gaps_cid ON gaps (cid, from_at);

CREATE TABLE verdicts (
  id TEXT PRIMARY KEY, frame_id TEXT NOT NULL, cid TEXT NOT NULL, user_id TEXT NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', scores TEXT NOT NULL, models TEXT NOT NULL,
  reused SMALLINT NOT NULL DEFAULT 0, at BIGINT NOT NULL
);
CREATE INDEX verdicts_frame ON verdicts (frame_id);
CREATE INDEX verdicts_cid ON verdicts (cid, at);

CREATE TABLE decisions (
  id TEXT PRIMARY KEY, cid TEXT NOT NULL, session_id TEXT NOT NULL, user_id TEXT NOT NULL,
  rule TEXT NOT NULL, policy_version TEXT NOT NULL, action TEXT NOT NULL, labels TEXT NOT NULL,
  score DOUBLE PRECISION NOT NULL, evidence TEXT NOT NULL, at BIGINT NOT NULL
);
CREATE INDEX decisions_cid ON decisions (cid, at);
CREATE INDEX decisions_user ON decisions (user_id, at);

CREATE TABLE actions (
  id TEXT PRIMARY KEY, decision_id TEXT NOT NULL DEFAULT '', kind TEXT NOT NULL, cid TEXT NOT NULL,
  session_id TEXT NOT NULL DEFAULT '', user_id TEXT NOT NULL, by_user_id TEXT NOT NULL, reason TEXT NOT NULL,
  payload TEXT NOT NULL, state TEXT NOT NULL, -- requested, sent, confirmed, failed
  attempts INTEGER NOT NULL DEFAULT 0, requested_at BIGINT NOT NULL,
  sent_at BIGINT NOT NULL DEFAULT 0, confirmed_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX actions_state ON actions (state, requested_at);
CREATE INDEX actions_cid ON actions (cid, requested_at);

CREATE TABLE bans (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL, cid TEXT NOT NULL DEFAULT '', -- '' = everywhere
  by_user_id TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', shadow SMALLINT NOT NULL DEFAULT 0,
  action_id TEXT NOT NULL DEFAULT '', created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL DEFAULT 0, lifted_at BIGINT NOT NULL DEFAULT 0, lifted_by TEXT NOT NULL DEFAULT ''
);
CREATE INDEX bans_user ON bans (user_id, lifted_at);

CREATE TABLE review_items (
  id TEXT PRIMARY KEY, entity_type TEXT NOT NULL, entity_id TEXT NOT NULL,
  entity_creator_id TEXT NOT NULL, status TEXT NOT NULL, recommended_action TEXT NOT NULL DEFAULT 'flag',
  severity INTEGER NOT NULL DEFAULT 0, payload TEXT NOT NULL, flags TEXT NOT NULL DEFAULT '[]',
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE INDEX review_items_status ON review_items (status, created_at);
CREATE INDEX review_items_entity ON review_items (entity_id, entity_creator_id);

CREATE TABLE hooks (
  id TEXT PRIMARY KEY, hook_type TEXT NOT NULL, enabled SMALLINT NOT NULL DEFAULT 1,
  event_types TEXT NOT NULL DEFAULT '[]', webhook_url TEXT NOT NULL DEFAULT '',
  timeout_ms INTEGER NOT NULL DEFAULT 6000, settings TEXT NOT NULL DEFAULT '{}',
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);

CREATE TABLE deliveries (
  id TEXT PRIMARY KEY, hook_id TEXT NOT NULL, event_id TEXT NOT NULL, event_type TEXT NOT NULL,
  key TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, -- pending, done, dead
  attempts INTEGER NOT NULL DEFAULT 0, next_at BIGINT NOT NULL, last_status INTEGER NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT '', created_at BIGINT NOT NULL, done_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX deliveries_event ON deliveries (hook_id, event_id);
CREATE INDEX deliveries_due ON deliveries (state, next_at);

-- outbox: written in the transaction that made the event true; the relay
-- publishes it on the bus and marks it sent, and done once every consumer
-- group has acknowledged it. A wiped Redis is refilled from what is not done.
-- {{serial}} is the dialect's own self-counting primary key.
CREATE TABLE outbox (
  seq {{serial}}, event_id TEXT NOT NULL, topic TEXT NOT NULL, envelope TEXT NOT NULL,
  created_at BIGINT NOT NULL, sent_at BIGINT NOT NULL DEFAULT 0, done_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX outbox_event ON outbox (event_id);
CREATE INDEX outbox_unsent ON outbox (sent_at, seq);
CREATE INDEX outbox_undone ON outbox (done_at, sent_at);

-- handled: the ids a consumer group is done with, so that twice equals once.
CREATE TABLE handled (
  grp TEXT NOT NULL, event_id TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (grp, event_id)
);
CREATE INDEX handled_at ON handled (at);

CREATE TABLE audit (
  id TEXT PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, verb TEXT NOT NULL,
  object TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON audit (at);

-- +goose Down
DROP TABLE audit; DROP TABLE handled; DROP TABLE outbox; DROP TABLE deliveries; DROP TABLE hooks;
DROP TABLE review_items; DROP TABLE bans; DROP TABLE actions; DROP TABLE decisions; DROP TABLE verdicts;
DROP TABLE gaps; DROP TABLE frames; DROP TABLE participants; DROP TABLE sessions; DROP TABLE calls;
DROP TABLE call_types; DROP TABLE users;
