-- +goose Up
-- recordings: one run of one recording type in one session of a call. plan is
-- recording.Plan as JSON, frozen when the run began. lane is "business", under
-- recording permissions, or "evidence", under the call type's moderation policy.
CREATE TABLE recordings (
  id TEXT PRIMARY KEY, cid TEXT NOT NULL, session_id TEXT NOT NULL, node TEXT NOT NULL DEFAULT '',
  type TEXT NOT NULL, lane TEXT NOT NULL, state TEXT NOT NULL, plan TEXT NOT NULL DEFAULT '{}', storage TEXT NOT NULL DEFAULT '',
  custom TEXT NOT NULL DEFAULT '{}', requested_by TEXT NOT NULL DEFAULT '', mandatory SMALLINT NOT NULL DEFAULT 0,
  flagged SMALLINT NOT NULL DEFAULT 0, error_code INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
  started_at BIGINT NOT NULL, stopped_at BIGINT NOT NULL DEFAULT 0, finished_at BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE INDEX recordings_cid ON recordings (cid, started_at);
CREATE INDEX recordings_state ON recordings (state, updated_at);
CREATE INDEX recordings_session ON recordings (session_id);

-- recording_files: what a run left in storage. items are the objects that the
-- file consists of, with sizes and checksums; object_key is the first of them.
CREATE TABLE recording_files (
  id TEXT PRIMARY KEY, recording_id TEXT NOT NULL, cid TEXT NOT NULL, session_id TEXT NOT NULL,
  type TEXT NOT NULL, lane TEXT NOT NULL, kind TEXT NOT NULL, format TEXT NOT NULL, filename TEXT NOT NULL,
  storage TEXT NOT NULL DEFAULT '', object_key TEXT NOT NULL, items TEXT NOT NULL DEFAULT '[]', size BIGINT NOT NULL DEFAULT 0,
  user_id TEXT NOT NULL DEFAULT '', track_type TEXT NOT NULL DEFAULT '', encrypted SMALLINT NOT NULL DEFAULT 0,
  media TEXT NOT NULL DEFAULT '{}', sha256 TEXT NOT NULL DEFAULT '', started_at BIGINT NOT NULL, ended_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL DEFAULT 0, hold SMALLINT NOT NULL DEFAULT 0, created_at BIGINT NOT NULL, deleted_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX recording_files_cid ON recording_files (cid, started_at);
CREATE INDEX recording_files_recording ON recording_files (recording_id);
CREATE INDEX recording_files_expiry ON recording_files (expires_at) WHERE deleted_at = 0 AND hold = 0 AND expires_at > 0;

-- recording_jobs: the steps between raw packets and stored files. A step is
-- done by whoever holds its lease; token grows with every claim, and the result
-- of an older token is refused.
CREATE TABLE recording_jobs (
  id TEXT PRIMARY KEY, recording_id TEXT NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL,
  payload TEXT NOT NULL DEFAULT '{}', result TEXT NOT NULL DEFAULT '{}', worker TEXT NOT NULL DEFAULT '', token BIGINT NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', lease_until BIGINT NOT NULL DEFAULT 0,
  not_before BIGINT NOT NULL DEFAULT 0, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
);
CREATE INDEX recording_jobs_state ON recording_jobs (state, not_before);
CREATE INDEX recording_jobs_recording ON recording_jobs (recording_id, kind, n);

-- recording_holds: why files may not be deleted. Releasing needs two persons.
CREATE TABLE recording_holds (
  id TEXT PRIMARY KEY, recording_id TEXT NOT NULL, reason TEXT NOT NULL, placed_by TEXT NOT NULL, placed_at BIGINT NOT NULL,
  release_asked_by TEXT NOT NULL DEFAULT '', release_asked_at BIGINT NOT NULL DEFAULT 0,
  released_by TEXT NOT NULL DEFAULT '', released_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX recording_holds_recording ON recording_holds (recording_id);

-- +goose Down
DROP TABLE recording_holds; DROP TABLE recording_jobs; DROP TABLE recording_files; DROP TABLE recordings;
