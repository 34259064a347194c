/**
 * What the reader of an inspector has chosen: the stretch shown, what is selected and measured, filters, hidden lanes.
 * Every change names itself to the frame loop; nothing here draws.
 */

import { Scale } from "./scale.js";

export class ViewState {
  scale = new Scale(0, 1000, 800);
  /** @type {?number} seq */
  selected = null;
  /** @type {?number} seq of the second of a measured pair */
  other = null;
  /** @type {?[number, number]} stretch chosen on the axis */
  range = null;
  playhead = 0;
  /** @type {?number} milliseconds under the pointer */
  hover = null;
  following = false;
  needle = "";
  /** @type {Set<string>} kinds whose chips are off */
  kindsOff = new Set();
  /** @type {Set<string>} ids of hidden lanes */
  lanesOff = new Set();
  /** Whether the whole call is shown, so that it stays so while it grows. */
  fitted = true;

  /**
   * @param {import("./call_model.js").CallModel} model
   * @param {import("./frames.js").Frames} frames
   */
  constructor(model, frames) {
    this.model = model;
    this.frames = frames;
  }

  get limits() {
    return this.model.limits(this.model.live ? this.model.now() : undefined);
  }

  /** @param {Scale} scale */
  show(scale) {
    this.fitted = scale.span >= (this.limits[1] - this.limits[0]) * 0.999;
    this.scale = scale;
    this.frames.touch("view");
  }

  /** Nearer or farther around a time. */
  zoom(factor, around = this.focus) {
    this.following &&= factor > 1;
    this.show(this.scale.zoomed(factor, around, this.limits));
  }

  /** @param {number} part of the width */
  pan(part) {
    this.follow(false);
    this.show(this.scale.panned(this.scale.span * part, this.limits));
  }

  fit() {
    const [from, to] = this.range ?? this.limits;
    this.show(new Scale(from, to, this.scale.width).within(this.limits));
  }

  all() {
    this.show(new Scale(...this.limits, this.scale.width));
  }

  /** Where zooming by keys happens: at the selection, else the playhead, when seen; else the middle. */
  get focus() {
    const event = this.selected === null ? null : this.model.event(this.selected);
    const seen = [event && this.model.moment(event), this.playhead].find((ms) => typeof ms === "number" && ms >= this.scale.from && ms <= this.scale.to);
    return seen ?? (this.scale.from + this.scale.to) / 2;
  }

  /**
   * @param {?number} seq
   * @param {{reveal?: boolean, measure?: boolean}} [how] `measure`: as the second of a pair
   */
  select(seq, { reveal = false, measure = false } = {}) {
    if (measure && this.selected !== null && seq !== this.selected) this.other = seq;
    else [this.selected, this.other] = [seq, null];
    const event = seq === null ? null : this.model.event(seq);
    if (event && reveal) {
      this.follow(false);
      this.show(this.scale.showing(this.model.moment(event), this.limits));
    }
    this.frames.touch("selection");
  }

  /** @param {?[number, number]} range */
  choose(range) {
    this.range = range && range[0] > range[1] ? [range[1], range[0]] : range;
    this.frames.touch("range");
  }

  /** @param {number} ms */
  seek(ms) {
    const [from, to] = this.model.extent(this.model.live ? this.model.now() : undefined);
    this.playhead = Math.min(Math.max(ms, from), to);
    this.frames.touch("playhead");
  }

  /** @param {?number} ms */
  point(ms) {
    this.hover = ms;
    this.frames.touch("hover");
  }

  /** @param {boolean} on */
  follow(on) {
    if (this.following === on) return;
    this.following = on;
    this.frames.touch("follow");
  }

  /** @param {string} needle */
  search(needle) {
    this.needle = needle.trim().toLowerCase();
    this.frames.touch("filter");
  }

  /** @param {Set<string>} set @param {string} id */
  toggle(set, id) {
    if (!set.delete(id)) set.add(id);
    this.frames.touch(set === this.lanesOff ? "lanes" : "filter");
  }

  /** @param {import("./kinds.js").CallEvent} event */
  passes(event) {
    return !this.kindsOff.has(event.kind) && this.model.matches(event, this.needle);
  }

  get filtering() {
    return this.kindsOff.size > 0 || this.needle !== "";
  }

  /** The measured pair: how far the second is from the first. */
  get lag() {
    const [a, b] = [this.selected, this.other].map((seq) => (seq === null ? null : this.model.event(seq)));
    if (!a || !b) return null;
    const [from, to] = [this.model.moment(a), this.model.moment(b)];
    return { from, to, ms: to - from, samples: Math.round(((to - from) * (this.model.page.rate || 16000)) / 1000) };
  }
}
