/** The strip of figures: a number each, and on a press how it was measured and what it was made of. */

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { clock, lengthOf } from "./scale.js";

const NONE = "–";

export class Figures {
  #open = null;

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
    } catch (error) {
      if (signal.aborted) return;
      this.draw(null);
    }
  }

  draw(figures) {
    fill(this.list, []);
  }
}
