-- The review of what is flagged: decisions, locks, appeals, saved queues,
-- feedback on labels, and users' mutes of each other.

-- +goose Up
ALTER TABLE review_items ADD COLUMN session_id TEXT NOT NULL DEFAULT '';
ALTER TABLE review_items ADD COLUMN flags_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE review_items ADD COLUMN config_key TEXT NOT NULL DEFAULT '';
ALTER TABLE review_items ADD COLUMN teams TEXT NOT NULL DEFAULT '[]';
ALTER TABLE review_items ADD COLUMN languages TEXT NOT NULL DEFAULT '[]';
ALTER TABLE review_items ADD COLUMN reviewed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE review_items ADD COLUMN reviewed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE review_items ADD COLUMN completed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE review_items ADD COLUMN latest_action TEXT NOT NULL DEFAULT '';
-- A lock holds while lock_expires_at lies ahead; nobody takes it off.
ALTER TABLE review_items ADD COLUMN assigned_to TEXT NOT NULL DEFAULT '';
ALTER TABLE review_items ADD COLUMN lock_expires_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE review_items ADD COLUMN escalated SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE review_items ADD COLUMN escalated_by TEXT NOT NULL DEFAULT '';
ALTER TABLE review_items ADD COLUMN escalated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE review_items ADD COLUMN escalation TEXT NOT NULL DEFAULT '{}';
CREATE INDEX review_items_created ON review_items (created_at);
CREATE INDEX review_items_creator ON review_items (entity_creator_id, created_at);

-- flags: each flag of an item. The item itself shows the newest of them.
CREATE TABLE flags (
  id TEXT PRIMARY KEY, item_id TEXT NOT NULL, type TEXT NOT NULL, entity_type TEXT NOT NULL,
  entity_id TEXT NOT NULL, entity_creator_id TEXT NOT NULL, labels TEXT NOT NULL DEFAULT '[]',
  result TEXT NOT NULL DEFAULT '[]', reason TEXT NOT NULL DEFAULT '', user_id TEXT NOT NULL,
  custom TEXT NOT NULL DEFAULT '{}', frame_id TEXT NOT NULL DEFAULT '',
  score DOUBLE PRECISION NOT NULL DEFAULT 0, action_id TEXT NOT NULL DEFAULT '', created_at BIGINT NOT NULL
);
CREATE INDEX flags_item ON flags (item_id, created_at);
CREATE INDEX flags_creator ON flags (entity_creator_id, created_at);
CREATE INDEX flags_created ON flags (created_at);
INSERT INTO flags (id, item_id, type, entity_type, entity_id, entity_creator_id, labels, reason, user_id, frame_id, score, action_id, created_at)
SELECT 'flag-' || a.id, r.id, COALESCE(f.value ->> 'type', 'user'), r.entity_type, r.entity_id, r.entity_creator_id,
  COALESCE(f.value ->> 'labels', '[]'), COALESCE(f.value ->> 'reason', ''), COALESCE(f.value ->> 'user_id', a.by_user_id),
  COALESCE(f.value ->> 'frame_id', ''), CAST(COALESCE(f.value ->> 'score', '0') AS DOUBLE PRECISION), a.id, a.requested_at
FROM review_items AS r CROSS JOIN {{elements}}(CAST(r.flags AS {{json}})) AS f JOIN actions AS a ON a.id = f.value ->> 'action_id'
WHERE a.kind = 'flag'
ON CONFLICT DO NOTHING;
UPDATE review_items SET flags_count = (SELECT count(*) FROM flags WHERE flags.item_id = review_items.id),
  session_id = COALESCE(CAST(payload AS {{json}}) -> 'custom' ->> 'session_id', '');

-- review_actions: what people decided, on an item ('' without one), about
-- whom, and in which session.
CREATE TABLE review_actions (
  id TEXT PRIMARY KEY, item_id TEXT NOT NULL DEFAULT '', appeal_id TEXT NOT NULL DEFAULT '', type TEXT NOT NULL,
  user_id TEXT NOT NULL, target_user_id TEXT NOT NULL DEFAULT '', cid TEXT NOT NULL DEFAULT '',
  session_id TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', custom TEXT NOT NULL DEFAULT '{}',
  at BIGINT NOT NULL
);
CREATE INDEX review_actions_item ON review_actions (item_id, at);
CREATE INDEX review_actions_target ON review_actions (target_user_id, at);
CREATE INDEX review_actions_at ON review_actions (at);

CREATE TABLE appeals (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL, entity_type TEXT NOT NULL, entity_id TEXT NOT NULL,
  item_id TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL, attachments TEXT NOT NULL DEFAULT '[]',
  status TEXT NOT NULL, -- submitted, accepted, rejected
  decision_reason TEXT NOT NULL DEFAULT '', reviewed_by TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX appeals_open ON appeals (user_id, entity_type, entity_id) WHERE status = 'submitted';
CREATE INDEX appeals_user ON appeals (user_id, created_at);
CREATE INDEX appeals_item ON appeals (item_id, created_at);
CREATE INDEX appeals_created ON appeals (created_at);

CREATE TABLE review_queues (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL DEFAULT '', filters TEXT NOT NULL DEFAULT '{}',
  sort TEXT NOT NULL DEFAULT '[]', created_by TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE INDEX review_queues_created ON review_queues (created_at);

-- feedback: what a moderator says the labels of an item should have been.
CREATE TABLE feedback (
  item_id TEXT NOT NULL, user_id TEXT NOT NULL, labels TEXT NOT NULL, expected_labels TEXT NOT NULL,
  notes TEXT NOT NULL DEFAULT '', created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  PRIMARY KEY (item_id, user_id)
);

CREATE TABLE user_mutes (
  user_id TEXT NOT NULL, target_id TEXT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL DEFAULT 0, PRIMARY KEY (user_id, target_id)
);

CREATE INDEX bans_created ON bans (created_at);
CREATE INDEX actions_user ON actions (user_id, requested_at);

-- +goose Down
DROP INDEX actions_user; DROP INDEX bans_created;
DROP TABLE user_mutes; DROP TABLE feedback; DROP TABLE review_queues; DROP TABLE appeals;
DROP TABLE review_actions; DROP TABLE flags;
DROP INDEX review_items_creator; DROP INDEX review_items_created;
ALTER TABLE review_items DROP COLUMN session_id;
ALTER TABLE review_items DROP COLUMN flags_count;
ALTER TABLE review_items DROP COLUMN config_key;
ALTER TABLE review_items DROP COLUMN teams;
ALTER TABLE review_items DROP COLUMN languages;
ALTER TABLE review_items DROP COLUMN reviewed_at;
ALTER TABLE review_items DROP COLUMN reviewed_by;
ALTER TABLE review_items DROP COLUMN completed_at;
ALTER TABLE review_items DROP COLUMN latest_action;
ALTER TABLE review_items DROP COLUMN assigned_to;
ALTER TABLE review_items DROP COLUMN lock_expires_at;
ALTER TABLE review_items DROP COLUMN escalated;
ALTER TABLE review_items DROP COLUMN escalated_by;
ALTER TABLE review_items DROP COLUMN escalated_at;
ALTER TABLE review_items DROP COLUMN escalation;
