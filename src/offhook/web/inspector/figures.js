/** The strip of figures (docs/console.md, "Figures"): a number each; on a press how it was measured and what it is made of. */

import { get } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { clock, lengthOf } from "./scale.js";

const NONE = "–";
const AROUND_MS = 3000;

/** Names short enough for the strip; the figure's own label is in what a press opens. */
const SHORT = {
  answerTime: "Answered after",
  greetingLatency: "Greeting",
  turnLatency: "Turns, median",
  turnLatency95: "Turns, 95\u00a0%",
  turnLatencyWorst: "Turns, longest",
  bargeInToSilence: "Barge-in to silence",
  stopAudioToSilence: "Stop to silence",
  loss: "Loss",
  jitter: "Jitter",
  roundTrip: "Round trip",
  mos: "MOS",
};

/** @typedef {{name: string, label: string, value: ?number, unit: string, how: string, inputs?: Record<string, any>}} Figure */

export class Figures {
  /** @type {?string} name of the figure that is open */
  #open = null;
  /** Whether those that nothing was measured for are shown too. */
  #all = false;
  #shown = "";
  #answer = null;

  /**
   * @param {import("./state.js").ViewState} state
   */
  constructor(state) {
    this.state = state;
    this.list = h("div", { class: "figure-list", role: "group", "aria-label": "Figures of the call" });
    this.more = h("div", { class: "figure-more panel", id: "figure-more", hidden: true });
    this.element = h("section", { class: "figures", "aria-label": "Figures" }, this.list, this.more);
  }

  /** @param {string} path of the call @param {AbortSignal} signal */
  async load(path, signal) {
    try {
      this.draw(await get(`${path}/figures`, signal));
    } catch {
      if (!signal.aborted) this.draw(this.#answer); // what was known stays
    }
  }

  /** @param {?{figures: Figure[], turns: any[], bargeIns: any[], legs: any[]}} answer */
  draw(answer) {
    const text = JSON.stringify(answer);
    if (text === this.#shown) return;
    [this.#shown, this.#answer] = [text, answer];
    const figures = answer?.figures ?? [];
    const focused = document.activeElement?.closest?.(".figure")?.dataset.name;
    const empty = figures.filter(isEmpty);
    fill(this.list, figures.filter((figure) => this.#all || !isEmpty(figure)).map((figure) => this.#button(figure)), empty.length > 0 && this.#rest(empty));
    if (focused) this.list.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
    this.#more();
  }

  /** @param {Figure} figure */
  #button(figure) {
    const [value, unit] = valueOf(figure);
    const shown = h("span", { class: `value ${figure.value === null ? "none" : ""}` }, value, unit && h("small", { text: unit }));
    const open = figure.name === this.#open;
    return h(
      "button",
      { type: "button", class: "figure", data: { name: figure.name }, "aria-expanded": String(open), "aria-controls": "figure-more", title: figure.label, on: { click: () => this.#toggle(figure.name) } },
      h("span", { class: "name", text: SHORT[figure.name] ?? figure.label }),
      shown,
    );
  }

  /** Shows and hides those that have no value: they say only that nothing was measured. */
  #rest(empty) {
    const act = () => {
      this.#all = !this.#all;
      if (empty.some(({ name }) => name === this.#open)) this.#open = null;
      this.#shown = "";
      this.draw(this.#answer);
    };
    const words = this.#all ? "Fewer" : `${empty.length} not measured`;
    return h(
      "button",
      { type: "button", class: "figure rest", data: { name: "rest" }, "aria-expanded": String(this.#all), title: empty.map(({ label }) => label).join(", "), on: { click: act } },
      h("span", { class: "name", text: words }),
      h("span", { class: "value none", "aria-hidden": "true", text: this.#all ? "‹" : "›" }),
    );
  }

  #toggle(name) {
    this.#open = this.#open === name ? null : name;
    for (const button of this.list.querySelectorAll(".figure:not(.rest)")) button.setAttribute("aria-expanded", String(button.dataset.name === this.#open));
    this.#more();
  }

  #more() {
    const figure = this.#answer?.figures?.find((one) => one.name === this.#open);
    this.more.hidden = !figure;
    if (!figure) return;
    const [value, unit] = valueOf(figure);
    const close = h("button", { type: "button", class: "button quiet small square", "aria-label": "Close", on: { click: () => this.#toggle(figure.name) } }, icon("cross", 16));
    fill(
      this.more,
      h("header", {}, h("h2", { text: figure.label }), h("strong", { text: `${value} ${unit}`.trim() }), close),
      h("p", { text: figure.value === null ? `Nothing was measured. ${figure.how}` : figure.how }),
      this.#parts(figure.name),
      inputs(figure.inputs ?? {}),
    );
  }

  /** What a figure is made of, each with its place on the axis. */
  #parts(name) {
    const { turns = [], bargeIns = [], legs = [] } = this.#answer;
    const chips = [];
    if (name.startsWith("turn")) {
      for (const { speechEndedMs, heardMs, latencyMs } of turns) chips.push([speechEndedMs, heardMs, latencyMs === null ? "no answer" : lengthOf(latencyMs)]);
    } else if (name === "bargeInToSilence") {
      for (const { speechBeganMs, silentMs, toSilenceMs } of bargeIns) if (speechBeganMs !== null) chips.push([speechBeganMs, silentMs, lengthOf(toSilenceMs)]);
    } else if (name === "stopAudioToSilence") {
      for (const { stopAudioMs, silentMs } of bargeIns) if (stopAudioMs !== null) chips.push([stopAudioMs, silentMs, lengthOf(silentMs - stopAudioMs)]);
    } else if (["loss", "jitter", "roundTrip", "mos"].includes(name)) {
      return this.#legs(legs);
    }
    if (!chips.length) return null;
    return h("div", { class: "parts", role: "group", "aria-label": "Where it was measured" }, chips.map(([from, to, text]) => this.#chip(from, to, text)));
  }

  #chip(from, to, text) {
    const show = () => {
      const { state } = this;
      const until = to ?? from;
      state.follow(false);
      state.show(new state.scale.constructor(from - AROUND_MS, until + AROUND_MS, state.scale.width).within(state.limits));
      state.choose(to === null ? null : [from, to]);
      state.seek(from);
    };
    return h("button", { type: "button", class: "chip", title: "Show it on the axis", on: { click: show } }, h("strong", { text }), h("span", { class: "faint", text: `at ${clock(from)}` }));
  }

  #legs(legs) {
    const known = legs.filter((leg) => leg.lossPercent !== null || leg.mos !== null);
    if (!known.length) return h("p", { text: "No leg came over a network that could lose packets." });
    const cell = (value, unit) => h("td", { text: value === null || value === undefined ? NONE : `${round(value)}${unit}` });
    const row = (leg) => h("tr", {}, h("th", { scope: "row", text: this.state.model.legName(leg.legId) || leg.rawId }), cell(leg.lossPercent, " %"), cell(leg.jitterMs, " ms"), cell(leg.roundTripMs, " ms"), cell(leg.mosSaid, ""), cell(leg.mosHeard, ""));
    const heads = ["Leg", "Loss", "Jitter", "Round trip", "MOS said", "MOS heard"].map((text) => h("th", { scope: "col", text }));
    return h("div", { class: "legs-table" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, known.map(row))));
  }
}

/** What went into a figure, as plain pairs; nested ones by their group. */
function inputs(values) {
  const groups = [["", Object.entries(values).filter(([, value]) => value === null || typeof value !== "object")]];
  for (const [name, value] of Object.entries(values)) if (value && typeof value === "object") groups.push([name, Object.entries(value)]);
  const filled = groups.filter(([, pairs]) => pairs.length);
  if (!filled.length) return null;
  return h(
    "div",
    { class: "inputs" },
    filled.map(([name, pairs]) =>
      h("div", {}, name && h("h3", { text: name }), h("dl", {}, pairs.map(([key, value]) => h("div", {}, h("dt", { text: worded(key) }), h("dd", { text: plain(value) }))))),
    ),
  );
}

/** "jitterBufferMs" as "jitter buffer ms"; short ones are symbols of the E-model and stay. */
const isEmpty = ({ value }) => value === null || value === undefined;
const worded = (key) => (key.length < 6 ? key : key.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase());
const round = (value) => String(Number(value.toFixed(2)));
const plain = (value) => (value === null ? NONE : typeof value === "number" ? round(value) : typeof value === "object" ? JSON.stringify(value) : String(value));

/** Number and unit as they are shown. @param {Figure} figure @returns {[string, string]} */
function valueOf({ value, unit }) {
  if (value === null || value === undefined) return [NONE, ""];
  if (unit !== "ms") return [unit === "MOS" ? value.toFixed(2) : round(value), unit === "MOS" ? "" : unit];
  const [number, of] = lengthOf(value).split(" ");
  return [number, of ?? ""];
}
