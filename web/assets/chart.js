// A chart of lines over the last minutes.

import { el, svg, visible } from "./text.js";

/** How many points are kept: five minutes, one a second. A chart begins with the last minute and grows. */
const points = 300;
const minute = 60000; // ms
const height = 170;
const margin = { left: 46, right: 8, top: 8, bottom: 18 };

export class Chart {
  /**
   * @param figure element that holds the chart
   * @param title what it shows, with its unit
   * @param format turns a value into text
   */
  constructor(figure, title, format) {
    this.title = title;
    this.format = format;
    this.times = [];
    this.series = new Map(); // by name: { values, slot }
    this.cursor = null;
    this.svg = svg("svg", { class: "chart", role: "img", "aria-label": title });
    this.legend = el("ul", "legend");
    figure.append(el("figcaption", "", title), this.svg, this.legend);
    this.svg.addEventListener("pointermove", (e) => this.point(e));
    this.svg.addEventListener("pointerleave", () => { this.cursor = null; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /** Adds a point: an object of values by name. A name that is missing has no value there; one that has had none for all points goes. */
  add(time, values) {
    this.times.push(time);
    for (const name of Object.keys(values)) {
      if (!this.series.has(name)) {
        this.series.set(name, { values: new Array(this.times.length - 1).fill(null), slot: this.series.size % 8 });
      }
    }
    for (const [name, s] of this.series) {
      s.values.push(values[name] ?? null);
      if (s.values.length > points) s.values.shift();
      if (s.values.every((v) => v === null)) this.series.delete(name);
    }
    if (this.times.length > points) this.times.shift();
    this.draw();
  }

  /** Marks that nothing is known of the time until the next point. */
  gap(time) {
    if (this.times.length > 0) this.add(time, {});
  }

  point(e) {
    const box = this.svg.getBoundingClientRect();
    this.cursor = e.clientX - box.left;
    this.draw();
  }

  draw() {
    const width = this.svg.clientWidth;
    if (width === 0) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const inner = { w: width - margin.left - margin.right, h: height - margin.top - margin.bottom };
    const now = this.times.at(-1) ?? 0;
    const minutes = Math.min(5, Math.max(1, Math.ceil((now - (this.times[0] ?? now)) / minute)));
    const span = minutes * minute;
    const x = (t) => margin.left + inner.w * (1 - (now - t) / span);
    let most = 0;
    for (const s of this.series.values()) for (const v of s.values) most = Math.max(most, v ?? 0);
    const top = nice(most);
    const y = (v) => margin.top + inner.h * (1 - v / top);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const at = Math.round(y(top * share)) + 0.5;
      parts.push(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: at, y2: at }),
        svg("text", { x: margin.left - 6, y: at + 4, "text-anchor": "end" }, this.format(top * share)));
    }
    const step = minutes === 1 ? 0.5 : minutes > 3 && width < 420 ? 2 : 1;
    for (let m = 0; m <= minutes; m += step) {
      const anchor = m === minutes ? "start" : m === 0 ? "end" : "middle";
      const label = m === 0 ? "now" : m < 1 ? `-${m * 60} s` : `-${m} min`;
      parts.push(svg("text", { x: margin.left + inner.w * (1 - m / minutes), y: height - 4, "text-anchor": anchor }, label));
    }
    let at = this.times.length - 1;
    if (this.cursor !== null && this.times.length > 0) {
      const time = now - span * (1 - (this.cursor - margin.left) / inner.w);
      at = this.times.reduce((best, t, i) => (Math.abs(t - time) < Math.abs(this.times[best] - time) ? i : best), 0);
      const cx = x(this.times[at]);
      parts.push(svg("line", { class: "cursor", x1: cx, x2: cx, y1: margin.top, y2: margin.top + inner.h }));
    }
    const items = [];
    const said = [];
    for (const [name, s] of this.series) {
      for (const d of this.paths(s, x, y)) {
        if (s.slot === 0) parts.push(svg("path", { class: `area s${s.slot}`, d: `${d.line}L${d.end} ${y(0)}L${d.start} ${y(0)}Z` }));
        parts.push(svg("path", { class: `line s${s.slot}`, d: d.line }));
      }
      const value = s.values[at] ?? null;
      const text = value === null ? "-" : this.format(value);
      said.push(`${visible(name, 40)} ${text}`);
      items.push(el("li", "", svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("circle", { class: `dot s${s.slot}`, cx: 5, cy: 5, r: 5 })),
        el("bdi", "", visible(name, 40)), " ", el("b", "", text)));
    }
    this.svg.setAttribute("aria-label", `${this.title}: ${said.join(", ")}`);
    this.svg.replaceChildren(...parts);
    this.legend.replaceChildren(...items);
  }

  /** The lines of a series, broken where it has no value. */
  paths(s, x, y) {
    const found = [];
    let line = null;
    for (let i = 0; i < s.values.length; i++) {
      if (s.values[i] === null) {
        line = null;
        continue;
      }
      const px = x(this.times[i]).toFixed(1);
      const point = `${px} ${y(s.values[i]).toFixed(1)}`;
      if (line === null) {
        line = { start: px, end: px, line: `M${point}` };
        found.push(line);
      } else {
        line.end = px;
        line.line += `L${point}`;
      }
    }
    for (const l of found) if (l.start === l.end) l.line += "h.01"; // a point alone is a dot
    return found;
  }
}

/** The smallest of 1, 2, 5, 10, 20, ... that is not less; of nothing 1. */
function nice(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  for (const f of [1, 2, 5, 10]) if (most <= f * power) return f * power;
  return 10 * power;
}
