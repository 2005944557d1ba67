-- Delivery of public events to hooks.

-- +goose Up
-- public_events: every lossless public event for 30 days, written with the
-- outbox row. It holds the bodies of deliveries, gives events their order, and
-- is what a replay by time reads. fanned_at is when the deliveries were made;
-- what lies unfanned, because the bus lost it, is fanned out by a sweep.
CREATE TABLE public_events (
  seq {{serial}}, id TEXT NOT NULL, type TEXT NOT NULL, key TEXT NOT NULL,
  lane TEXT NOT NULL, -- the call's cid, within which order can be kept
  body TEXT NOT NULL, only_hook TEXT NOT NULL DEFAULT '', -- '' = for every hook
  created_at BIGINT NOT NULL, fanned_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX public_events_id ON public_events (id);
CREATE INDEX public_events_created ON public_events (created_at);
CREATE INDEX public_events_unfanned ON public_events (lane, seq) WHERE fanned_at = 0;

ALTER TABLE deliveries ADD COLUMN event_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN lane TEXT NOT NULL DEFAULT '';
-- base: the attempts made before the last replay; the schedule begins there.
ALTER TABLE deliveries ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deliveries_hook ON deliveries (hook_id, state, next_at);
CREATE INDEX deliveries_lane ON deliveries (hook_id, lane, event_seq) WHERE state = 'pending';
CREATE INDEX deliveries_created ON deliveries (created_at);
CREATE INDEX deliveries_by_event ON deliveries (event_id);

CREATE TABLE delivery_attempts (
  delivery_id TEXT NOT NULL, attempt INTEGER NOT NULL, at BIGINT NOT NULL,
  status INTEGER NOT NULL, error TEXT NOT NULL DEFAULT '', latency_ns BIGINT NOT NULL,
  response TEXT NOT NULL DEFAULT '', PRIMARY KEY (delivery_id, attempt)
);
CREATE INDEX delivery_attempts_at ON delivery_attempts (at);

-- Health and secrets stand beside hooks, which are replaced as a list.
CREATE TABLE hook_health (
  hook_id TEXT PRIMARY KEY, failing_since BIGINT NOT NULL DEFAULT 0, failed_at BIGINT NOT NULL DEFAULT 0,
  notified_at BIGINT NOT NULL DEFAULT 0, last_status INTEGER NOT NULL DEFAULT 0, last_error TEXT NOT NULL DEFAULT '',
  disabled_at BIGINT NOT NULL DEFAULT 0, disabled_reason TEXT NOT NULL DEFAULT ''
);
CREATE TABLE hook_secrets (
  id TEXT PRIMARY KEY, hook_id TEXT NOT NULL, sealed TEXT NOT NULL,
  created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL DEFAULT 0 -- 0 = the current one
);
CREATE INDEX hook_secrets_hook ON hook_secrets (hook_id, created_at);
CREATE UNIQUE INDEX hook_secrets_current ON hook_secrets (hook_id) WHERE expires_at = 0;

-- +goose Down
DROP TABLE hook_secrets; DROP TABLE hook_health; DROP TABLE delivery_attempts;
DROP INDEX deliveries_by_event; DROP INDEX deliveries_created; DROP INDEX deliveries_lane; DROP INDEX deliveries_hook;
ALTER TABLE deliveries DROP COLUMN base;
ALTER TABLE deliveries DROP COLUMN lane;
ALTER TABLE deliveries DROP COLUMN event_seq;
DROP TABLE public_events;
