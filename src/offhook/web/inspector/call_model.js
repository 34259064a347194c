/**
 * A call as the inspector knows it: the page of the API, its events in order of time, and what follows from them
 * (items by lane, cuts, whom a leg is). Pure: no page, no network.
 */

import { now } from "../api.js";
import { identity } from "../format.js";
import { told } from "./kinds.js";
import { itemsByLane } from "./spans.js";

/** @typedef {import("./kinds.js").CallEvent} CallEvent */

const LEAST_SPAN_MS = 1000;
const EDGE = 0.015;

export class CallModel {
  /** @type {CallEvent[]} in order of time */
  events = [];
  lastSeq = 0;
  /** @type {Map<number, CallEvent>} */
  #bySeq = new Map();
  #lanes = null;
  #texts = new Map();

  /** @param {any} page of `GET calls/{id}` */
  constructor(page) {
    this.page = { legs: [], ...page };
    this.add(page.events ?? []);
  }

  /**
   * What has changed of the call itself.
   *
   * @param {any} page with or without events
   */
  update(page) {
    const { events, ...rest } = page;
    this.page = { ...this.page, ...rest };
    this.#lanes = null;
    if (events) this.add(events);
  }

  /**
   * New events, in any order; known ones are left out. Whether there was one.
   *
   * @param {CallEvent[]} events
   */
  add(events) {
    const fresh = events.filter((event) => !this.#bySeq.has(event.seq));
    if (!fresh.length) return false;
    for (const event of fresh) {
      this.#bySeq.set(event.seq, event);
      this.lastSeq = Math.max(this.lastSeq, event.seq);
    }
    const ordered = this.events.length === 0 || fresh.every((e, n) => e.atMs >= (n ? fresh[n - 1] : this.events.at(-1)).atMs);
    this.events = [...this.events, ...fresh];
    if (!ordered || this.events.length === fresh.length) this.events.sort((a, b) => a.atMs - b.atMs || a.seq - b.seq);
    this.#lanes = null;
    return true;
  }

  /** All times move when the call is answered: from the first event to the answer. */
  replace(page) {
    this.events = [];
    this.#bySeq.clear();
    this.#texts.clear();
    this.lastSeq = 0;
    this.#lanes = null;
    this.page = { legs: [], ...page };
    this.add(page.events ?? []);
  }

  /** @param {number} seq */
  event(seq) {
    return this.#bySeq.get(seq) ?? null;
  }

  get live() {
    return !this.page.ended && !this.page.imported;
  }

  /** Items by lane, grouped anew only when events have come. */
  get lanes() {
    this.#lanes ??= itemsByLane(this.events, this.#stays(), (event) => this.moment(event));
    return this.#lanes;
  }

  /** When each leg was on the bridge; the event that stands for it is the leg's first. */
  #stays() {
    const joined = this.page.legs.filter((leg) => leg.joinedMs !== null && leg.joinedMs !== undefined);
    return joined.flatMap((leg) => {
      const first = this.events.find((event) => event.kind === "leg" && event.leg === leg.legId);
      if (!first) return [];
      const [from, to] = [leg.joinedMs, leg.leftMs ?? Infinity]; // of an interrupted call nobody saw the end
      const item = { seq: first.seq, lane: "call", kind: "leg", label: `${this.nameOf(leg)} connected`, leg: leg.legId, from, to };
      return [{ ...item, bad: false, span: true, row: 0, dots: [], seqs: [], way: null }];
    });
  }

  /** The item that an event is part of. */
  itemOf(seq) {
    for (const { items } of this.lanes.values()) {
      const item = items.find((one) => one.seqs.includes(seq));
      if (item) return item;
    }
    return null;
  }

  /** First and last millisecond of what is known; `now` for a call that goes on. */
  extent(now = -Infinity) {
    let [from, to] = [0, 0];
    const last = this.events.findLast(({ detail }) => !detail?.resent); // sent again days later, it is not the call's
    if (last) [from, to] = [Math.min(0, this.events[0].atMs), Math.max(0, last.atMs)];
    for (const leg of this.page.legs) {
      for (const { beginMs, rate, samples } of leg.audio ?? []) to = Math.max(to, beginMs + (samples * 1000) / rate);
    }
    if (this.live) to = Math.max(to, now);
    return /** @type {[number, number]} */ ([from, Math.max(to, from + LEAST_SPAN_MS)]);
  }

  /** As `extent`, with a margin to both sides: how far the axis goes. */
  limits(now) {
    const [from, to] = this.extent(now);
    const margin = (to - from) * EDGE;
    return /** @type {[number, number]} */ ([from - margin, to + margin]);
  }

  /** Milliseconds since the answer (or since the start before it), by this computer's clock. */
  now() {
    return now() - Date.parse(this.page.answeredAt ?? this.page.startedAt);
  }

  /**
   * What each StopAudio cut: where the sound ends that a leg heard, and how much of it was still to come.
   *
   * @param {any} [leg] those that happened while this leg was there
   * @returns {Array<{seq: number, atMs: number, sample: number, cutMs: number}>}
   */
  cuts(leg) {
    const [from, to] = [leg?.joinedMs ?? -Infinity, leg?.leftMs ?? Infinity];
    return this.events
      .filter(({ kind, atMs, detail }) => kind === "stopAudio" && detail?.atSample !== undefined && atMs >= from && atMs <= to)
      .map((event) => ({ seq: event.seq, atMs: this.moment(event), sample: event.detail.atSample, cutMs: Number(event.detail.cutMs) || 0 }));
  }

  /**
   * When an event was heard: a StopAudio at its sample, which counts from the first sound that its leg was given; all
   * else when it was noted.
   *
   * @param {CallEvent} event
   */
  moment(event) {
    const sample = event.kind === "stopAudio" ? event.detail?.atSample : undefined;
    if (sample === undefined) return event.atMs;
    const heard = (leg) => leg?.audio?.find((track) => track.side === "heard");
    const track = heard(this.leg(event.leg)) ?? this.page.legs.map(heard).find(Boolean);
    return (track?.beginMs ?? 0) + (sample * 1000) / (this.page.rate || 16000);
  }

  /** What a leg is called; with its number where another is called the same. @param {any} leg */
  nameOf(leg) {
    const name = calledAlone(leg);
    const others = this.page.legs.filter((one) => one.legId !== leg?.legId && calledAlone(one) === name);
    return others.length && leg?.number ? `${name} (${leg.number})` : name;
  }

  /** The summary of an event. @param {CallEvent} event */
  told(event) {
    return told(event, (id) => isolated(this.legName(id) || (id ? this.#person(id) : "")));
  }

  /** @param {string} rawId */
  #person(rawId) {
    const named = [...this.page.legs, this.page.from].find((one) => one?.rawId === rawId && one.displayName);
    return named?.displayName ?? (rawId.includes(":") ? identity(rawId) : "");
  }

  /** @param {?string} legId */
  leg(legId) {
    return this.page.legs.find((one) => one.legId === legId) ?? null;
  }

  /** @param {?string} legId */
  legName(legId) {
    const leg = this.leg(legId);
    return leg ? this.nameOf(leg) : "";
  }

  /**
   * Whether an event has the words of a search; `needle` in lower case.
   *
   * @param {CallEvent} event
   * @param {string} needle
   */
  matches(event, needle) {
    if (!needle) return true;
    let text = this.#texts.get(event.seq);
    if (text === undefined) {
      text = `${event.kind} ${event.name} ${this.told(event)} ${JSON.stringify(event.detail ?? "")}`.toLowerCase();
      this.#texts.set(event.seq, text);
    }
    return text.includes(needle);
  }
}

/** A name in a line of other words: what it does with the direction of text ends with it. @param {string} name */
const isolated = (name) => (/^[ -~]*$/.test(name) ? name : `\u2068${name}\u2069`);

/** @param {any} leg */
const calledAlone = (leg) => leg?.displayName || identity(leg?.rawId);
