import assert from "node:assert/strict";
import test from "node:test";
import { addAction, age, apply, LEFT_MS, marksOf, MAX_ACTIONS, newWall, recent, SILENT_MS, sweep } from "../static/wall.js";

const frame = (id, at, more = {}) => ({
  frame_id: id, call_cid: "default:a", user_id: "bob", user_name: "Bob", track_id: "t", track_type: "TRACK_TYPE_VIDEO",
  captured_at: new Date(at).toISOString(), url: `/s/${id}`, ...more,
});
const action = (id, kind, state, at = 1000, more = {}) => ({
  action_id: id, kind, state, call_cid: "default:a", user_id: "bob", at: new Date(at).toISOString(), ...more,
});

test("a newer frame takes the place of the older one and ends its gap", () => {
  const w = newWall();
  const [key] = apply(w, "frame", frame("f1", 1000), 1000);
  apply(w, "gap", { call_cid: "default:a", user_id: "bob", track_id: "t", reason: "muted", to: new Date(2000).toISOString() }, 2000);
  assert.equal(w.tiles.get(key).gap, "muted");
  apply(w, "frame", frame("f2", 3000), 3000);
  assert.equal(w.tiles.size, 1);
  assert.equal(w.tiles.get(key).frame.url, "/s/f2");
  assert.equal(w.tiles.get(key).gap, null);
});

test("a gap that is older than the frame is not shown", () => {
  const w = newWall();
  const [key] = apply(w, "frame", frame("f1", 5000), 5000);
  apply(w, "gap", { call_cid: "default:a", user_id: "bob", track_id: "t", reason: "black", to: new Date(4000).toISOString() }, 5000);
  assert.equal(w.tiles.get(key).gap, null);
});

test("a verdict of a track that is not shown makes no tile", () => {
  const w = newWall();
  assert.deepEqual(apply(w, "verdict", { ...frame("f1", 0), state: "known", scores: [] }, 0), []);
  assert.equal(w.tiles.size, 0);
});

test("marks of the call and of everywhere, confirmed ones stay confirmed", () => {
  const w = newWall();
  const [key] = apply(w, "frame", frame("f1", 0), 0);
  apply(w, "action", action("1", "flag", "requested"), 0);
  assert.deepEqual(apply(w, "action", action("2", "ban", "confirmed", 1000, { call_cid: "" }), 0), [key]);
  apply(w, "action", action("2", "ban", "requested", 1000, { call_cid: "" }), 0);
  assert.deepEqual(marksOf(w, w.tiles.get(key)).map((m) => `${m.kind} ${m.state}`).sort(), ["ban confirmed", "flag requested"]);
  assert.equal(w.actions.get("2").state, "confirmed");
});

test("marks may come before the frame", () => {
  const w = newWall();
  apply(w, "action", action("1", "flag", "confirmed"), 0);
  const [key] = apply(w, "frame", frame("f1", 0), 0);
  assert.equal(marksOf(w, w.tiles.get(key)).length, 1);
});

test("actions are bounded, newest first, and keep their first time", () => {
  const w = newWall();
  for (let i = 0; i < MAX_ACTIONS + 10; i++) addAction(w, action(String(i), "flag", "requested", 1000 + i));
  assert.equal(w.actions.size, MAX_ACTIONS);
  assert.equal(recent(w)[0].action_id, String(MAX_ACTIONS + 9));
  addAction(w, action("20", "flag", "confirmed", 9_999_999));
  assert.equal(w.actions.get("20").first, 1020);
});

test("who has left goes after a while, and who is silent after a longer one", () => {
  const w = newWall();
  const [key] = apply(w, "frame", frame("f1", 0), 0);
  const [other] = apply(w, "frame", frame("f2", 0, { user_id: "eve" }), 0);
  apply(w, "action", action("1", "flag", "confirmed"), 0);
  apply(w, "left", { call_cid: "default:a", user_id: "bob" }, 1000);
  assert.deepEqual(sweep(w, 1000 + LEFT_MS), []);
  assert.deepEqual(sweep(w, 1001 + LEFT_MS), [key]);
  assert.equal(w.marks.size, 0);
  assert.deepEqual(sweep(w, SILENT_MS + 1), [other]);
  assert.equal(w.tiles.size, 0);
});

test("who comes back is shown again", () => {
  const w = newWall();
  const [key] = apply(w, "frame", frame("f1", 0), 0);
  apply(w, "left", { call_cid: "default:a", user_id: "bob" }, 1);
  apply(w, "frame", frame("f2", 2), 2);
  assert.equal(w.tiles.get(key).left, 0);
});

test("ages", () => {
  assert.deepEqual([-5, 999, 1000, 59_999, 60_000, 3_600_000].map(age), ["0 s", "0 s", "1 s", "59 s", "1 min", "1 h"]);
});
