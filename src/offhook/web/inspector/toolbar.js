/** The controls of the timeline: playing, what is played, speed; times; zoom, follow, lanes, keys. */

import { fill, h, icon, svg } from "../dom.js";
import { clock, lengthOf } from "./scale.js";
import { SPEEDS } from "./player.js";

const ZOOM = 1.6;
const SIDES = [
  ["said", "said"],
  ["heard", "heard"],
  ["both", "said + heard"],
];

/** A line icon of this toolbar alone. */
const glyph = (d) => svg("svg", { class: "icon", viewBox: "0 0 24 24", width: 16, height: 16, "aria-hidden": "true" }, svg("path", { d }));
const PLUS = "M12 5v14M5 12h14";
const MINUS = "M5 12h14";
const FIT = "M4 9V5h4M20 9V5h-4M4 15v4h4M20 15v4h-4M8 12h8";
const FOLLOW = "M4 12h12M11 7l5 5-5 5M20 5v14";
const LANES = "M4 6h16M4 12h16M4 18h16";

export class Toolbar {
  #sources = "";

  /**
   * @param {import("./state.js").ViewState} state
   * @param {import("./frames.js").Frames} frames
   * @param {import("./player.js").Player} player
   * @param {import("./timeline.js").Timeline} timeline
   * @param {() => void} help
   */
  constructor(state, frames, player, timeline, help) {
    Object.assign(this, { state, player, timeline });
    this.play = h("button", { type: "button", class: "button small square play", on: { click: () => player.toggle() } });
    this.source = h("select", { "aria-label": "What is played", on: { change: () => this.#choose() } });
    this.speed = h("select", { "aria-label": "Speed", class: "speed", on: { change: () => player.setSpeed(Number(this.speed.value)) } }, SPEEDS.map((n) => h("option", { value: n, selected: n === 1, text: `${n}×` })));
    this.time = h("output", { class: "time", title: "The playhead; the pointer or what is chosen" });
    this.note = h("p", { class: "tool-note", role: "status" });
    this.follow = this.#button("Follow the call", glyph(FOLLOW), () => state.follow(!state.following), "f");
    this.menu = this.#lanesMenu();
    const zoom = h(
      "div",
      { class: "zoom", role: "group", "aria-label": "Zoom" },
      this.#button("Zoom out", glyph(MINUS), () => state.zoom(1 / ZOOM), "−"),
      this.#button("Zoom in", glyph(PLUS), () => state.zoom(ZOOM), "+"),
      this.#button("Show the whole call, or the chosen stretch", glyph(FIT), () => state.fit(), "0"),
    );
    const pan = h("div", { class: "zoom", role: "group", "aria-label": "Pan" }, this.#button("Earlier", icon("left", 16), () => state.pan(-0.3), "Shift ←"), this.#button("Later", icon("right", 16), () => state.pan(0.3), "Shift →"));
    this.players = h("div", { class: "players", role: "group", "aria-label": "Play" }, this.play, this.source, this.speed);
    const keys = this.#button("Keys", h("span", { text: "?" }), help, "?");
    this.element = h("div", { class: "toolbar" }, this.players, this.time, this.note, h("div", { class: "tools" }, this.follow, pan, zoom, this.menu, keys));
    player.addEventListener("change", () => {
      if (player.playing) this.say("");
      this.#draw();
    });
    player.addEventListener("failed", () => this.say("This stretch could not be played."));
    frames.on(["events", "lanes", "follow"], () => this.#draw());
    frames.on(["playhead", "hover", "range", "selection"], () => this.#times());
    this.#draw();
    this.#times();
  }

  #button(label, mark, act, key) {
    return h("button", { type: "button", class: "button small square", "aria-label": label, title: `${label} (${key})`, on: { click: act } }, mark);
  }

  /** @param {string} text */
  say(text) {
    this.note.textContent = text;
  }

  #choose() {
    const [leg, side] = this.source.value.split(" ");
    this.player.choose(/** @type {any} */ ({ leg, side }));
  }

  #draw() {
    const { player, state } = this;
    const legs = state.model.page.legs.filter((leg) => leg.audio?.length);
    const key = legs.map((leg) => `${leg.legId} ${leg.audio.length}`).join();
    if (key !== this.#sources) {
      this.#sources = key;
      const before = this.source.value;
      fill(this.source, legs.flatMap((leg) => SIDES.map(([side, words]) => h("option", { value: `${leg.legId} ${side}`, text: `${state.model.nameOf(leg)} ${words}` }))));
      this.source.value = before || (legs[0] ? `${legs[0].legId} both` : "");
      if (legs.length && !before) this.#choose();
    }
    this.players.hidden = !legs.length;
    const label = player.playing ? "Pause" : "Play";
    fill(this.play, icon(player.playing ? "pause" : "play", 16));
    this.play.setAttribute("aria-label", label);
    this.play.title = `${label} (Space)`;
    this.follow.hidden = !state.model.live;
    this.follow.setAttribute("aria-pressed", String(state.following));
    this.#lanesList();
  }

  #times() {
    const { playhead, hover, range, lag } = this.state;
    const step = this.state.scale.msPerPx;
    const fine = step < 0.1 ? 0.01 : 1;
    const rate = this.state.model.page.rate || 16000;
    const parts = [clock(playhead, fine)];
    if (lag) parts.push(`Δ ${lengthOf(lag.ms)} · ${lag.samples} samples`);
    else if (range) parts.push(`chosen ${lengthOf(range[1] - range[0])} · ${Math.round(((range[1] - range[0]) * rate) / 1000)} samples`);
    else if (hover !== null) parts.push(`at ${clock(hover, fine)}`);
    fill(this.time, parts.map((text, n) => h("span", { class: n ? "second" : "first", text })));
  }

  #lanesMenu() {
    this.boxes = h("div", { class: "lane-boxes" });
    const panel = h("div", { class: "menu panel", id: "lanes-menu", popover: "auto" }, h("h2", { text: "Lanes" }), this.boxes);
    const button = h("button", { type: "button", class: "button small square", "aria-label": "Choose lanes", title: "Choose lanes", popovertarget: "lanes-menu" }, glyph(LANES));
    panel.addEventListener("beforetoggle", (event) => {
      if (event.newState !== "open") return;
      const box = button.getBoundingClientRect();
      panel.style.top = `${box.bottom + 4}px`;
      panel.style.right = `${Math.max(8, document.documentElement.clientWidth - box.right)}px`;
    });
    return h("div", { class: "lanes-menu" }, button, panel);
  }

  #lanesList() {
    const { state } = this;
    const lanes = this.timeline.all ?? [];
    const key = lanes.map((lane) => `${lane.id}${state.lanesOff.has(lane.id)}`).join();
    if (this.boxes.dataset.key === key) return;
    this.boxes.dataset.key = key;
    fill(this.boxes, lanes.map((lane) => {
      const box = h("input", { type: "checkbox", on: { change: () => state.toggle(state.lanesOff, lane.id) } });
      box.checked = !state.lanesOff.has(lane.id);
      return h("label", {}, box, `${lane.title} `, h("span", { class: "faint", text: lane.about ?? "" }));
    }));
  }
}
