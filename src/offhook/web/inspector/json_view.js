/** JSON as coloured text, of elements alone; long texts with lines of their own (SIP messages) as blocks. */

import { h } from "../dom.js";

const MOST_NODES = 4000;
const LINES = /\r?\n/;

/**
 * @param {any} value
 * @returns {HTMLElement}
 */
export function jsonView(value) {
  const pre = h("pre", { class: "json", tabindex: "0", role: "group", "aria-label": "The event's data as JSON" });
  const left = { nodes: MOST_NODES };
  write(pre, value, 0, left);
  return pre;
}

function write(out, value, depth, left) {
  if (left.nodes-- < 0) {
    out.append(h("span", { class: "json-mark", text: "… (cut here; copy has all)" }));
  } else if (Array.isArray(value)) {
    block(out, "[", "]", value.map((one) => [null, one]), depth, left);
  } else if (value !== null && typeof value === "object") {
    block(out, "{", "}", Object.entries(value), depth, left);
  } else {
    const kind = value === null ? "null" : typeof value;
    out.append(h("span", { class: `json-${kind}`, text: JSON.stringify(value) ?? "null" }));
  }
}

function block(out, open, close, entries, depth, left) {
  if (!entries.length) {
    out.append(mark(open + close));
    return;
  }
  out.append(mark(`${open}\n`));
  for (const [n, [key, value]] of entries.entries()) {
    out.append("  ".repeat(depth + 1));
    if (key !== null) out.append(h("span", { class: "json-key", text: JSON.stringify(key) }), mark(": "));
    write(out, unpacked(value), depth + 1, left);
    out.append(mark(n < entries.length - 1 ? ",\n" : "\n"));
    if (left.nodes < 0) break;
  }
  out.append("  ".repeat(depth), mark(close));
}

const mark = (text) => h("span", { class: "json-mark", text });

/** A body that came as text but is JSON is shown as JSON. */
function unpacked(value) {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/**
 * Texts of several lines in an event's detail, by name: they are shown as they are.
 *
 * @param {any} detail
 * @returns {Array<[string, string]>}
 */
export function linedTexts(detail) {
  return Object.entries(detail ?? {}).filter(([, value]) => typeof value === "string" && LINES.test(value.trim()) && !/^\s*[[{]/.test(value));
}
