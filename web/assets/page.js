// Asks for the state once a second while somebody looks, and draws it.

import { Chart } from "./chart.js";
import { Events } from "./events.js";
import { Graph } from "./graph.js";
import { count, el, put, scaled, seconds, sum, visible } from "./text.js";

const every = 1000; // ms between two questions
const patience = 5000; // ms to wait for an answer
const window = 3; // rates are those between a state and the one that many questions before it
const most = 8; // zones with a line of their own: those with the most packets
const steady = 5; // a sum that misses in so many states in a row misses

const charts = {
  packets: new Chart(document.getElementById("chart-packets"), "Packets per second, by what became of them", scaled),
  events: new Chart(document.getElementById("chart-events"), "Events per second, by kind, before the limiter", scaled),
  zones: new Chart(document.getElementById("chart-zones"), "IP packets per second, by the zone they come from", scaled),
  waiting: new Chart(document.getElementById("chart-waiting"), "Records that a sink has not acknowledged, with those in its spool", scaled),
  lag: new Chart(document.getElementById("chart-lag"), "Age of the oldest record that a sink has not acknowledged", seconds),
  sessions: new Chart(document.getElementById("chart-sessions"), "Sessions per second", scaled),
};
const feed = new Events();
const graph = new Graph(document.getElementById("graph"));

/** The last states, the oldest first, all of one run of the daemon. */
let states = [];

/** The rate of a counter in the states, or null. get takes it out of one. */
function rate(get) {
  const now = states.at(-1);
  const before = states.at(-1 - window) ?? states[0];
  const a = get(before);
  const b = get(now);
  if (now === before || a === undefined || b === undefined) return null;
  return Math.max(0, ((b - a) * 1000) / (now.at - before.at));
}

/** Records that a sink's destination has not got and will not get. */
const notDelivered = (q) => q.over_budget + q.disconnected + q.closed + q.rejected + q.evicted + q.abandoned + (q.spool ? q.spool.evicted + q.spool.damaged : 0);

function draw() {
  const now = states.at(-1);
  const { packets, sessions, events } = now.ledger;
  document.title = now.node ? `${visible(now.node, 40)} - pipelined` : "pipelined";
  put("node", visible(now.node, 60));
  put("version", `version ${visible(now.version, 40)}`);
  put("uptime", `up ${seconds(now.uptime)}`);
  put("configuration", `configuration ${now.configuration}`);
  document.getElementById("logout").hidden = !now.login;

  const of = (get) => rate((s) => get(s.ledger));
  const received = of((l) => l.packets.received);
  const offered = of((l) => sum(l.events, (e) => e.offered));
  const limited = of((l) => sum(l.events, (e) => e.rate_limited));
  put("packets-rate", scaled(received ?? 0));
  put("packets-note", `${scaled((of((l) => l.packets.bytes) ?? 0) * 8)}bit/s, ${count(packets.received)} in all`);
  put("events-rate", scaled(offered ?? 0));
  put("events-note", `${count(sum(events, (e) => e.offered))} in all, ${count(sum(events, (e) => e.rate_limited))} limited`);
  put("sessions-now", count(sessions.active));
  put("sessions-note", `${scaled(of((l) => l.sessions.created) ?? 0)} new/s, ${count(sessions.created)} in all`);
  const lags = Object.entries(now.sinks).sort((a, b) => b[1].lag - a[1].lag);
  put("lag-now", lags.length > 0 ? seconds(lags[0][1].lag) : "-");
  put("lag-note", lags.length > 0 && lags[0][1].lag > 0 ? `at the sink ${visible(lags[0][0], 30)}` : "every record is acknowledged");

  const fates = { passed: "passed", forwarded: "forwarded", dropped: "dropped", refused: "not decodable", not_sent: "not sent", lost: "lost before reading", bypassed: "judged by nobody", offloaded: "of all, offloaded" };
  const byFate = {};
  for (const [key, name] of Object.entries(fates)) if (key === "passed" || packets[key] > 0) byFate[name] = of((l) => l.packets[key]);
  charts.packets.add(now.at, byFate);
  charts.events.add(now.at, Object.fromEntries(Object.keys(events).sort().map((kind) => [kind, of((l) => l.events[kind]?.offered)])));
  const zones = Object.entries(packets.by_zone ?? {}).sort((a, b) => b[1] - a[1]).slice(0, most).map(([name]) => name);
  charts.zones.add(now.at, Object.fromEntries(zones.map((name) => [name, of((l) => l.packets.by_zone?.[name] ?? 0)])));
  charts.waiting.add(now.at, Object.fromEntries(Object.entries(now.sinks).map(([name, s]) => [name, s.in_flight + (s.spool?.held ?? 0)])));
  charts.lag.add(now.at, Object.fromEntries(Object.entries(now.sinks).map(([name, s]) => [name, s.lag])));
  charts.sessions.add(now.at, { created: of((l) => l.sessions.created), closed: of((l) => l.sessions.closed) });

  const sinks = {};
  for (const name of Object.keys(now.sinks)) {
    sinks[name] = {
      ...now.sinks[name],
      queued: of((l) => sum(l.sinks[name], (q) => q.queued)),
      acknowledged: of((l) => sum(l.sinks[name], (q) => q.acknowledged)),
      losing: of((l) => sum(l.sinks[name], notDelivered)),
      lost: sum(now.ledger.sinks[name], notDelivered),
    };
  }
  const verdicts = [["dropped", of((l) => l.packets.dropped)], ["forwarded", of((l) => l.packets.forwarded)], ["offloaded", of((l) => l.packets.offloaded)]]
    .filter(([, n]) => n > 0).map(([word, n]) => `${scaled(n)}/s ${word}`).join(", ");
  graph.show({
    shape: parts(now.shape), sinks,
    rates: { offered, limited: limited ?? 0, verdicts, sources: Object.fromEntries(Object.keys(now.sources).map((name) => [name, rate((s) => s.sources[name]?.read)])) },
  });
  listSinks(now, sinks);
  judge(now, sinks, limited);
}

/** A shape whose lists are there. */
const parts = (s) => ({ sources: s.sources ?? [], hooks: s.hooks ?? [], sinks: s.sinks ?? [] });

function listSinks(now, sinks) {
  const cell = (label, className, ...children) => {
    const td = el("td", className, ...children);
    td.dataset.label = label;
    return td;
  };
  const rows = (now.shape.sinks ?? []).map(({ name, plugin }) => {
    const s = sinks[name];
    if (!s) return "";
    const state = !s.up ? ["bad", "waits"] : s.losing > 0 ? ["warn", "loses"] : ["good", "runs"];
    return el("tr", "",
      el("td", "", el("bdi", "", visible(name, 60)), " ", el("span", "quiet", visible(plugin))),
      el("td", "", el("span", `badge ${state[0]}`, state[1])),
      cell("acknowledged/s", "number", scaled(s.acknowledged ?? 0)),
      cell("in flight", "number", count(s.in_flight)),
      cell("in the spool", "number", s.spool ? held(s.spool) : ""),
      cell("lag", "number", seconds(s.lag)),
      cell("not delivered", "number", count(s.lost)),
      s.error ? cell("last error", "wide", el("bdi", "", visible(s.error, 300)), " ", el("span", "quiet", ago(now.at, s.error_at))) : el("td", "wide"));
  });
  document.getElementById("sinks").replaceChildren(...rows);
}

/** What a spool holds, and how full it is. */
function held({ held, bytes, size }) {
  return `${count(held)}${size > 0 ? `, ${Math.round((100 * bytes) / size)} %` : ""}`;
}

function ago(now, at) {
  const s = (now - Date.parse(at)) / 1000;
  return s < 1 ? "just now" : `${seconds(s)} ago`;
}

/** Says in one line whether the sums hold, and below it what is being lost. */
function judge(now, sinks, limited) {
  const { events, packets } = now.ledger;
  const notes = [];
  if (now.sick) notes.push(["bad", `Not healthy: ${visible(now.sick, 300)}`]);
  if (now.stopping) notes.push(["warn", "It stops, and delivers what is in flight."]);
  if (now.refused) notes.push(["warn", `The last reload was refused: ${visible(now.refused, 300)}`]);
  for (const [name, s] of Object.entries(sinks)) {
    if (!s.up) notes.push(["warn", `The sink ${visible(name, 60)} waits for its destination; ${count(s.in_flight + (s.spool?.held ?? 0))} records wait with it.`]);
    if (s.spool?.full) notes.push(["warn", `The spool of ${visible(name, 60)} has no room: ${visible(s.spool.full, 200)}.`]);
    if (s.losing > 0) notes.push(["warn", `The sink ${visible(name, 60)} loses ${scaled(s.losing)} records a second.`]);
  }
  if (limited > 0) notes.push(["warn", `${scaled(limited)} events a second are more than [admission] lets through.`]);
  const unread = rate((s) => s.ledger.packets.lost + s.ledger.unread);
  if (unread > 0) notes.push(["warn", `${scaled(unread)} packets or events a second are lost before they can be read.`]);
  const bypassed = rate((s) => s.ledger.packets.bypassed);
  if (bypassed > 0) notes.push(["warn", `${scaled(bypassed)} packets a second pass a bridge, and nobody judges them.`]);
  if (now.losing && !notes.length) notes.push(["warn", visible(now.losing, 300)]);
  const misses = Math.min(...states.slice(-steady).map((s) => s.ledger.unaccounted));
  const unaccounted = states.length >= steady ? misses : 0;
  const offered = sum(events, (e) => e.offered);
  const line = unaccounted > 0
    ? `The ledger does not balance: ${count(unaccounted)} unaccounted for.`
    : `The ledger balances: ${count(offered)} events offered = ${count(sum(events, (e) => e.rate_limited))} limited + ${count(sum(events, (e) => e.admitted))} admitted` +
      `${packets.lost + now.ledger.unread > 0 ? `; ${count(packets.lost + now.ledger.unread)} lost before they could be read` : ""}. 0 unaccounted for.`;
  put("verdict-text", line);
  const worst = unaccounted > 0 || notes.some(([state]) => state === "bad") ? "bad" : notes.length > 0 ? "warn" : "good";
  document.getElementById("verdict").dataset.state = worst;
  const list = document.getElementById("notes");
  list.hidden = notes.length === 0;
  list.replaceChildren(...notes.map(([, text]) => el("li", "", text)));
}

function link(state, text) {
  document.getElementById("link").dataset.state = state;
  put("link", text);
}

/** Whether another run of the daemon tells the later state: its counters begin anew, also where it has kept the epoch. */
function restarted(last, now) {
  return last.epoch !== now.epoch || now.uptime < last.uptime || now.uptime * 1000 < now.at - last.at;
}

async function ask() {
  const answer = await fetch("/page/state", { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(patience) });
  if (answer.status === 401) {
    location.assign("/login");
    return;
  }
  if (!answer.ok) throw new Error(`the daemon answers ${answer.status}`);
  const now = await answer.json();
  const last = states.at(-1);
  const anew = last !== undefined && restarted(last, now);
  if (anew) states = [];
  if (last?.at === now.at) return; // the daemon reads its counters once for all who ask
  states = [...states.slice(-window - steady), now];
  draw();
  feed.admitted(sum(now.ledger.events, (e) => e.admitted), anew);
}

async function run() {
  let broken = false;
  for (;;) {
    if (document.hidden) {
      link("paused", "paused: not in view");
      feed.close();
      for (const c of Object.values(charts)) c.gap(Date.now());
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      states = states.slice(-1);
      continue;
    }
    try {
      await ask();
      feed.open();
      link("live", "live");
      broken = false;
    } catch (e) {
      if (!broken) for (const c of Object.values(charts)) c.gap(Date.now());
      broken = true;
      link("lost", e.name === "TimeoutError" ? "no answer" : "not connected");
    }
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

run();
