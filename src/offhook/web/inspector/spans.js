/**
 * Events into what the lanes show: a request from its begin to its answer, a callback with its attempts, a socket while
 * it is open, a prompt while it plays. Pure: events in, items out.
 */

import { isBad, kindOf } from "./kinds.js";
import { lengthOf } from "./scale.js";
import { extentOf, spansOf } from "./turn.js";

/** @typedef {import("./kinds.js").CallEvent} CallEvent */
/**
 * @typedef {object} Dot one attempt
 * @property {number} at
 * @property {number} seq
 * @property {boolean} bad
 *
 * @typedef {object} Item
 * @property {number} seq of the event that stands for it
 * @property {string} lane
 * @property {string} kind
 * @property {string} label
 * @property {number} from
 * @property {number} to Infinity while it goes on
 * @property {boolean} bad
 * @property {boolean} span whether it has a length
 * @property {number} row
 * @property {Dot[]} dots
 * @property {number[]} seqs all its events
 * @property {?string} way "in" or "out"
 * @property {import("./turn.js").Span[]} [parts] drawn apart, from its begin
 * @property {boolean} [hollow] drawn as an outline: a mark that was cut
 */

const MOST_ROWS = 3;
const OPENED = /^(opened|open|running|started)$/;
const CLOSED = /^(closed|closed by the app|failed|stopped|ended)$/;
/** What of the media goes on until something else: what begins it, what ends it, what tells two of them apart. */
const MEDIA = [
  { begin: "load", ends: ["loaded", "play failed", "play stopped"], by: "prompt" },
  { begin: "play", ends: ["play ended", "play stopped", "play failed"], by: "prompt" },
  { begin: "recognize", ends: ["recognize stopped"], by: "recognition" },
  { begin: "hold", ends: ["unhold"], by: "leg" },
  { begin: "mute", ends: ["unmute"], by: "leg" },
  { begin: "recording open", ends: ["recording close"], by: "recording" },
  { begin: "transcription opened", ends: ["transcription closed", "transcription closed by the app", "transcription failed"], by: "connection" },
];
const SPAN_GAP_MS = 1;
const POINT_GAP_MS = 40;

/**
 * @param {CallEvent[]} events in order of time
 * @param {Item[]} [more] items that no event tells of by itself
 * @param {(event: CallEvent) => number} [moment] when an event happened, where that is not when it was noted
 * @returns {Map<string, {items: Item[], rows: number}>} by lane
 */
export function itemsByLane(events, more = [], moment = ({ atMs }) => atMs) {
  /** @type {Map<string, {items: Item[], rows: number}>} */
  const lanes = new Map();
  const groups = new Grouping(moment);
  for (const event of events) groups.take(event);
  for (const item of [...groups.items, ...more]) {
    const lane = lanes.get(item.lane) ?? { items: [], rows: 1 };
    lane.items.push(item);
    lanes.set(item.lane, lane);
  }
  for (const lane of lanes.values()) {
    lane.items.sort((a, b) => a.from - b.from || a.seq - b.seq);
    lane.rows = stack(lane.items);
  }
  return lanes;
}

/** Joins what belongs together while events go by. */
class Grouping {
  /** @type {Item[]} */
  items = [];
  /** @type {Map<string, Item>} what is open, by what it is */
  #open = new Map();

  /** @param {(event: CallEvent) => number} moment */
  constructor(moment) {
    this.moment = moment;
  }

  /** @param {CallEvent} event */
  take(event) {
    const join = {
      rest: this.#rest,
      callback: this.#callback,
      delivery: this.#delivery,
      stream: this.#stream,
      media: this.#media,
      turn: this.#turn,
      __proto__: null,
    };
    (join[event.kind] ?? this.#point).call(this, event);
  }

  /** @param {CallEvent} event */
  #point(event, more = {}) {
    const { lane } = kindOf(event.kind);
    const { seq, kind, detail } = event;
    const at = this.moment(event);
    const item = {
      seq,
      lane,
      kind,
      label: (kind === "dtmf" && detail?.tone) || (kind === "mark" && detail?.mark) || event.name,
      hollow: kind === "mark" && event.name === "cut",
      leg: event.leg,
      from: at,
      to: at,
      bad: isBad(event),
      span: false,
      row: 0,
      dots: [],
      seqs: [seq],
      way: detail?.direction ?? null,
      ...more,
    };
    this.items.push(item);
    return item;
  }

  /** A request is noted when it is answered. */
  #rest(event) {
    const begin = event.atMs - (Number(event.detail?.ms) || 0);
    this.#point(event, { from: begin, span: true });
  }

  /** A turn is told of when it is over. */
  #turn(event) {
    const extent = extentOf(event.detail);
    const response = event.detail?.responseMs;
    const label = typeof response === "number" ? `${event.name}, ${lengthOf(response)}` : event.name;
    this.#point(event, extent ? { ...extent, label, span: true, parts: spansOf(event.detail) } : {});
  }

  #callback(event) {
    const item = this.#point(event, { span: true });
    this.#open.set(`callback ${event.detail?.eventId ?? event.name}`, item);
  }

  #delivery(event) {
    const item = this.#open.get(`callback ${event.detail?.eventId ?? event.name}`);
    if (!item) {
      this.#point(event);
      return;
    }
    const bad = isBad(event);
    item.dots.push({ at: event.atMs, seq: event.seq, bad });
    item.seqs.push(event.seq);
    if (event.detail?.resent) return; // perhaps days later
    item.to = Math.max(item.to, event.atMs);
    item.bad = bad && Boolean(event.detail?.final);
  }

  #stream(event) {
    const key = `stream ${event.connection ?? ""} ${event.detail?.url ?? ""}`;
    this.#spanned(event, { begins: OPENED.test(event.name), ends: CLOSED.test(event.name), key, label: event.detail?.url ?? event.name });
  }

  #media(event) {
    const keyOf = ({ begin, by }) => `media ${begin} ${event.detail?.[by] ?? event[by] ?? ""}`;
    const rule = MEDIA.find((one) => one.begin === event.name || (one.ends.includes(event.name) && this.#open.has(keyOf(one))));
    if (!rule) {
      this.#point(event);
      return;
    }
    const begins = rule.begin === event.name;
    this.#spanned(event, { begins, ends: !begins, key: keyOf(rule), label: rule.begin.replace(/ open(ed)?$/, "") });
  }

  /** A begin opens a span, an end closes it, all else is a point beside it. */
  #spanned(event, { begins, ends, key, label }) {
    const open = this.#open.get(key);
    if (begins) {
      this.#open.set(key, this.#point(event, { span: true, to: Infinity, label }));
    } else if (open && open.to === Infinity && ends) {
      open.to = event.atMs;
      open.seqs.push(event.seq);
      if (isBad(event)) [open.bad, open.label] = [true, event.kind === "media" ? event.name : open.label];
      this.#open.delete(key);
    } else {
      this.#point(event);
    }
  }
}

/** Give overlapping items rows, at most `MOST_ROWS`; further ones share the last. The number of rows. */
function stack(items) {
  const ends = [];
  for (const item of items) {
    const gap = item.span ? SPAN_GAP_MS : POINT_GAP_MS;
    let row = ends.findIndex((end) => end + gap <= item.from);
    if (row < 0) row = Math.min(ends.length, MOST_ROWS - 1);
    item.row = row;
    ends[row] = Math.max(ends[row] ?? -Infinity, item.to);
  }
  return Math.max(1, ends.length);
}
