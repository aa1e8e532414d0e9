// The table of events and the denials by rule: what a stream of server-sent events tells.

import { count, el, put, scaled, sum, svg, visible } from "./text.js";

const most = 200; // rows that are kept
const span = 60; // seconds that denials are counted over
const rules = 10; // that are shown
const keptRules = 500;
const busyPause = 10000; // ms before a stream that had no place is tried again
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

export class Events {
  constructor() {
    this.source = null;
    this.wanted = false;
    this.paused = false;
    this.waiting = null; // timer of a stream that had no place
    this.total = null; // events admitted, as the last state says
    this.lostAt = null; // total when the stream ended
    this.heldBack = 0; // events that came while the table was paused
    this.shown = 0; // events since the filter is what it is, and those that were too many at a time
    this.more = 0;
    this.leftOut = 0;
    this.denied = new Map(); // by kind, rule and term: { kind, rule, term, total, seconds }
    this.began = performance.now();
    this.moved = 0; // seconds since then that the denials have moved on by
    this.rows = document.getElementById("rows");
    this.form = document.getElementById("filter");
    this.form.addEventListener("submit", (e) => { e.preventDefault(); this.restart(); });
    this.form.elements.only.addEventListener("change", () => this.restart());
    document.getElementById("clear").addEventListener("click", () => { this.form.reset(); this.restart(); });
    this.pauseButton = document.getElementById("pause");
    this.pauseButton.addEventListener("click", () => this.pause(!this.paused));
    setInterval(() => this.tick(), 1000);
  }

  /** Opens the stream, unless it is open, or cannot be. */
  open() {
    this.wanted = true;
    if (this.source || this.waiting || this.wrong) return;
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) if (value.trim()) query.append(name, value.trim());
    this.source = new EventSource(`/page/events?${query}`);
    this.source.onmessage = (e) => this.message(JSON.parse(e.data));
    this.source.onopen = () => this.opened();
    this.source.onerror = () => {
      this.lostAt ??= this.total;
      if (this.source?.readyState === EventSource.CLOSED) this.drop();
      this.say("Not connected.");
    };
  }

  /** Closes the stream until open is called. */
  close() {
    this.wanted = false;
    this.lostAt ??= this.total;
    clearTimeout(this.waiting);
    this.waiting = null;
    this.drop();
  }

  drop() {
    this.source?.close();
    this.source = null;
  }

  /** Begins anew, with the filter that the form has now. */
  restart() {
    this.wrong = false;
    for (const field of this.form.elements) field.removeAttribute?.("aria-invalid");
    this.close();
    this.lostAt = null;
    this.rows.replaceChildren();
    this.heldBack = this.shown = this.more = this.leftOut = 0;
    this.pause(false);
    this.open();
  }

  pause(on) {
    this.paused = on;
    this.pauseButton.setAttribute("aria-pressed", String(on));
    this.pauseButton.textContent = on ? "Go on" : "Pause";
    if (!on && this.heldBack > 0) this.note(`${count(this.heldBack)} events came while the table was paused`);
    this.heldBack = 0;
    this.tell();
  }

  /** Takes how many events have been admitted in all, and whether another daemon says so than the last time. */
  admitted(total, anew) {
    if (anew) {
      this.note("the daemon has been started anew");
      this.lostAt = this.lostAt === null ? null : 0;
    }
    this.total = total;
  }

  opened() {
    if (this.lostAt !== null && this.total !== null) {
      const missed = this.total - this.lostAt;
      if (missed > 0) this.note(`not connected: about ${count(missed)} events were admitted meanwhile`);
    }
    this.lostAt = null;
    this.tell();
  }

  message(m) {
    if (m.refused) {
      this.wrong = true;
      this.drop();
      const field = this.form.elements[m.refused.slice(0, m.refused.indexOf(":"))];
      field?.setAttribute?.("aria-invalid", "true");
      this.say(visible(m.refused, 300), true);
      return;
    }
    if (m.busy) {
      this.drop();
      this.say("Too many look at events already; this page tries again.");
      this.waiting = setTimeout(() => { this.waiting = null; if (this.wanted) this.open(); }, busyPause);
      return;
    }
    for (const d of m.denied ?? []) this.deny(d);
    for (const n of m.notes ?? []) this.note(n);
    const rows = m.rows ?? [];
    this.leftOut += m.left_out ?? 0;
    if (this.paused) {
      this.heldBack += rows.length + (m.more ?? 0);
      return;
    }
    this.shown += rows.length;
    this.more += m.more ?? 0;
    if (rows.length > 0) {
      this.rows.prepend(...rows.reverse().map((r) => this.row(r)));
      this.trim();
    }
    this.tell();
  }

  /** Says how the stream is, and what it leaves out. */
  tell() {
    if (this.wrong || !this.source) return;
    const filtered = [...new FormData(this.form).values()].some((v) => v.trim());
    const words = [];
    if (this.paused) words.push("Paused.");
    else if (this.source.readyState !== EventSource.OPEN) words.push("Connecting.");
    else words.push(`${filtered ? "Events that match" : "All events"}, the newest first.`);
    if (this.more > 0) words.push(`${count(this.shown)} of ${count(this.shown + this.more)} are shown: they come too fast to read.`);
    if (this.leftOut > 0) words.push(`${count(this.leftOut)} were too many to look at.`);
    if (this.shown + this.more === 0) words.push("None so far.");
    this.say(words.join(" "));
  }

  say(text, wrong = false) {
    document.getElementById("feed").classList.toggle("wrong", wrong);
    put("feed", text);
  }

  trim() {
    while (this.rows.childElementCount > most) this.rows.lastElementChild.remove();
  }

  note(text) {
    const td = el("td", "", visible(text, 300));
    td.colSpan = 8;
    const tr = el("tr", "note", td);
    this.rows.prepend(tr);
    this.trim();
  }

  row(r) {
    const time = el("td", "time", clock.format(r.t));
    time.title = new Date(r.t).toISOString();
    const end = (text, className) => text && text !== "*"
      ? el("td", `mono ${className}`, this.link(text, "address", address(text))) : el("td", "mono", text ?? "");
    const rule = r.term ? `${r.rule}/${r.term}` : r.rule;
    return el("tr", "", time, el("td", "", el("span", `badge ${r.kind}`, visible(r.what || r.kind, 20))),
      end(r.src, "src"), end(r.dst, "dst"), el("td", "", visible(r.service ?? "", 40)),
      rule ? el("td", "", this.link(rule, "policy", r.term || r.rule)) : el("td", ""),
      r.zones ? el("td", "", el("bdi", "", visible(r.zones, 80))) : el("td", ""), r.more ? el("td", "quiet", el("bdi", "", visible(r.more, 200))) : el("td", ""));
  }

  /** A button that looks like text and filters by it. */
  link(text, field, value) {
    const button = el("button", "plain", el("bdi", "", visible(text, 80)));
    button.type = "button";
    button.title = `only events of ${visible(value, 80)}`;
    button.addEventListener("click", () => {
      this.form.elements[field].value = value;
      this.restart();
    });
    return button;
  }

  deny(d) {
    const key = JSON.stringify([d.kind, d.rule, d.term]);
    let known = this.denied.get(key);
    if (!known) {
      if (this.denied.size >= keptRules && !this.forget()) return;
      known = { ...d, total: 0, seconds: new Array(span).fill(0) };
      this.denied.set(key, known);
    }
    known.total += d.n;
    known.seconds[span - 1] += d.n;
  }

  /** Forgets the rules that have denied nothing for a minute. It returns whether there are any. */
  forget() {
    const before = this.denied.size;
    for (const [key, d] of this.denied) if (d.seconds.every((n) => n === 0)) this.denied.delete(key);
    return this.denied.size < before;
  }

  /** Shows the denials, and moves them on by the seconds that have gone by: a browser calls late what it has no time for. */
  tick() {
    const age = (performance.now() - this.began) / 1000;
    for (; this.moved < Math.floor(age); this.moved++) {
      for (const d of this.denied.values()) {
        d.seconds.shift();
        d.seconds.push(0);
      }
    }
    if (document.hidden || this.denied.size === 0) return;
    const all = [...this.denied.values()].map((d) => ({ ...d, minute: sum(d.seconds, (n) => n) }));
    all.sort((a, b) => b.minute - a.minute || b.total - a.total);
    const top = all.slice(0, rules);
    const peak = Math.max(1, ...top.flatMap((d) => d.seconds));
    document.getElementById("denied").replaceChildren(...top.map((d) => el("tr", "",
      el("td", "", el("bdi", "", visible(d.term ? `${d.rule}/${d.term}` : d.rule || "(no name)", 60))),
      el("td", "", el("span", `badge ${d.kind}`, visible(d.kind, 20))),
      el("td", "number", scaled(d.minute / Math.min(span, Math.max(1, age)))),
      el("td", "wide", spark(d.seconds, peak)),
      el("td", "number", count(d.total)))));
  }
}

/** A line of the last minute. */
function spark(values, peak) {
  const points = values.map((v, i) => `${i} ${(20 - (18 * v) / peak).toFixed(1)}`).join("L");
  return svg("svg", { class: "spark", viewBox: `0 0 ${values.length - 1} 22`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "area s1", d: `M${points}L${values.length - 1} 20L0 20Z` }), svg("path", { class: "line s1", d: `M${points}` }));
}

/** The address of an end such as 192.0.2.1:80 or [2001:db8::1]:80. */
function address(end) {
  if (end.startsWith("[")) return end.slice(1, end.indexOf("]"));
  return end.split(":").length === 2 ? end.slice(0, end.indexOf(":")) : end;
}
