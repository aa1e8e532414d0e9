// The pipeline as a graph: sources, what judges, the gate, sinks, and what passes between them.

import { scaled, seconds, svg, visible } from "./text.js";

const wide = { w: 178, h: 50, rowGap: 16, top: 14 };
const narrowBelow = 700;

export class Graph {
  constructor(container) {
    this.container = container;
    this.view = null;
    new ResizeObserver(() => this.view && this.draw()).observe(container);
  }

  /** Shows a view: a pipeline.Shape, rates and states, see page.js. */
  show(view) {
    this.view = view;
    this.draw();
  }

  draw() {
    const width = this.container.clientWidth;
    if (width === 0) return;
    const layers = build(this.view);
    const height = width < narrowBelow ? downwards(layers, width) : across(layers, width);
    const nodes = layers.flat();
    const said = [];
    const edges = [];
    const labels = [];
    for (const to of nodes) {
      for (const { from, rate, unit, loses } of to.inputs) {
        edges.push(svg("path", { class: `edge ${loses ? "loses" : rate > 0 ? "flows" : ""}`, d: curve(from, to, width < narrowBelow) }));
        const [x, y] = between(from, to, width < narrowBelow);
        labels.push(svg("text", { class: "rate", x, y }, `${rate === null ? "-" : scaled(rate)} ${unit}`));
        said.push(`${visible(from.title, 40)} to ${visible(to.title, 40)}: ${rate === null ? "unknown" : scaled(rate)} ${unit}`);
      }
    }
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Pipeline. ${said.join("; ")}` }, ...edges, ...nodes.map(box), ...labels);
    this.container.replaceChildren(drawing);
  }
}

/** Makes layers of nodes. A node has a title, lines below it, a class, and inputs. */
function build(view) {
  const { shape, rates, sinks } = view;
  const sources = shape.sources.map((s) => ({
    title: s.name, lines: [s.plugin + (s.peer ? `, sends on by ${s.peer}` : "")], kind: "source", inputs: [], part: s, read: rates.sources[s.name] ?? null,
  }));
  const judge = [];
  const packets = sources.filter((s) => !s.part.events);
  if (packets.length > 0) {
    judge.push({
      title: "workers", kind: "core", lines: [shape.hooks.length > 0 ? shape.hooks.map((h) => h.name).join(" › ") : "no hooks", rates.verdicts],
      inputs: packets.map((s) => ({ from: s, rate: s.read, unit: "p/s" })),
    });
  }
  const feeding = sources.filter((s) => s.part.events);
  if (feeding.length > 0) {
    judge.push({ title: "feed", kind: "core", lines: ["zones, names"], inputs: feeding.map((s) => ({ from: s, rate: s.read, unit: "msg/s" })) });
  }
  const gate = {
    title: "gate", kind: "core", lines: [rates.limited > 0 ? `${scaled(rates.limited)}/s limited` : "nothing limited"],
    inputs: judge.map((j, i) => ({ from: j, rate: i === 0 ? rates.offered : null, unit: judge.length > 1 ? "ev/s, all" : "ev/s" })),
  };
  if (gate.inputs.length > 1) gate.inputs[1] = { ...gate.inputs[1], rate: rates.offered };
  const outs = shape.sinks.map((s) => {
    const state = sinks[s.name] ?? { up: false, lag: 0, queued: null, acknowledged: null, losing: 0 };
    const says = !state.up ? "waits for its destination" : `${state.acknowledged === null ? "-" : scaled(state.acknowledged)}/s taken, lag ${seconds(state.lag)}`;
    return {
      title: s.name, kind: !state.up ? "down" : state.losing > 0 || state.lag > 10 ? "late" : "sink", lines: [s.plugin, says],
      inputs: [{ from: gate, rate: state.queued, unit: "ev/s", loses: state.losing > 0 }],
    };
  });
  return [sources, judge, [gate], outs];
}

/** Places layers from left to right, and returns the height. */
function across(layers, width) {
  const columns = layers.length;
  const w = Math.min(wide.w + 40, (width - (columns - 1) * 70) / columns);
  const gap = (width - columns * w) / (columns - 1);
  const tall = Math.max(...layers.map((l) => l.reduce((sum, n) => sum + tallness(n) + wide.rowGap, 0)));
  layers.forEach((layer, i) => {
    let y = wide.top + (tall - layer.reduce((sum, n) => sum + tallness(n) + wide.rowGap, 0) + wide.rowGap) / 2;
    for (const node of layer) {
      Object.assign(node, { x: i * (w + gap), y, w, h: tallness(node) });
      y += node.h + wide.rowGap;
    }
  });
  return tall + wide.top;
}

/** Places layers from the top down, at most two nodes beside each other, and returns the height. */
function downwards(layers, width) {
  let y = 4;
  for (const layer of layers) {
    for (let i = 0; i < layer.length; i += 2) {
      const row = layer.slice(i, i + 2);
      const w = (width - 8 - (row.length - 1) * 12) / row.length;
      const one = row.length === 1 ? Math.min(w, 260) : w;
      row.forEach((node, j) => Object.assign(node, { x: row.length === 1 ? (width - one) / 2 : 4 + j * (w + 12), y, w: one, h: tallness(node) }));
      y += Math.max(...row.map((n) => n.h)) + (i + 2 < layer.length ? 34 : 0);
    }
    y += 46;
  }
  return y - 42;
}

function tallness(node) {
  return 30 + 15 * node.lines.filter(Boolean).length;
}

/** The ends of an edge. */
function ends(from, to, down) {
  return down
    ? [from.x + from.w / 2, from.y + from.h, to.x + to.w / 2, to.y]
    : [from.x + from.w, from.y + from.h / 2, to.x, to.y + to.h / 2];
}

function curve(from, to, down) {
  const [x1, y1, x2, y2] = ends(from, to, down);
  return down
    ? `M${x1} ${y1}C${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2} ${x2} ${y2}`
    : `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;
}

/** Where the rate of an edge stands: beside the line, near to the end that has it for itself. */
function between(from, to, down) {
  const [x1, y1, x2, y2] = ends(from, to, down);
  const many = to.inputs.length > 1;
  if (down) return many ? [x1, y1 + 16] : [x2, y2 - 10];
  const single = from.kind !== "core" || to.kind === "core" ? !many : false;
  if (single) return [(x1 + x2) / 2, (y1 + y2) / 2 - 7];
  const beside = (y, other) => (y > other ? y + 16 : y - 8);
  return many ? [x1 + (x2 - x1) * 0.34, beside(y1, y2)] : [x2 - (x2 - x1) * 0.34, beside(y2, y1)];
}

function box(node) {
  const room = Math.floor((node.w - 20) / 6.2);
  const lines = node.lines.filter(Boolean);
  return svg("g", { class: `node ${node.kind}` },
    svg("title", {}, [node.title, ...lines].map((t) => visible(t)).join(", ")),
    svg("rect", { class: "box", x: node.x + 1, y: node.y, width: node.w - 2, height: node.h, rx: 9 }),
    svg("text", { x: node.x + 12, y: node.y + 20, "font-weight": 600 }, visible(node.title, Math.floor((node.w - 20) / 7.4))),
    ...lines.map((text, i) => svg("text", { class: "sub", x: node.x + 12, y: node.y + 36 + 15 * i }, visible(text, room))));
}
