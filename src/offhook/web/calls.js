/** The calls: live ones first with their running time, those that are over below. */

import { ApiError, get, listen } from "./api.js";
import { fill, h, icon, outside } from "./dom.js";
import { duration, identity, moment, shortId } from "./format.js";
import { nodeOption } from "./node_option.js";

const PAGE = 100;
const POLL_MS = 2000;
const TYPING_MS = 200;
const FILTERS = [["", "All"], ["live", "Live"], ["ended", "Ended"]];

/**
 * @typedef {{callId: string, callConnectionId: string | null, direction: "incoming" | "outgoing",
 *   from: {rawId: string, displayName?: string} | null, to: {rawId: string} | null,
 *   state: "ringing" | "connected" | "ended", startedAt: string, answeredAt: string | null, endedAt: string | null,
 *   durationMs: number | null, events: number, legs: number, interrupted: boolean,
 *   result: {code: number, subCode: number, message: string} | null}} Row
 */

/**
 * @param {HTMLElement} page
 * @param {AbortSignal} signal
 */
export default async function mount(page, signal) {
  const asked = new URLSearchParams(location.search);
  const view = { query: asked.get("q") ?? "", state: asked.get("state") ?? "", rows: /** @type {Row[]} */ ([]), more: false };
  const list = h("div", { class: "list" });
  const count = h("p", { class: "count", role: "status" });
  const reload = async () => {
    const { calls } = await get(`calls?${parameters(view)}`, signal);
    view.rows = calls;
    view.more = calls.length >= PAGE;
    draw(list, count, view, older);
  };
  const older = async () => {
    const last = view.rows[view.rows.length - 1];
    const { calls } = await get(`calls?${parameters(view)}&before=${encodeURIComponent(last.callId)}`, signal);
    view.rows = [...view.rows, ...calls.filter((/** @type {Row} */ row) => !view.rows.some((old) => old.callId === row.callId))];
    view.more = calls.length >= PAGE;
    draw(list, count, view, older);
  };
  fill(page, h("div", { class: "page-head" }, h("h1", { tabindex: "-1", text: "Calls" }), count), controls(view, reload), fill(list, skeleton()));
  await reload();
  follow(view, reload, signal);
  const timer = setInterval(() => tick(list), 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** @param {{query: string, state: string}} view */
function parameters(view) {
  const asked = new URLSearchParams({ limit: String(PAGE) });
  if (view.query) asked.set("q", view.query);
  if (view.state) asked.set("state", view.state);
  return asked.toString();
}

/**
 * The search field and the filter; both stay in the address, so that a view can be kept and shared.
 *
 * @param {{query: string, state: string}} view
 * @param {() => Promise<void>} reload
 */
function controls(view, reload) {
  let typing = 0;
  const apply = () => {
    const address = new URLSearchParams();
    if (view.query) address.set("q", view.query);
    if (view.state) address.set("state", view.state);
    const text = address.toString();
    history.replaceState(null, "", `/console/${text ? `?${text}` : ""}`);
    reload().catch(quietly);
  };
  const search = /** @type {HTMLInputElement} */ (
    h("input", { type: "search", id: "search", placeholder: "Number, name or id", autocomplete: "off", spellcheck: "false", "aria-label": "Search calls" })
  );
  search.value = view.query;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      view.query = search.value.trim();
      apply();
    }, TYPING_MS);
  });
  const choices = FILTERS.map(([value, label]) => {
    const box = /** @type {HTMLInputElement} */ (h("input", { type: "radio", name: "state", value }));
    box.checked = view.state === value;
    box.addEventListener("change", () => {
      view.state = value;
      apply();
    });
    return h("label", {}, box, h("span", { text: label }));
  });
  return h("div", { class: "controls", role: "search" },
    h("div", { class: "field search" }, icon("search", 16), search),
    h("fieldset", { class: "segments" }, h("legend", { class: "hidden", text: "Which calls" }), choices));
}

/**
 * Keep the rows fresh: by the node's stream, and by asking while there is none.
 *
 * @param {{query: string, state: string, rows: Row[]}} view
 * @param {() => Promise<void>} reload
 * @param {AbortSignal} signal
 */
function follow(view, reload, signal) {
  let waiting = 0;
  let polling = 0;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => reload().catch(quietly), 150);
  };
  const lost = () => {
    if (!polling) polling = setInterval(soon, POLL_MS);
  };
  const open = () => {
    clearInterval(polling);
    polling = 0;
    soon();
  };
  signal.addEventListener("abort", () => {
    clearTimeout(waiting);
    clearInterval(polling);
  });
  listen("stream", { row: soon }, signal, { lost, open });
}

/** @param {any} error what the connection banner tells already */
function quietly(error) {
  if (!(error instanceof ApiError) && error?.name !== "AbortError") throw error;
}

/** @param {Row} row */
const live = (row) => row.state !== "ended";

/**
 * @param {HTMLElement} list
 * @param {HTMLElement} count
 * @param {{query: string, state: string, rows: Row[], more: boolean}} view
 * @param {() => Promise<void>} older
 */
function draw(list, count, view, older) {
  const rows = view.rows.filter((row) => (view.state === "live" ? live(row) : view.state === "ended" ? !live(row) : true));
  const up = rows.filter(live);
  const over = rows.filter((row) => !live(row));
  const drawn = JSON.stringify([view.state, view.query, view.more, rows]);
  if (drawn === list.dataset.drawn) return; // nobody's place in the list is lost for nothing
  list.dataset.drawn = drawn;
  const text = rows.length ? `${up.length} live, ${over.length}${view.more ? "+" : ""} ended` : "";
  if (count.textContent !== text) count.textContent = text;
  const focused = document.activeElement?.closest("tr")?.dataset.call;
  if (!rows.length) fill(list, view.query || view.state ? nothingFound(view) : noCalls());
  else {
    const more = h("button", { type: "button", class: "button", text: "Show older calls" });
    more.addEventListener("click", () => older().catch(quietly));
    fill(list,
      up.length ? [h("h2", { text: "Live" }), table(up, "Live calls")] : null,
      over.length ? [h("h2", { text: "Ended" }), table(over, "Ended calls")] : null,
      view.more ? more : null);
  }
  if (focused) list.querySelector(`tr[data-call="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
  tick(list);
}

/**
 * @param {Row[]} rows
 * @param {string} caption
 */
function table(rows, caption) {
  const heads = ["From", "To", "Started", "Duration", "Result", "Call"];
  return h("table", { class: "calls", role: "table" },
    h("caption", { class: "hidden", text: caption }),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map((text) => h("th", { scope: "col", role: "columnheader", text })))),
    h("tbody", { role: "rowgroup" }, rows.map(line)));
}

/** @param {Row} row */
function line(row) {
  const running = live(row);
  const cell = (/** @type {string} */ name, /** @type {any[]} */ ...children) => h("td", { role: "cell", class: `cell-${name}` }, ...children);
  const time = h("span", { class: "number", text: duration(row.durationMs) });
  if (running) time.dataset.since = String(Date.parse(row.answeredAt ?? row.startedAt));
  return h("tr", { role: "row", class: running ? "live" : "", data: { call: row.callId } },
    cell("from", h("a", { href: `/console/calls/${encodeURIComponent(row.callId)}`, class: "open" },
      direction(row), who(row.from))),
    cell("to", who(row.to)),
    cell("started", h("time", { datetime: row.startedAt, title: row.startedAt, text: moment(row.startedAt) })),
    cell("duration", time),
    cell("result", result(row)),
    cell("id", h("code", { title: row.callId, text: shortId(row.callId) })));
}

/** @param {Row} row */
function direction(row) {
  const word = row.direction === "incoming" ? "Incoming" : "Outgoing";
  return h("span", { class: `direction ${row.direction}`, title: word }, icon(row.direction, 16), h("span", { class: "hidden", text: `${word}: ` }));
}

/** @param {{rawId: string, displayName?: string} | null | undefined} person */
function who(person) {
  if (!person) return h("span", { class: "faint", text: "–" });
  const id = h("bdi", { class: "clip id", title: person.rawId, text: identity(person.rawId) });
  return h("span", { class: "who" }, person.displayName ? outside(person.displayName, "name") : null, id);
}

/** @param {Row} row */
function result(row) {
  if (row.state === "ringing") return h("span", { class: "tag live", text: "Ringing" });
  if (live(row)) return h("span", { class: "tag live", text: "Connected" });
  if (row.interrupted) return h("span", { class: "tag warn", title: "The node ended before the call did", text: "Interrupted" });
  const { code, subCode, message } = row.result ?? {};
  if (code === undefined || code === null) return h("span", { class: "tag", text: "Ended" });
  const good = code === 200 || code === 0;
  if (good && !row.answeredAt) return h("span", { class: "tag", title: message ?? "", text: "Not answered" });
  return h("span", { class: good ? "tag" : "tag bad", title: message ?? "" }, good ? "Completed" : `${code}${subCode ? `/${subCode}` : ""}`);
}

/** @param {HTMLElement} list */
function tick(list) {
  for (const time of list.querySelectorAll("[data-since]")) {
    time.textContent = duration(Date.now() - Number(/** @type {HTMLElement} */ (time).dataset.since));
  }
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
