/** The calls: live ones first with their running time, those that are over below, newest first. */

import { ApiError, get, listen } from "./api.js";
import { CallTable, live } from "./call_table.js";
import { fill, h, icon } from "./dom.js";
import { nodeOption } from "./node_option.js";

const PAGE = 100;
const MOST = 500;
const POLL_MS = 2000;
const TYPING_MS = 200;
const SOON_MS = 150;
const FILTERS = [["", "All"], ["live", "Live"], ["ended", "Ended"]];

/**
 * @typedef {import("./call_table.js").Row} Row
 * @typedef {{query: string, state: string, live: Row[], ended: Row[], more: boolean}} View `more`: there are older ones
 */

/**
 * @param {HTMLElement} page
 * @param {AbortSignal} signal
 */
export default async function mount(page, signal) {
  const asked = new URLSearchParams(location.search);
  /** @type {View} */
  const view = { query: asked.get("q") ?? "", state: FILTERS.find(([value]) => value === asked.get("state"))?.[0] ?? "", live: [], ended: [], more: false };
  const count = h("p", { class: "count", role: "status" });
  const list = h("div", { class: "list" }, skeleton());
  const calls = new Calls(view, signal, () => shown(view));
  const shown = parts(list, count, () => calls.older().catch(quietly));
  const head = h("div", { class: "page-head" }, h("h1", { tabindex: "-1", text: "Calls" }), count);
  fill(page, head, controls(view, () => calls.anew(), signal), list);
  await calls.load(Number(history.state?.rows) || PAGE);
  calls.follow();
  const timer = setInterval(() => shown.tick(), 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** The rows of a view, kept as the node has them. */
class Calls {
  #round = 0;
  #search = 0;
  #loading = false;
  #waiting = 0;
  #polling = 0;
  #due = 0;

  /**
   * @param {View} view
   * @param {AbortSignal} signal
   * @param {() => void} changed
   */
  constructor(view, signal, changed) {
    this.view = view;
    this.signal = signal;
    this.changed = changed;
    signal.addEventListener("abort", () => {
      clearTimeout(this.#waiting);
      clearInterval(this.#polling);
      cancelAnimationFrame(this.#due);
    });
  }

  /** @param {number} [rows] how many of those that are over, at least */
  async load(rows = this.view.ended.length) {
    const { view } = this;
    const round = ++this.#round;
    const most = Math.max(PAGE, Math.min(rows, MOST));
    this.#loading = true;
    const [up, over] = await Promise.all([
      view.state === "ended" ? [] : this.#ask("live", MOST),
      view.state === "live" ? [] : this.#ask("ended", most),
    ]).finally(() => (this.#loading &&= round !== this.#round));
    if (round !== this.#round) return; // another was asked for meanwhile
    const known = new Set(over.map((row) => row.callId));
    const [last, full] = [over[over.length - 1], over.length >= most];
    const older = full ? view.ended.filter((row) => row.startedAt <= last.startedAt && !known.has(row.callId)) : [];
    view.live = up;
    view.ended = [...over, ...older];
    view.more = full && (view.more || !older.length);
    this.changed();
  }

  /** Another search, or another filter. */
  anew() {
    this.#search += 1;
    Object.assign(this.view, { live: [], ended: [], more: false });
    this.load().catch(quietly);
  }

  async older() {
    const { view } = this;
    const search = this.#search;
    const last = view.ended[view.ended.length - 1];
    const rows = await this.#ask("ended", PAGE, last.callId);
    if (search !== this.#search) return;
    const known = new Set(view.ended.map((row) => row.callId)); // the button may be pressed twice
    view.ended = [...view.ended, ...rows.filter((row) => !known.has(row.callId))];
    view.more = rows.length >= PAGE;
    history.replaceState({ ...history.state, rows: view.ended.length }, "");
    this.changed();
  }

  /**
   * @param {"live" | "ended"} state
   * @param {number} limit
   * @param {string} [before]
   * @returns {Promise<Row[]>}
   */
  async #ask(state, limit, before) {
    const asked = new URLSearchParams({ state, limit: String(limit) });
    if (this.view.query) asked.set("q", this.view.query);
    if (before) asked.set("before", before);
    return (await get(`calls?${asked}`, this.signal)).calls;
  }

  /** Keep the rows fresh: by the node's stream, and by asking while there is none. */
  follow() {
    const lost = () => {
      if (!this.#polling) this.#polling = setInterval(() => this.#soon(), POLL_MS);
    };
    const open = () => {
      clearInterval(this.#polling);
      this.#polling = 0;
      this.#soon();
    };
    listen("stream", { row: (row) => this.#row(row) }, this.signal, { lost, open });
  }

  #soon() {
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.load().catch(quietly), SOON_MS);
  }

  /** @param {Row} row that has changed */
  #row(row) {
    const { view } = this;
    if (view.query || this.#loading) {
      this.#soon(); // only the node knows what is found; and what comes may be older than this
      return;
    }
    const others = (/** @type {Row[]} */ rows) => rows.filter((one) => one.callId !== row.callId);
    [view.live, view.ended] = [others(view.live), others(view.ended)];
    const place = live(row) ? "live" : "ended";
    const oldest = view.ended[view.ended.length - 1];
    const beyond = place === "ended" && view.more && oldest && row.startedAt < oldest.startedAt;
    if ((!view.state || view.state === place) && !beyond) {
      const at = view[place].findIndex((one) => one.startedAt <= row.startedAt);
      view[place].splice(at < 0 ? view[place].length : at, 0, row);
    }
    this.#due ||= requestAnimationFrame(() => {
      this.#due = 0;
      this.changed(); // once for all rows that come together
    });
  }
}

/**
 * The search field and the filter; both stay in the address, so that a view can be kept and shared.
 *
 * @param {View} view
 * @param {() => void} apply
 * @param {AbortSignal} signal
 */
function controls(view, apply, signal) {
  let typing = 0;
  signal.addEventListener("abort", () => clearTimeout(typing));
  const changed = () => {
    const address = new URLSearchParams();
    if (view.query) address.set("q", view.query);
    if (view.state) address.set("state", view.state);
    const text = address.toString();
    history.replaceState(null, "", `/console/${text ? `?${text}` : ""}`);
    apply();
  };
  const search = /** @type {HTMLInputElement} */ (
    h("input", { type: "search", id: "search", placeholder: "Number, name or id", autocomplete: "off", spellcheck: "false", maxlength: 200, "aria-label": "Search calls" })
  );
  search.value = view.query;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      view.query = search.value.trim();
      changed();
    }, TYPING_MS);
  });
  const choices = FILTERS.map(([value, label]) => {
    const box = /** @type {HTMLInputElement} */ (h("input", { type: "radio", name: "state", value }));
    box.checked = view.state === value;
    box.addEventListener("change", () => {
      view.state = value;
      changed();
    });
    return h("label", {}, box, h("span", { text: label }));
  });
  return h("div", { class: "controls", role: "search" },
    h("div", { class: "field search" }, icon("search", 16), search),
    h("fieldset", { class: "segments" }, h("legend", { class: "hidden", text: "Which calls" }), choices));
}

/** @param {any} error what the connection banner tells already */
function quietly(error) {
  if (!(error instanceof ApiError) && error?.name !== "AbortError") throw error;
}

/**
 * What draws a view.
 *
 * @param {HTMLElement} list
 * @param {HTMLElement} count
 * @param {() => void} older
 */
function parts(list, count, older) {
  const [up, over] = [new CallTable("Live"), new CallTable("Ended")];
  const more = h("button", { type: "button", class: "button", text: "Show older calls", on: { click: older } });
  const nothing = h("div", {});
  let without = "";
  const draw = (/** @type {View} */ view) => {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest("tr[data-call]"))?.dataset.call;
    if (!up.element.isConnected) fill(list, up.element, over.element, more, nothing);
    up.draw(view.live);
    over.draw(view.ended);
    more.hidden = !view.more;
    const [some, all] = [view.live.length, view.ended.length];
    const plus = (/** @type {boolean} */ further) => (further ? "+" : "");
    const text = some + all ? `${some}${plus(some >= MOST)} live, ${all}${plus(view.more)} ended` : "";
    if (count.textContent !== text) count.textContent = text;
    nothing.hidden = some + all > 0;
    const key = JSON.stringify([view.query, view.state]);
    if (!nothing.hidden && key !== without) fill(nothing, view.query || view.state ? nothingFound(view) : noCalls());
    without = nothing.hidden ? "" : key;
    if (focused && document.activeElement === document.body) over.focus(focused); // it has ended
  };
  return Object.assign(draw, { tick: () => up.tick() });
}

function skeleton() {
  return h("div", { class: "skeleton", role: "status" }, h("span", { class: "hidden", text: "Calls are being read" }),
    [0, 1, 2, 3, 4].map(() => h("div", { class: "bone" })));
}

/** @param {{query: string, state: string}} view */
function nothingFound(view) {
  const what = view.query ? `No ${view.state || ""} call matches “${view.query}”`.replace("  ", " ") : `No ${view.state} call`;
  return h("div", { class: "empty" }, icon("search", 28), h("h2", { text: what }),
    h("p", { text: "Numbers, names, call ids and connection ids are searched." }));
}

function noCalls() {
  const commands = h("pre", { class: "command", tabindex: "0", text: "offhook exec -- python app.py\noffhook call --to +15550100002 --tone 440" });
  const told = (/** @type {any} */ setup) => {
    commands.textContent = commands.textContent.replaceAll(/exec|call/g, (command) => command + nodeOption(setup));
  };
  get("setup").then(told).catch(quietly);
  return h("div", { class: "empty" }, icon("phone", 28), h("h2", { text: "No calls yet" }),
    h("p", { text: "Start your app with the node's settings, then call it: with the phone here, or from a second terminal." }),
    commands,
    h("p", { class: "faint" }, "No app yet? ", h("code", { text: "offhook echo" }), " in its place answers and says back what it hears."),
    h("button", { type: "button", class: "button go", on: { click: () => dispatchEvent(new CustomEvent("dial", { detail: "" })) } }, icon("phone", 16), "Call the app"));
}
