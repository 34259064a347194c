/** Chips for the kinds and a search: what the table shows and what the lanes show strongly. */

import { fill, h, icon } from "../dom.js";
import { KINDS, kindOf } from "./kinds.js";
import { swatch } from "./swatch.js";

const TYPING_MS = 120;

export class Filters {
  #key = "";

  /**
   * @param {import("./state.js").ViewState} state
   * @param {import("./frames.js").Frames} frames
   * @param {() => number} count of those that pass
   */
  constructor(state, frames, count) {
    Object.assign(this, { state, count });
    this.search = h("input", { type: "search", placeholder: "Search events", "aria-label": "Search events", spellcheck: "false", autocomplete: "off" });
    let timer = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => state.search(this.search.value), TYPING_MS);
    });
    this.total = h("span", { class: "faint total", role: "status" });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Kinds of events" });
    this.element = h("div", { class: "filters" }, h("div", { class: "field search" }, icon("search", 16), this.search), this.chips, this.total);
    frames.on(["events", "filter"], () => this.#draw());
  }

  #draw() {
    const { state } = this;
    const counts = new Map();
    for (const { kind } of state.model.events) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    const order = Object.keys(KINDS);
    const place = (kind) => (order.includes(kind) ? order.indexOf(kind) : order.length);
    const kinds = [...counts.keys()].sort((a, b) => place(a) - place(b));
    const all = state.model.events.length;
    const shown = this.count();
    this.total.textContent = shown === all ? `${all} events` : `${shown} of ${all} events`;
    const key = kinds.map((kind) => `${kind} ${counts.get(kind)} ${state.kindsOff.has(kind)}`).join();
    if (key === this.#key) return;
    this.#key = key;
    const focused = /** @type {HTMLElement} */ (document.activeElement)?.dataset?.kind;
    fill(this.chips, kinds.map((kind) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          data: { kind },
          "aria-pressed": String(!state.kindsOff.has(kind)),
          on: { click: (event) => this.#toggle(kind, kinds, event) },
          title: "Alt and click: this kind alone",
        },
        swatch(kind),
        kindOf(kind).title,
        h("span", { class: "faint", text: String(counts.get(kind)) }),
      ),
    ));
    if (focused) this.chips.querySelector(`[data-kind="${CSS.escape(focused)}"]`)?.focus();
  }

  #toggle(kind, kinds, event) {
    const { state } = this;
    if (!event.altKey) {
      state.toggle(state.kindsOff, kind);
      return;
    }
    const alone = kinds.every((one) => state.kindsOff.has(one) === (one !== kind));
    for (const one of kinds) {
      if (alone || one === kind) state.kindsOff.delete(one);
      else state.kindsOff.add(one);
    }
    state.frames.touch("filter");
  }
}
