// The call page: join with camera and microphone, see the others, leave.
//
// /call/{type}/{id}?codec=VP8&hint=detail&simulcast=1&video=1&audio=0&auto=1#token=…
//   codec      VP8, H264, VP9 or AV1: send only that
//   hint       contentHint of the camera track: detail, motion or text
//   simulcast  1: send three sizes
//   audio=0    without microphone; video=0 without camera
//   auto       1: join without waiting for the button

import { Refused, publish, watch } from "./media.js";

const $ = (id) => document.getElementById(id);
const LOOK_MS = 3000; // how often the list of participants is asked for
const FIRST_LOOK_MS = 300; // the server needs a moment to know us as one of them
const REJOIN_MS = [500, 1000, 2000, 5000, 10000];

const [, , callType, callId] = location.pathname.split("/").map(decodeURIComponent);
const query = new URLSearchParams(location.search);
const path = `${encodeURIComponent(callType)}/${encodeURIComponent(callId)}`;
const cid = `${callType}:${callId}`;

let token = "";
let me = "";
let joined = false;
let attempts = 0;
let camera = null; // the stream of camera and microphone
let session = null;
let screenStream = null;
let screenSession = null;
let looking = null;
const others = new Map(); // place on the stage -> {session, element, retryAt}

function say(state, text) {
  $("state").dataset.state = state;
  $("state").textContent = text;
}

function complain(text) {
  $("error").textContent = text;
}

// userOf reads the user id out of a token, to show it. The server decides.
function userOf(jwt) {
  try {
    const payload = jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).user_id || "";
  } catch {
    return "";
  }
}

async function join() {
  complain("");
  $("removed").hidden = true;
  token = $("token").value.trim();
  me = userOf(token);
  $("me").textContent = me;
  say("connecting", "asking for camera and microphone");
  try {
    camera = await navigator.mediaDevices.getUserMedia({
      video: $("with-video").checked ? { width: { ideal: 1280 }, height: { ideal: 720 } } : false,
      audio: $("with-audio").checked,
    });
  } catch (err) {
    say("failed", "not connected");
    complain(`Camera or microphone cannot be used: ${err.message}`);
    return;
  }
  const hint = query.get("hint");
  for (const track of camera.getVideoTracks()) if (hint) track.contentHint = hint;
  $("preview").srcObject = camera;
  $("join").hidden = true;
  $("stage").hidden = false;
  $("controls").hidden = false;
  $("camera").hidden = camera.getVideoTracks().length === 0;
  $("microphone").hidden = camera.getAudioTracks().length === 0;
  joined = true;
  attempts = 0;
  await connect();
}

// connect offers the camera, and after a lost connection offers it again. The
// server's word on it, when it is no, is final.
async function connect() {
  session?.close();
  say("connecting", attempts === 0 ? "connecting" : "connecting again");
  const options = { codec: $("codec").value, simulcast: query.get("simulcast") === "1" };
  try {
    let mine = null;
    mine = await publish(`/whip/${path}`, token, camera, options, (state) => stateChanged(mine, state));
    if (!joined) return mine.close();
    session = mine;
    stateChanged(mine, mine.pc.connectionState); // it may be connected by now
  } catch (err) {
    if (!joined) return;
    if (err instanceof Refused && err.status < 500) return refused(err);
    if (!(err instanceof Refused) && !(err instanceof TypeError)) return fail(err.message);
    retry();
  }
}

function stateChanged(which, state) {
  if (!joined || !which || which !== session) return;
  if (state === "connected") {
    attempts = 0;
    say("connected", "connected");
    clearTimeout(looking);
    looking = setTimeout(look, FIRST_LOOK_MS);
  } else if (state === "failed" || state === "closed") {
    retry();
  } else if (state === "disconnected") {
    say("connecting", "connection interrupted");
    look(); // being removed looks like this first, and the list tells why
  }
}

function retry() {
  if (!joined) return;
  const wait = REJOIN_MS[Math.min(attempts++, REJOIN_MS.length - 1)];
  say("connecting", "connection lost, trying again");
  setTimeout(() => joined && connect(), wait);
}

// whyRemoved makes a sentence of the server's "banned until T: reason".
function whyRemoved(message) {
  const m = /^(banned|blocked)(?: until (\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\dZ)?(?:: (.*))?$/.exec(message);
  if (!m) return `You were removed: ${message}`;
  const until = m[2] ? ` until ${m[2]} ${m[3]} UTC` : "";
  return `You were removed and ${m[1]}${until}.${m[4] ? ` Reason: ${m[4]}` : ""}`;
}

// refused shows why one may not be in the call (any more).
function refused(err) {
  if (err.status !== 403) return fail(err.message);
  const removed = session !== null || /^(banned|blocked)/.test(err.message);
  stop();
  $("removed-title").textContent = removed ? "This call is closed to you" : "You may not join";
  $("removed-reason").textContent = removed ? whyRemoved(err.message) : err.message;
  $("removed-appeal").hidden = !removed;
  $("removed").hidden = false;
  say("removed", "removed");
}

function fail(message) {
  stop();
  $("join").hidden = false;
  say("failed", "not connected");
  complain(message);
}

// stop ends all media. The camera's light goes out.
function stop() {
  joined = false;
  clearTimeout(looking);
  session?.close();
  session = null;
  stopScreen();
  for (const place of [...others.keys()]) forget(place);
  for (const track of camera?.getTracks() ?? []) track.stop();
  $("preview").srcObject = null;
  $("stage").hidden = true;
  $("controls").hidden = true;
}

// look asks who is in the call and watches those who are new.
async function look() {
  clearTimeout(looking);
  if (!joined) return;
  try {
    const response = await fetch(`/api/v2/stillwatch/participants?limit=100&cid=${encodeURIComponent(cid)}`, {
      headers: { Authorization: token },
    });
    const answer = await response.json();
    if (!joined) return;
    if (response.ok) meet(answer.participants);
    else if (response.status === 403 && /^(banned|blocked)/.test(answer.message)) return refused(new Refused(403, answer.message));
  } catch {
    // The server does not answer: the connection's own state tells.
  }
  clearTimeout(looking);
  looking = setTimeout(look, LOOK_MS);
}

function meet(participants) {
  const present = new Map();
  for (const { user } of participants.filter((p) => p.user.id !== me)) {
    const name = user.name || user.id;
    const endpoint = `/whep/${path}/${encodeURIComponent(user.id)}`;
    // A screen is shared over a connection of its own.
    if (!present.has(user.id)) present.set(user.id, { user: user.id, name, endpoint });
    else present.set(`${user.id} screen`, { user: user.id, name: `${name} (screen)`, endpoint: `${endpoint}?source=screen_share` });
  }
  for (const place of [...others.keys()]) if (!present.has(place)) forget(place);
  for (const [place, person] of present) {
    const known = others.get(place);
    if (!known) meetOne(place, person);
    else if (!known.session && Date.now() > known.retryAt) receive(place, known);
  }
}

function meetOne(place, person) {
  const element = $("person").content.firstElementChild.cloneNode(true);
  element.dataset.user = person.user;
  element.querySelector("figcaption").textContent = person.name;
  element.querySelector("video").srcObject = new MediaStream();
  $("stage").append(element);
  const other = { session: null, element, endpoint: person.endpoint, retryAt: 0 };
  others.set(place, other);
  receive(place, other);
}

async function receive(place, other) {
  other.retryAt = Infinity; // until this attempt has ended
  const stream = other.element.querySelector("video").srcObject;
  for (const track of stream.getTracks()) stream.removeTrack(track);
  const lost = (state) => {
    if (state !== "failed" && state !== "closed") return;
    other.session?.close();
    other.session = null;
    other.retryAt = Date.now() + LOOK_MS;
  };
  try {
    const got = await watch(other.endpoint, token, (track) => stream.addTrack(track), lost);
    if (others.get(place) !== other) return got.close();
    other.session = got;
  } catch {
    other.retryAt = Date.now() + LOOK_MS; // nothing to see yet, or no more
  }
}

function forget(place) {
  const other = others.get(place);
  others.delete(place);
  other.session?.close();
  other.element.remove();
}

async function shareScreen() {
  if (screenSession) return stopScreen();
  try {
    screenStream = await navigator.mediaDevices.getDisplayMedia({ video: true });
    for (const track of screenStream.getVideoTracks()) {
      track.contentHint = "detail";
      track.addEventListener("ended", stopScreen);
    }
    screenSession = await publish(`/whip/${path}?source=screen_share`, token, screenStream, { codec: $("codec").value });
    $("screen").textContent = "Stop sharing";
    $("screen").setAttribute("aria-pressed", "true");
  } catch (err) {
    stopScreen();
    if (err instanceof Refused && err.status === 403) return refused(err);
    complain(`The screen is not shared: ${err.message}`);
  }
}

function stopScreen() {
  screenSession?.close();
  for (const track of screenStream?.getTracks() ?? []) track.stop();
  screenSession = screenStream = null;
  $("screen").textContent = "Share screen";
  $("screen").setAttribute("aria-pressed", "false");
}

function toggle(button, name, tracks) {
  const on = button.getAttribute("aria-pressed") !== "true";
  for (const track of tracks) track.enabled = on;
  button.setAttribute("aria-pressed", String(on));
  button.textContent = `${name} ${on ? "on" : "off"}`;
}

function start() {
  $("cid").textContent = cid;
  document.title = `Call ${cid}`;
  const key = `stillwatch token ${cid}`;
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(key, given); // so that a reload joins again
    history.replaceState(null, "", location.pathname + location.search);
  }
  $("token").value = given || sessionStorage.getItem(key) || "";
  $("codec").value = (query.get("codec") || "").toUpperCase();
  $("with-audio").checked = query.get("audio") !== "0";
  $("with-video").checked = query.get("video") !== "0";
  $("join").addEventListener("submit", (e) => {
    e.preventDefault();
    join();
  });
  $("leave").addEventListener("click", () => {
    stop();
    $("join").hidden = false;
    say("idle", "you have left");
  });
  $("camera").addEventListener("click", (e) => toggle(e.currentTarget, "Camera", camera.getVideoTracks()));
  $("microphone").addEventListener("click", (e) => toggle(e.currentTarget, "Microphone", camera.getAudioTracks()));
  $("screen").addEventListener("click", shareScreen);
  addEventListener("pagehide", stop);
  if (query.get("auto") === "1" && $("token").value) join();
}

start();
