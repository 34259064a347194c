/** A table of calls, a line for each. A line stays the same element while nothing that it shows has changed. */

import { now } from "./api.js";
import { h, icon, outside } from "./dom.js";
import { duration, identity, moment, shortId } from "./format.js";

/**
 * @typedef {{callId: string, callConnectionId: string | null, direction: "incoming" | "outgoing",
 *   from: {rawId: string, displayName?: string} | null, to: {rawId: string} | null,
 *   state: "ringing" | "connected" | "ended", startedAt: string, answeredAt: string | null, endedAt: string | null,
 *   durationMs: number | null, events: number, legs: number, interrupted: boolean,
 *   result: {code: number, subCode: number, message: string} | null}} Row
 */

const HEADS = ["From", "To", "Started", "Duration", "Result", "Call"];

export class CallTable {
  /** @type {Map<string, {key: string, line: HTMLElement}>} by call */
  #lines = new Map();

  /** @param {string} title */
  constructor(title) {
    this.body = h("tbody", { role: "rowgroup" });
    const table = h("table", { class: "calls", role: "table" },
      h("caption", { class: "hidden", text: `${title} calls` }),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, HEADS.map((text) => h("th", { scope: "col", role: "columnheader", text })))),
      this.body);
    this.element = h("section", { class: "calls-part" }, h("h2", { text: title }), table);
  }

  /** @param {Row[]} rows in order */
  draw(rows) {
    const lines = new Map(rows.map((row) => [row.callId, this.#line(row)]));
    for (const [call, { line }] of this.#lines) if (!lines.has(call)) line.remove();
    this.#lines = lines;
    let at = this.body.firstElementChild;
    for (const { line } of lines.values()) {
      if (line === at) at = at.nextElementSibling;
      else this.body.insertBefore(line, at);
    }
    this.element.hidden = !rows.length;
    this.tick();
  }

  /**
   * The line of a row: the one that is there if it shows the same, else another in its place.
   *
   * @param {Row} row
   */
  #line({ events, legs, ...row }) {
    const key = JSON.stringify(row);
    const known = this.#lines.get(row.callId);
    if (known?.key === key) return known;
    const line = made(row);
    const had = known?.line.contains(document.activeElement);
    known?.line.replaceWith(line);
    if (had) link(line)?.focus({ preventScroll: true });
    return { key, line };
  }

  /** Running times go on. */
  tick() {
    for (const time of /** @type {NodeListOf<HTMLElement>} */ (this.body.querySelectorAll("[data-since]"))) {
      time.textContent = duration(now() - Number(time.dataset.since));
    }
  }

  /** @param {string} call whose link is to have the focus, if it is here */
  focus(call) {
    link(this.#lines.get(call)?.line)?.focus({ preventScroll: true });
  }
}

/**
 * @param {HTMLElement | undefined} line
 * @returns {HTMLElement | null | undefined}
 */
const link = (line) => line?.querySelector("a");

/** @param {{state: string}} row */
export const live = (row) => row.state !== "ended";

/** @param {Omit<Row, "events" | "legs">} row */
function made(row) {
  const running = live(row);
  const cell = (/** @type {string} */ name, /** @type {any[]} */ ...children) => h("td", { role: "cell", class: `cell-${name}` }, ...children);
  const time = h("span", { class: "number", text: duration(row.durationMs) });
  if (running) time.dataset.since = String(Date.parse(row.answeredAt ?? row.startedAt));
  return h("tr", { role: "row", class: running ? "live" : "", data: { call: row.callId } },
    cell("from", h("a", { href: `/console/calls/${encodeURIComponent(row.callId)}`, class: "open" },
      direction(row), who(row.from))),
    cell("to", who(row.to)),
    cell("started", h("time", { datetime: row.startedAt, title: row.startedAt, text: moment(row.startedAt) })),
    cell("duration", time),
    cell("result", result(row)),
    cell("id", h("code", { title: row.callId, text: shortId(row.callId) })));
}

/** @param {Omit<Row, "events" | "legs">} row */
function direction(row) {
  const word = row.direction === "incoming" ? "Incoming" : "Outgoing";
  return h("span", { class: `direction ${row.direction}`, title: word }, icon(row.direction, 16), h("span", { class: "hidden", text: `${word}: ` }));
}

/** @param {{rawId: string, displayName?: string} | null | undefined} person */
function who(person) {
  if (!person) return h("span", { class: "faint", text: "–" });
  const id = h("bdi", { class: "clip id", title: person.rawId, text: identity(person.rawId) });
  return h("span", { class: "who" }, person.displayName ? outside(person.displayName, "name") : null, id);
}

/** @param {Omit<Row, "events" | "legs">} row */
function result(row) {
  if (row.state === "ringing") return h("span", { class: "tag live", text: "Ringing" });
  if (live(row)) return h("span", { class: "tag live", text: "Connected" });
  if (row.interrupted) return h("span", { class: "tag warn", title: "The node ended before the call did", text: "Interrupted" });
  const { code, subCode, message } = row.result ?? {};
  if (code === undefined || code === null) return h("span", { class: "tag", text: "Ended" });
  const good = code === 200 || code === 0;
  if (good && !row.answeredAt) return h("span", { class: "tag", title: message ?? "", text: "Not answered" });
  return h("span", { class: good ? "tag" : "tag bad", title: message ?? "" }, good ? "Completed" : `${code}${subCode ? `/${subCode}` : ""}`);
}
