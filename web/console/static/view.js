// Draws the wall. One tile keeps its element as long as it lives, so that
// nothing moves under the pointer.

import { Still } from "./still.js";
import { age, gapText, markText, marksOf, recent } from "./wall.js";

/** @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);

function fromTemplate(id) {
  return $(id).content.firstElementChild.cloneNode(true);
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

export class View {
  #calls = new Map();
  #tiles = new Map();
  #stills = new Map();

  drawTile(wall, tile) {
    let e = this.#tiles.get(tile.key);
    if (!e) {
      e = fromTemplate("tile-template");
      e.dataset.user = tile.user;
      e.dataset.cid = tile.cid;
      this.#tiles.set(tile.key, e);
      const none = e.querySelector(".none");
      this.#stills.set(tile.key, new Still(e.querySelector(".picture"), (failed) => {
        none.textContent = failed ? "the still cannot be loaded" : "";
      }));
      this.#call(tile.cid).querySelector(".tiles").append(e);
      this.#count(tile.cid);
    }
    e.querySelector(".name").textContent = tile.name;
    e.querySelector(".kind").hidden = !tile.screen;
    const marks = marksOf(wall, tile);
    this.#picture(e, tile, marks);
    const held = e.classList.contains("held") ? "held" : "";
    e.className = ["tile", held, ...marks.map((m) => m.kind), tile.left ? "gone" : ""].filter(Boolean).join(" ");
    e.querySelector(".marks").replaceChildren(...marks.map((m) => {
      const span = element("span", `mark ${m.kind}${m.state === "confirmed" ? "" : " pending"}`, markText(m.kind));
      span.dataset.testid = `mark-${m.kind}`;
      span.title = m.reason || "";
      return span;
    }));
    this.#scores(e.querySelector(".scores"), tile);
  }

  #picture(e, tile, marks) {
    const none = e.querySelector(".none");
    const still = this.#stills.get(tile.key);
    if (tile.left || !tile.frame) {
      still.clear();
      none.textContent = tile.left ? (marks.some((m) => m.kind === "ban" || m.kind === "kick") ? "was removed" : "has left") : "no still yet";
    } else {
      none.textContent = "";
      still.show(tile.frame.url, `Newest still of ${tile.name}`);
    }
    const gap = e.querySelector(".gap");
    gap.hidden = !tile.gap;
    gap.textContent = tile.gap ? gapText(tile.gap) : "";
  }

  #scores(list, tile) {
    if (!tile.verdict) return;
    if (tile.verdict.state !== "known") {
      list.replaceChildren(element("li", "unknown", `not classified: ${tile.verdict.reason || "unknown"}`));
      return;
    }
    const top = Math.max(...tile.verdict.scores.map((s) => s.score));
    list.replaceChildren(...tile.verdict.scores.map((s) => {
      const li = element("li", s.score === top ? "top" : "");
      const bar = element("span", "bar");
      const fill = element("span", "fill");
      fill.style.width = `${Math.round(s.score * 100)}%`;
      bar.append(fill);
      li.append(element("span", "label", s.label), bar, element("span", "value", `${Math.round(s.score * 100)} %`));
      return li;
    }));
  }

  removeTile(key) {
    const e = this.#tiles.get(key);
    if (!e) return;
    this.#tiles.delete(key);
    this.#stills.get(key).clear();
    this.#stills.delete(key);
    e.remove();
    this.#count(e.dataset.cid);
  }

  #call(cid) {
    let e = this.#calls.get(cid);
    if (!e) {
      e = fromTemplate("call-template");
      e.dataset.cid = cid;
      e.querySelector(".cid").textContent = cid;
      this.#calls.set(cid, e);
      $("wall").append(e);
    }
    return e;
  }

  #count(cid) {
    const e = this.#calls.get(cid);
    const n = e.querySelectorAll(".tile").length;
    e.querySelector(".count").textContent = n === 1 ? "1 still" : `${n} stills`;
    if (n === 0) {
      this.#calls.delete(cid);
      e.remove();
    }
  }

  drawAges(wall, now) {
    for (const tile of wall.tiles.values()) {
      const time = this.#tiles.get(tile.key)?.querySelector(".age");
      if (!time || !tile.frame) continue;
      time.textContent = age(now - tile.frame.at);
      time.dateTime = new Date(tile.frame.at).toISOString();
      time.classList.toggle("old", now - tile.frame.at > 65_000);
    }
    /** @type {NodeListOf<HTMLElement>} */
    const times = document.querySelectorAll("#actions .when");
    for (const when of times) {
      when.textContent = `${age(now - Number(when.dataset.at))} ago`;
    }
  }

  drawTotals(wall) {
    const people = new Set([...wall.tiles.values()].filter((t) => !t.left).map((t) => `${t.cid}/${t.user}`));
    const calls = this.#calls.size;
    $("totals").textContent = wall.tiles.size === 0 ? "" :
      `${calls} ${calls === 1 ? "call" : "calls"}, ${people.size} ${people.size === 1 ? "participant" : "participants"}`;
    $("empty").hidden = wall.tiles.size > 0;
  }

  drawActions(wall, now) {
    const actions = recent(wall);
    $("no-actions").hidden = actions.length > 0;
    $("actions").replaceChildren(...actions.map((a) => {
      const li = element("li", a.kind);
      li.dataset.testid = "action";
      li.dataset.kind = a.kind;
      li.dataset.user = a.user_id;
      const head = element("div", "head");
      const when = element("time", "when", `${age(now - a.first)} ago`);
      when.dataset.at = a.first;
      when.dateTime = new Date(a.first).toISOString();
      head.append(element("strong", "", a.kind.replace("_", " ")), element("span", "", a.user_name || a.user_id), when);
      li.append(head, element("div", "detail", [a.reason, a.call_cid, `by ${a.by_user_id}`].filter(Boolean).join(" · ")), clock(a));
      return li;
    }));
  }
}

function clock(a) {
  if (a.state !== "confirmed") return element("div", "clock waiting", ["failed", "withheld"].includes(a.state) ? a.state : "waiting for confirmation");
  const ms = a.captured_to_confirmed_ms;
  const e = element("div", "clock", ms === undefined ? "confirmed" : `captured → confirmed ${Math.round(ms)} ms`);
  e.dataset.testid = "clock";
  return e;
}
