// The console: login, the live stream, and the drawing of what it brings.

import { addAction, apply, newWall, sweep } from "./wall.js";
import { View } from "./view.js";

/** @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);
const EVENTS = ["frame", "verdict", "gap", "action", "left"];

let csrf = "";
let source = null;
let wall = newWall();
let view = new View();
const dirty = new Set();
let actionsDirty = false;
let drawing = false;

async function call(method, path, body) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (csrf) headers["X-CSRF-Token"] = csrf;
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.message || response.statusText), { status: response.status });
  return answer;
}

function show(what) {
  $("login").hidden = what !== "login";
  $("console").hidden = what !== "console";
  $("help").hidden = what !== "console";
  $("who").hidden = what !== "console";
  $("link").hidden = what !== "console";
  if (what === "login") $("token").focus();
}

function status(state, text) {
  $("link").dataset.state = state;
  $("link").textContent = text;
}

async function login(token) {
  $("login-error").textContent = "";
  try {
    await enter(await call("POST", "/console/login", { token }));
    $("token").value = "";
  } catch (err) {
    show("login");
    $("login-error").textContent = err.message;
  }
}

async function enter(session) {
  csrf = session.csrf;
  $("user").textContent = `${session.user_id} (${session.role})`;
  show("console");
  /** @type {import("../api.js").components["schemas"]["ActionsResponse"]} */
  const { actions } = await call("GET", "/api/v2/stillwatch/actions?limit=50");
  for (const a of actions) {
    addAction(wall, { ...a, action_id: a.id, at: a.requested_at });
  }
  actionsDirty = true;
  follow();
  draw();
}

// follow opens the stream. The browser opens it again by itself when it
// breaks; only when the server refuses is the login looked at again.
function follow() {
  source?.close();
  source = new EventSource("/api/v2/stillwatch/live");
  status("", "connecting");
  source.addEventListener("ready", () => status("live", "live"));
  source.addEventListener("error", async () => {
    status("lost", "reconnecting");
    if (source.readyState !== EventSource.CLOSED) return;
    try {
      await call("GET", "/console/session");
      setTimeout(follow, 3000);
    } catch (err) {
      if (err.status === 401) leave();
      else setTimeout(follow, 3000);
    }
  });
  for (const name of EVENTS) {
    source.addEventListener(name, (e) => {
      for (const key of apply(wall, name, JSON.parse(e.data), Date.now())) dirty.add(key);
      if (name === "action") actionsDirty = true;
      schedule();
    });
  }
}

// schedule draws at most once a picture of the screen, however many events
// came in between.
function schedule() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

function draw() {
  drawing = false;
  for (const key of dirty) {
    const tile = wall.tiles.get(key);
    if (tile) view.drawTile(wall, tile);
  }
  dirty.clear();
  if (actionsDirty) view.drawActions(wall, Date.now());
  actionsDirty = false;
  view.drawTotals(wall);
  view.drawAges(wall, Date.now());
}

function tick() {
  for (const key of sweep(wall, Date.now())) view.removeTile(key);
  view.drawTotals(wall);
  view.drawAges(wall, Date.now());
}

// leave forgets everything that was shown.
function leave() {
  source?.close();
  csrf = "";
  for (const key of wall.tiles.keys()) view.removeTile(key);
  wall = newWall();
  view.drawActions(wall, 0);
  show("login");
}

// A still is seen while the pointer is over it (in the style sheet), or while
// Space or a finger holds it.
function hold(e, on) {
  const tile = e.target.closest?.(".tile");
  if (on) tile?.classList.add("held");
  else for (const t of document.querySelectorAll(".tile.held")) t.classList.remove("held");
}

function start() {
  $("login-form").addEventListener("submit", (e) => {
    e.preventDefault();
    login($("token").value.trim());
  });
  $("logout").addEventListener("click", async () => {
    await call("POST", "/console/logout").catch(() => {});
    leave();
  });
  const wallElement = $("wall");
  wallElement.addEventListener("keydown", (e) => {
    if (e.key !== " ") return;
    e.preventDefault();
    if (!e.repeat) hold(e, true);
  });
  wallElement.addEventListener("touchstart", (e) => hold(e, true), { passive: true });
  for (const name of ["keyup", "touchend", "touchcancel", "focusout"]) wallElement.addEventListener(name, (e) => hold(e, false));
  addEventListener("blur", (e) => hold(e, false));
  const pointer = (e) => document.documentElement.classList.toggle("touched", e.pointerType === "touch");
  for (const name of ["pointerdown", "pointermove"]) addEventListener(name, pointer, { capture: true, passive: true });
  setInterval(tick, 1000);

  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", location.pathname);
    login(token);
    return;
  }
  call("GET", "/console/session").then(enter).catch(() => show("login"));
}

start();
