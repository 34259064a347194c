/**
 * The lanes over one time axis: their rows in the page, drawing what is visible, and the lines that lie over all of
 * them. What a pointer does is in `gestures.js`.
 */

import { h, icon } from "../dom.js";
import { paintAxis, paintGrid, paintMap, driveMap, MAP_PX } from "./axis.js";
import { nameOf } from "./kinds.js";
import { lanesOf, wordsFor } from "./lanes.js";
import { itemAt, paintClock, paintDots, paintItems } from "./paint_items.js";
import { paintArea, paintWave } from "./paint_sound.js";
import { clock, lengthOf, Scale } from "./scale.js";

const LEAST_GAIN_OF = 0.12;
const FONT_PX = 11;
/** What changes all of the pictures. */
const EVERYWHERE = ["view", "events", "lanes", "grow", "sound", "selection", "filter", "theme", "size"];

/** @typedef {{lane: import("./lanes.js").Lane, element: HTMLElement, canvas: HTMLCanvasElement, visible: boolean, stale: boolean}} Row */

export class Timeline {
  /** @type {Map<string, Row>} */
  rows = new Map();
  series = null;
  #lo = new Float32Array(1);
  #hi = new Float32Array(1);
  #mapKey = "";
  #waves = [];

  /**
   * @param {import("./state.js").ViewState} state
   * @param {import("./frames.js").Frames} frames
   * @param {import("./palette.js").Palette} palette
   * @param {import("./tiles.js").Tiles} tiles
   * @param {AbortSignal} signal
   */
  constructor(state, frames, palette, tiles, signal) {
    Object.assign(this, { state, frames, palette, tiles });
    this.font = `${FONT_PX}px ${getComputedStyle(document.body).fontFamily}`;
    this.#build();
    this.#watch(signal);
    frames.on(["lanes", "events"], () => this.#arrange());
    frames.on(["lanes", "events", "grow"], () => this.#grow());
    frames.on([...EVERYWHERE, "scrolled"], (changed) => this.#draw(changed));
    frames.on(["view", "playhead", "hover", "range", "selection", "size", "events"], () => this.#overlay());
  }

  #build() {
    this.map = h("canvas", { class: "map-canvas" });
    this.pane = h("div", { class: "map-window" }, h("i"), h("i"));
    this.mapBox = h("div", { class: "map", "aria-hidden": "true" }, this.map, this.pane);
    this.axis = h("canvas", { class: "axis-canvas" });
    this.head = h("div", { class: "head-handle", title: "Drag to scrub" });
    this.band = h("div", { class: "range" });
    this.axisBox = h("div", { class: "axis", "aria-hidden": "true" }, this.axis, this.head);
    const line = (name) => h("div", { class: `line ${name}` });
    this.lines = { playhead: line("playhead"), chosen: line("chosen"), hover: line("hover"), range: h("div", { class: "range over" }), lag: h("div", { class: "lag" }, h("span")) };
    this.overlay = h("div", { class: "overlay", "aria-hidden": "true" }, ...Object.values(this.lines));
    this.list = h("div", { class: "lane-list" });
    const corner = h("div", { class: "corner" });
    this.corner = corner;
    this.scroller = h(
      "div",
      { class: "lanes", tabindex: "0", role: "group", "aria-label": "Lanes over time. Plus and minus zoom, Shift with arrows pans, arrows go through events; ? shows all keys" },
      h("div", { class: "axis-row" }, corner, this.axisBox),
      h("div", { class: "lane-stack" }, this.list, this.overlay),
    );
    this.element = h("div", { class: "timeline" }, this.mapBox, this.scroller);
    driveMap(this.mapBox, this.pane, this.state);
  }

  /** @param {AbortSignal} signal */
  #watch(signal) {
    const size = new ResizeObserver(([{ contentRect }]) => {
      if (!contentRect.width || Math.abs(contentRect.width - this.state.scale.width) < 0.5) return;
      const fitted = this.state.fitted;
      this.state.scale = this.state.scale.resized(contentRect.width);
      if (fitted) this.state.all();
      this.frames.touch("size");
    });
    size.observe(this.axisBox);
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          const row = this.rows.get(target.dataset.lane);
          if (!row) continue;
          row.visible = isIntersecting;
          if (isIntersecting && row.stale) this.frames.touch("scrolled");
        }
      },
      { root: null, rootMargin: "60px" },
    );
    signal.addEventListener("abort", () => {
      size.disconnect();
      this.seen.disconnect();
    });
  }

  /** Rows for the lanes that there are now; those that stay keep their element. */
  #arrange() {
    const { model, lanesOff } = this.state;
    const lanes = lanesOf(model, this.series);
    this.all = lanes;
    this.#waves = lanes.filter((lane) => lane.form === "wave");
    const shown = lanes.filter((lane) => !lanesOff.has(lane.id));
    const kept = new Set(shown.map((lane) => lane.id));
    for (const [id, row] of this.rows) {
      if (kept.has(id)) continue;
      this.seen.unobserve(row.element);
      row.element.remove();
      this.rows.delete(id);
    }
    for (const [n, lane] of shown.entries()) {
      const row = this.rows.get(lane.id) ?? this.#row(lane);
      row.lane = lane;
      row.element.style.height = "";
      row.canvas.style.height = `${lane.height}px`;
      row.canvas.setAttribute("aria-label", wordsFor(lane, model));
      this.#facts(row);
      if (this.list.children[n] !== row.element) this.list.insertBefore(row.element, this.list.children[n] ?? null);
    }
  }

  /** Sound of a call that goes on reaches to now, or to when its leg left. */
  #grow() {
    const { model } = this.state;
    if (!model.live) return;
    const now = model.now();
    for (const lane of this.#waves) {
      const until = model.leg(lane.leg)?.leftMs ?? now;
      const samples = Math.floor(((until - lane.track.beginMs) * lane.track.rate) / 1000);
      lane.track = { ...lane.track, samples: Math.max(lane.track.samples, samples) };
    }
  }

  /** @returns {Row} */
  #row(lane) {
    const canvas = h("canvas", { role: "img" });
    const hide = h("button", { type: "button", class: "hide", "aria-label": `Hide ${lane.title} ${lane.about ?? ""}`, title: "Hide this lane", on: { click: () => this.state.toggle(this.state.lanesOff, lane.id) } }, icon("cross", 12));
    const about = h("span", { class: `about ${lane.side ?? ""}`, text: lane.about ?? "" });
    const name = h("div", { class: "lane-name" }, h("span", { class: "title", title: lane.title, text: lane.title }), about, hide);
    const element = h("div", { class: `lane ${lane.form}`, data: { lane: lane.id } }, name, canvas);
    const row = { lane, element, canvas, visible: true, stale: true };
    this.rows.set(lane.id, row);
    this.seen.observe(element);
    return row;
  }

  /** What a picture cannot be asked for: the cuts of a lane of sound, in its dataset. */
  #facts({ lane, element }) {
    if (lane.side !== "heard") return;
    element.dataset.cuts = JSON.stringify(this.state.model.cuts(this.state.model.leg(lane.leg)));
  }

  /** How loud sound is drawn: so that the loudest fills its lane, quiet calls up to eight times. */
  #gain() {
    const loudest = this.#waves.reduce((most, lane) => Math.max(most, this.tiles.loudest(lane)), 0);
    return 1 / Math.max(LEAST_GAIN_OF, loudest || 1);
  }

  #draw(changed) {
    const { state, palette, tiles } = this;
    const scale = state.scale;
    const width = Math.round(scale.width);
    if (this.#lo.length !== width) [this.#lo, this.#hi] = [new Float32Array(width), new Float32Array(width)];
    tiles.turn();
    const gain = this.#gain();
    const scene = { scale, palette, tiles, lo: this.#lo, hi: this.#hi, gain };
    const all = EVERYWHERE.some((name) => changed.has(name)); // else what has come into view, alone
    if (all) paintAxis(this.#paper(this.axis, width, 26), scale, palette);
    for (const row of this.rows.values()) {
      row.stale ||= all;
      if (!row.visible || !row.stale) continue;
      row.stale = false;
      const paper = this.#paper(row.canvas, width, row.lane.height);
      paintGrid(paper, scale, palette, row.lane.height);
      this.#lane({ ...scene, paper, height: row.lane.height }, row.lane);
    }
    if (all) this.#drawMap(scene, changed);
    tiles.flush();
  }

  #lane(scene, lane) {
    const { state } = this;
    const { model, selected, other } = state;
    if (lane.form === "wave") paintWave(scene, lane, lane.side === "heard" ? model.cuts(model.leg(lane.leg)) : [], selected);
    else if (lane.form === "area") paintArea(scene, lane, this.series);
    else {
      const passes = state.filtering ? (item) => item.seqs.some((seq) => state.passes(model.event(seq))) : null;
      const view = { selected, other, end: this.end, passes };
      const items = model.lanes.get(lane.id)?.items ?? [];
      if (lane.clock) paintClock(scene, lane.clock, this.series);
      paintItems(scene, items, view);
      paintDots(scene, items, view);
    }
  }

  /** Where the call ends, for what goes on. */
  get end() {
    const { model } = this.state;
    return model.extent(model.live ? model.now() : undefined)[1];
  }

  /** The small picture changes with the sound, the events and the theme; the window over it with the view. */
  #drawMap(scene, changed) {
    const limits = this.state.limits;
    const width = Math.round(this.mapBox.clientWidth || scene.scale.width);
    const whole = new Scale(...limits, width);
    this.pane.style.transform = `translateX(${Math.max(0, whole.x(scene.scale.from))}px)`;
    this.pane.style.width = `${Math.max(6, Math.min(width, whole.x(scene.scale.to)) - Math.max(0, whole.x(scene.scale.from)))}px`;
    const key = `${width} ${Math.round(limits[1])}`;
    if (key === this.#mapKey && !["sound", "events", "theme", "lanes", "grow"].some((name) => changed.has(name))) return;
    this.#mapKey = key;
    const paper = this.#paper(this.map, width, MAP_PX - 6);
    const [lo, hi] = [new Float32Array(width), new Float32Array(width)];
    paintMap({ ...scene, paper, scale: whole, lo, hi }, this.state.model, this.#waves);
  }

  /** A cleared canvas of so many CSS pixels, at the screen's own fineness. */
  #paper(canvas, width, height) {
    const dots = devicePixelRatio || 1;
    const [w, hh] = [Math.round(width * dots), Math.round(height * dots)];
    if (canvas.width !== w || canvas.height !== hh) [canvas.width, canvas.height] = [w, hh];
    const paper = canvas.getContext("2d");
    paper.setTransform(dots, 0, 0, dots, 0, 0);
    paper.clearRect(0, 0, width, height);
    paper.font = this.font;
    paper.textBaseline = "middle";
    return paper;
  }

  #overlay() {
    const { scale, playhead, hover, range, lag, selected, model } = this.state;
    place(this.lines.playhead, scale, playhead);
    place(this.head, scale, playhead);
    const chosen = selected === null ? null : model.event(selected);
    place(this.lines.chosen, scale, chosen && model.moment(chosen));
    place(this.lines.hover, scale, hover);
    stretch(this.lines.range, scale, range);
    stretch(this.lines.lag, scale, lag && [Math.min(lag.from, lag.to), Math.max(lag.from, lag.to)]);
    if (lag) this.lines.lag.firstChild.textContent = `Δ ${lengthOf(Math.abs(lag.ms))}`;
  }

  /** The item under a point of the page, and its lane. @returns {?{lane: any, hit: ?{seq: number}}} */
  at(clientX, clientY) {
    const element = document.elementFromPoint(clientX, clientY)?.closest?.(".lane");
    const row = element && this.rows.get(element.dataset.lane);
    if (!row) return null;
    const box = row.canvas.getBoundingClientRect();
    const [x, y] = [clientX - box.left, clientY - box.top];
    const items = this.state.model.lanes.get(row.lane.id)?.items ?? [];
    if (row.lane.form !== "items") return { lane: row.lane, hit: row.lane.side === "heard" ? this.#cutAt(row.lane, x) : null };
    return { lane: row.lane, hit: itemAt(items, this.state.scale, this.end, x, y) };
  }

  #cutAt(lane, x) {
    const ms = this.state.scale.ms(x);
    const near = 5 * this.state.scale.msPerPx;
    const { model } = this.state;
    const cut = model.cuts(model.leg(lane.leg)).find(({ atMs, cutMs }) => ms >= atMs - near && ms <= atMs + Math.max(cutMs, near));
    return cut ? { seq: cut.seq } : null;
  }

  /** Bring the lane of an event into view. @param {number} seq */
  reveal(seq) {
    const item = this.state.model.itemOf(seq);
    this.rows.get(item?.lane)?.element.scrollIntoView({ block: "nearest" });
  }

  /** What the tooltip says of a point. @param {?{lane: any, hit: any}} found */
  tip(found) {
    if (!found?.hit) return "";
    const event = this.state.model.event(found.hit.seq);
    return event ? `${clock(this.state.model.moment(event))}  ${nameOf(event)}` : "";
  }
}

function place(element, scale, ms) {
  const x = ms === null ? -1 : scale.x(ms);
  element.hidden = x < 0 || x > scale.width;
  if (!element.hidden) element.style.transform = `translateX(${x}px)`;
}

function stretch(element, scale, range) {
  element.hidden = !range || range[1] < scale.from || range[0] > scale.to;
  if (element.hidden) return;
  const [from, to] = [Math.max(-4, scale.x(range[0])), Math.min(scale.width + 4, scale.x(range[1]))];
  element.style.transform = `translateX(${from}px)`;
  element.style.width = `${Math.max(1, to - from)}px`;
}

