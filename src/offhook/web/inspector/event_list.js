/**
 * The table of events: only the rows that are seen are in the page, and they are used again. It is what the lanes show,
 * for those who read rather than look.
 */

import { h } from "../dom.js";
import { isBad, kindOf, nameOf } from "./kinds.js";
import { clock } from "./scale.js";
import { swatch } from "./swatch.js";

const MORE_ROWS = 6;

export class EventList {
  /** @type {import("./kinds.js").CallEvent[]} those that pass the filter */
  shown = [];
  #pool = [];
  #rowPx = 30;
  #height = 300;
  #selectedRow = -1;

  /**
   * @param {import("./state.js").ViewState} state
   * @param {import("./frames.js").Frames} frames
   * @param {AbortSignal} signal
   */
  constructor(state, frames, signal) {
    Object.assign(this, { state, frames });
    this.rows = h("div", { class: "event-rows", role: "rowgroup" });
    this.heads = h(
      "div",
      { class: "event-head", role: "rowgroup" },
      h("div", { role: "row", class: "event-row" }, ["Time", "Kind", "Name", "Summary"].map((name) => h("span", { role: "columnheader", class: name.toLowerCase(), text: name }))),
    );
    this.grid = h("div", { class: "event-grid", role: "grid", tabindex: "0", "aria-label": "Events of the call, in order of time", "aria-multiselectable": "false" }, this.heads, this.rows);
    this.none = h("p", { class: "no-events", hidden: true });
    this.element = h("div", { class: "event-list" }, this.grid, this.none);
    this.grid.addEventListener("scroll", () => frames.touch("list"), { passive: true });
    this.rows.addEventListener("click", (event) => this.#pick(event));
    this.#watch(signal);
    frames.on(["events", "filter"], () => this.#filter());
    frames.on(["selection"], () => this.#follow());
    frames.on(["list", "events", "filter", "selection", "list-size"], () => this.#draw());
  }

  #watch(signal) {
    const size = new ResizeObserver(([{ contentRect }]) => {
      this.#height = contentRect.height;
      for (const row of this.#pool) row.index = -1;
      this.#rowPx = Number.parseFloat(getComputedStyle(this.grid).getPropertyValue("--row")) || 30;
      this.frames.touch("list-size");
    });
    size.observe(this.grid);
    signal.addEventListener("abort", () => size.disconnect(), { once: true });
  }

  #filter() {
    const { state } = this;
    this.shown = state.filtering ? state.model.events.filter((event) => state.passes(event)) : state.model.events;
    this.grid.setAttribute("aria-rowcount", String(this.shown.length + 1));
    this.none.hidden = this.shown.length > 0;
    this.none.textContent = state.model.events.length ? "No event passes the filter." : "No events yet.";
  }

  #pick(event) {
    const row = event.target.closest("[data-seq]");
    if (!row) return;
    this.state.select(Number(row.dataset.seq), { reveal: !event.shiftKey, measure: event.shiftKey });
  }

  /** Bring what was selected into view, when it was not. */
  #follow() {
    const index = this.indexOf(this.state.other ?? this.state.selected);
    this.#selectedRow = index;
    if (index < 0) return;
    const [top, head] = [index * this.#rowPx, this.#rowPx];
    const { scrollTop } = this.grid;
    const room = this.#height - head;
    if (top < scrollTop) this.grid.scrollTop = top;
    else if (top + this.#rowPx > scrollTop + room) this.grid.scrollTop = top + this.#rowPx - room;
  }

  /** @param {?number} seq */
  indexOf(seq) {
    return seq === null ? -1 : this.shown.findIndex((event) => event.seq === seq);
  }

  /** The event that comes so many rows after the selected one. @param {number} by */
  step(by, measure = false) {
    const from = this.indexOf(measure ? (this.state.other ?? this.state.selected) : this.state.selected);
    const start = from >= 0 ? from : by > 0 ? -1 : this.shown.length;
    const index = Math.min(Math.max(start + by, 0), this.shown.length - 1);
    const event = this.shown[index];
    if (event) this.state.select(event.seq, { reveal: !measure, measure });
  }

  #draw() {
    const first = Math.max(0, Math.floor(this.grid.scrollTop / this.#rowPx) - MORE_ROWS);
    const count = Math.min(this.shown.length - first, Math.ceil(this.#height / this.#rowPx) + 2 * MORE_ROWS);
    this.rows.style.height = `${this.shown.length * this.#rowPx}px`;
    while (this.#pool.length < count) this.#pool.push(this.#made());
    const size = this.#pool.length;
    for (const [n, row] of this.#pool.entries()) {
      const index = first + ((n - (first % size) + size) % size); // a row keeps its element while it is near
      const event = index < first + count ? this.shown[index] : null;
      row.element.hidden = !event;
      if (event) this.#write(row, event, index);
      else this.#clear(row);
    }
    const current = this.#pool.find((row) => row.index === this.#selectedRow && !row.element.hidden);
    if (current) this.grid.setAttribute("aria-activedescendant", current.element.id);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  #made() {
    const cells = ["time", "kind", "name", "summary"].map((name) => h("span", { role: "gridcell", class: name }));
    const element = h("div", { role: "row", class: "event-row", id: `event-row-${this.#pool.length}` }, cells);
    this.rows.append(element);
    return { element, cells, seq: null, index: -1, swatchKey: "" };
  }

  /** A row that is not needed now says nothing of the event that it had. */
  #clear(row) {
    delete row.element.dataset.seq;
    row.seq = null;
  }

  #write(row, event, index) {
    const { selected, other, model } = this.state;
    const { element, cells } = row;
    if (row.index !== index) {
      element.style.transform = `translateY(${index * this.#rowPx}px)`;
      element.setAttribute("aria-rowindex", String(index + 2));
      row.index = index;
    }
    const chosen = event.seq === selected || event.seq === other;
    if (row.chosen !== chosen) {
      element.setAttribute("aria-selected", String(chosen));
      row.chosen = chosen;
    }
    if (row.seq === event.seq && row.event === event) return;
    row.seq = event.seq;
    row.event = event;
    element.dataset.seq = String(event.seq);
    const bad = isBad(event);
    element.classList.toggle("bad", bad);
    cells[0].textContent = clock(model.moment(event));
    const way = event.detail?.direction ?? null;
    const key = `${event.kind} ${bad} ${way}`;
    if (row.swatchKey !== key) {
      cells[1].replaceChildren(swatch(event.kind, bad, way), kindOf(event.kind).title);
      row.swatchKey = key;
    }
    cells[2].textContent = nameOf(event);
    cells[3].textContent = model.told(event);
  }
}
