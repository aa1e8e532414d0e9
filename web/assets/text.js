// Numbers and names as text, and elements that hold nothing but text.

const SVG = "http://www.w3.org/2000/svg";

/** Characters that are not seen, or that turn the text around them: controls, formats, line separators. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu;

/** A name that may come from anybody, with what cannot be seen in it written out, and not too long. */
export function visible(name, most = 128) {
  const s = String(name).replace(unseen, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  return s.length > most ? s.slice(0, most - 1) + "…" : s;
}

/** An HTML element with a class and text or children. */
export function el(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

/** An SVG element with attributes and text or children. */
export function svg(tag, attributes = {}, ...children) {
  const e = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

/** Puts a text into the element of an id, unless it is there already. */
export function put(id, text) {
  const e = document.getElementById(id);
  if (e.textContent !== text) e.textContent = text;
}

const whole = new Intl.NumberFormat("en");

/** A number of things: all digits below a million. */
export function count(n) {
  return n < 1e6 ? whole.format(Math.round(n)) : scaled(n);
}

/** A number with three digits and a unit: 12.3k. */
export function scaled(n) {
  if (n < 0.05) return "0";
  if (n < 9.95) return short(n, 1);
  if (n < 999.5) return n.toFixed(0);
  for (const unit of ["k", "M", "G"]) {
    n /= 1000;
    if (n < 999.5 || unit === "G") return short(n, n < 9.995 ? 2 : n < 99.95 ? 1 : 0) + unit;
  }
}

function short(n, digits) {
  const s = n.toFixed(digits);
  return s.includes(".") ? s.replace(/\.?0+$/, "") : s;
}

/** A time that something takes: 2.1 ms, 14 s, 3 min. */
export function seconds(s) {
  if (s <= 0) return "0 s";
  if (s < 0.001) return "< 1 ms";
  if (s < 1) return `${(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms`;
  if (s < 120) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Adds up what get takes out of the members of an object, which may be missing. */
export const sum = (object, get) => Object.values(object ?? {}).reduce((n, v) => n + get(v), 0);
