// The state of the live wall: what the stream said last of every participant.
// No document, no window: events in, state out.

export const MAX_ACTIONS = 50;
// How long a participant is shown who left, or of whom nothing is heard.
export const LEFT_MS = 20_000;
export const SILENT_MS = 180_000;

export function newWall() {
  return { tiles: new Map(), marks: new Map(), actions: new Map() };
}

const userKey = (cid, user) => `${cid}/${user}`;
const tileKey = (d) => `${d.call_cid}/${d.user_id}/${d.track_id}`;

// apply takes one event of the stream and returns the keys of the tiles that
// look different after it.
export function apply(wall, name, data, now) {
  switch (name) {
    case "frame": {
      const tile = touch(wall, data, now);
      tile.frame = { id: data.frame_id, url: data.url, at: Date.parse(data.captured_at) };
      tile.gap = null;
      if (tile.verdict && tile.verdict.frame !== data.frame_id) tile.stale = true;
      return [tile.key];
    }
    case "verdict": {
      const tile = wall.tiles.get(tileKey(data));
      if (!tile) return [];
      tile.seen = now;
      tile.stale = false;
      tile.verdict = { frame: data.frame_id, state: data.state, reason: data.reason, scores: data.scores };
      return [tile.key];
    }
    case "gap": {
      const tile = touch(wall, data, now);
      if (!tile.frame || Date.parse(data.to) >= tile.frame.at) tile.gap = data.reason;
      return [tile.key];
    }
    case "action":
      return act(wall, data);
    case "left":
      return ofUser(wall, data.call_cid, data.user_id).map((tile) => {
        tile.left = now;
        return tile.key;
      });
  }
  return [];
}

function touch(wall, data, now) {
  const key = tileKey(data);
  let tile = wall.tiles.get(key);
  if (!tile) {
    tile = { key, cid: data.call_cid, user: data.user_id, frame: null, gap: null, verdict: null, stale: false };
    wall.tiles.set(key, tile);
  }
  tile.name = data.user_name || data.user_id;
  tile.screen = data.track_type === "TRACK_TYPE_SCREEN_SHARE";
  tile.seen = now;
  tile.left = 0;
  return tile;
}

function act(wall, data) {
  addAction(wall, data);
  const scope = userKey(data.call_cid, data.user_id);
  const marks = wall.marks.get(scope) ?? new Map();
  const known = marks.get(data.kind);
  // A request that comes after its confirmation changes nothing.
  if (known?.id === data.action_id && known.state === "confirmed") return [];
  marks.set(data.kind, { id: data.action_id, state: data.state, reason: data.reason });
  wall.marks.set(scope, marks);
  return ofUser(wall, data.call_cid, data.user_id).map((tile) => tile.key);
}

// addAction keeps the newest actions, each in its latest state.
export function addAction(wall, a) {
  const known = wall.actions.get(a.action_id);
  if (known?.state === "confirmed" && a.state !== "confirmed") return;
  wall.actions.set(a.action_id, known ? { ...known, ...a, first: known.first } : { ...a, first: Date.parse(a.at) });
  if (wall.actions.size > MAX_ACTIONS) wall.actions.delete(recent(wall).at(-1).action_id);
}

// recent lists the actions, newest first.
export function recent(wall) {
  return [...wall.actions.values()].sort((a, b) => b.first - a.first);
}

// marksOf lists what was done about a tile's user, in this call or everywhere.
export function marksOf(wall, tile) {
  const own = wall.marks.get(userKey(tile.cid, tile.user));
  const all = wall.marks.get(userKey("", tile.user));
  return [...new Map([...(all ?? []), ...(own ?? [])])].map(([kind, m]) => ({ kind, ...m }));
}

function ofUser(wall, cid, user) {
  return [...wall.tiles.values()].filter((t) => t.user === user && (cid === "" || t.cid === cid));
}

// sweep forgets who is gone and returns their tiles' keys.
export function sweep(wall, now) {
  const gone = [];
  for (const tile of wall.tiles.values()) {
    if ((tile.left && now - tile.left > LEFT_MS) || now - tile.seen > SILENT_MS) gone.push(tile.key);
  }
  for (const key of gone) {
    const tile = wall.tiles.get(key);
    wall.tiles.delete(key);
    if (ofUser(wall, tile.cid, tile.user).length === 0) wall.marks.delete(userKey(tile.cid, tile.user));
  }
  return gone;
}

// age writes a span of milliseconds the way a glance can take it.
export function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return `${Math.floor(s / 3600)} h`;
}

const GAPS = {
  muted: "camera off", black: "black picture", frozen: "frozen picture", no_keyframe: "no keyframe",
  undecodable: "cannot be decoded", decoder_crashed: "decoder crashed", overload: "overloaded",
  storage: "storage failed", classifier: "not classified",
};

export const gapText = (reason) => GAPS[reason] ?? reason;

const MARKS = { flag: "flagged", ban: "banned", kick: "removed", mute: "muted", warn: "warned", blur: "blurred", end_call: "call ended" };

export const markText = (kind) => MARKS[kind] ?? kind;
