/**
 * The kinds of events: what they are called, the colour variable and shape that tell them apart, which lane holds them,
 * and how one event is told in a line. Shapes differ besides colours, so that nothing is told by colour alone.
 */

import { lengthOf } from "./scale.js";
import { turnWords } from "./turn.js";

/** @typedef {{seq: number, atMs: number, kind: string, name: string, leg: ?string, connection: ?string, detail: any}} CallEvent */

/** Title, colour and shape by kind; the order is that of the chips. */
export const KINDS = {
  call: { title: "Call", colour: "--kind-call", shape: "square", lane: "call" },
  leg: { title: "Legs", colour: "--kind-leg", shape: "square", lane: "call" },
  rest: { title: "REST", colour: "--kind-rest", shape: "square", lane: "rest" },
  callback: { title: "Callbacks", colour: "--kind-callback", shape: "circle", lane: "callback" },
  delivery: { title: "Deliveries", colour: "--kind-delivery", shape: "circle", lane: "callback" },
  stream: { title: "Sockets", colour: "--kind-stream", shape: "square", lane: "stream" },
  turn: { title: "Turns", colour: "--kind-turn", shape: "square", lane: "turn" },
  mark: { title: "Marks", colour: "--kind-mark", shape: "diamond", lane: "mark" },
  stopAudio: { title: "StopAudio", colour: "--kind-stop", shape: "stop", lane: "mark" },
  dtmf: { title: "Keys", colour: "--kind-dtmf", shape: "key", lane: "dtmf" },
  media: { title: "Media", colour: "--kind-media", shape: "square", lane: "media" },
  sip: { title: "SIP", colour: "--kind-sip", shape: "arrow", lane: "sip" },
  browser: { title: "Browser", colour: "--kind-sip", shape: "arrow", lane: "browser" },
  late: { title: "Late", colour: "--kind-late", shape: "triangle", lane: "late" },
  __proto__: null, // a file's kinds may have the names of what every object has
};

const OTHER = { title: "Other", colour: "--kind-call", shape: "circle", lane: "call" };

/** @param {string} kind */
export const kindOf = (kind) => KINDS[kind] ?? { ...OTHER, title: kind };

const FAILED = /fail|error|refus|abandon|not recognised|reject|nobody to tell|ignored|\blost/i;

/**
 * Whether an event tells of something that went wrong.
 *
 * @param {CallEvent} event
 */
export function isBad({ kind, name, detail = {} }) {
  if (kind === "rest") return Number(detail.status) >= 400;
  if (kind === "delivery") return Boolean(detail.error) || !(detail.status >= 200 && detail.status < 300);
  if (kind === "sip") return /^[456]\d\d /.test(name) && !/^(401|407) /.test(name); // they only ask who it is
  if (kind === "late") return Number(detail.lost) > 0;
  if (kind === "turn") return name === "unanswered";
  return FAILED.test(name);
}

/** What says which of several: it has its own places in the page, or tells people nothing. */
const IDS = new Set(["leg", "connection", "eventId", "participant"]);
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const RAW_ID = /^(4|8|28):/;

/**
 * @callback Who whom a leg's id or a raw id means, as people call them; "" for nobody known
 * @param {?string} id
 * @returns {string}
 */

const compact = (value) => (value === null || value === undefined || value === "" ? null : String(value));
const some = (...parts) => parts.map(compact).filter(Boolean).join(" · ");

/** One line by kind, from detail, `Who` and event; what is not here gets its detail's first plain values. */
const TOLD = {
  rest: (d) => some(some(d.status), d.ms === undefined ? null : lengthOf(d.ms), d.error, d.path && `${d.method ?? ""} ${d.path}`.trim()),
  callback: (d, who) => some(d.code === undefined ? null : `${d.code}/${d.subCode ?? 0}`, d.message, d.uri ?? (d.to && `to ${who(d.to)}`)),
  delivery: (d) => some(d.resent ? "sent again" : `try ${d.attempt}`, d.status, d.error, d.ms === undefined ? null : lengthOf(d.ms), d.final ? null : "tried again"),
  stopAudio: (d) => some(d.cutMs === undefined ? null : `cut ${lengthOf(d.cutMs)}`, d.playedMs === undefined ? null : `played ${lengthOf(d.playedMs)}`, d.atSample === undefined ? null : `at sample ${d.atSample}`),
  sip: (d) => some(d.direction === "in" ? `from ${d.peer ?? "outside"}` : `to ${d.peer ?? "outside"}`),
  browser: (d) => some(d.about, d.address, d.before && `before ${d.before}`, d.suite, d.reason),
  media: (d) => (Array.isArray(d.sources) ? d.sources.join(", ") : ""),
  mark: (d) => some(d.playedMs === undefined ? null : `played ${lengthOf(d.playedMs)}`),
  dtmf: (d, who, { leg }) => some(`${d.direction === "out" ? "to" : "from"} ${who(leg) || "the leg"}`, d.source),
  turn: (d) => turnWords(d),
  late: (d) => some(d.lost ? `${d.lost} lost` : null, d.late ? `${d.late} late` : null, d.ticks ? `${d.ticks} over ${d.overMs} ms` : null),
  __proto__: null,
};

/**
 * What an event is called: its name; with the key, the mark or what of a turn, if it is one.
 *
 * @param {CallEvent} event
 */
export function nameOf({ kind, name, detail }) {
  if (kind === "late") return `late ${name}`;
  if (kind === "dtmf" && detail?.tone) return `${detail.tone} ${name}`;
  if (kind === "turn" && typeof detail?.turn === "string") return `${detail.turn} ${name}`;
  return kind === "mark" && detail?.mark ? `${detail.mark} ${name}` : name;
}

/**
 * The summary of an event, one line of plain text.
 *
 * @param {CallEvent} event
 * @param {Who} who
 */
export function told(event, who) {
  const detail = event.detail ?? {};
  const text = TOLD[event.kind]?.(detail, who, event);
  if (text) return text;
  const worth = ([key, value]) => !IDS.has(key) && !["", null, false].includes(value) && typeof value !== "object" && !UUID.test(value);
  const plain = Object.entries(detail).filter(worth).slice(0, 6);
  const name = who(event.leg);
  const parts = plain.map(([key, value]) => `${key} ${RAW_ID.test(value) ? who(value) : value}`);
  return some(parts.some((part) => part.endsWith(` ${name}`)) ? null : name, ...parts);
}
