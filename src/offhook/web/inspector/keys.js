/** The inspector's keys, and the page that tells them. */

import { h, icon } from "../dom.js";

const ZOOM = 1.6;
const PAGE_ROWS = 10;

/** What each key does: its names as the browser has them, how it is written, what it is for. */
const KEYS = [
  { keys: [" "], shown: "Space", what: "Play or pause", act: ({ player }) => player.toggle() },
  { keys: ["+", "="], shown: "+", what: "Zoom in", act: ({ state }) => state.zoom(ZOOM) },
  { keys: ["-", "_"], shown: "−", what: "Zoom out", act: ({ state }) => state.zoom(1 / ZOOM) },
  { keys: ["0"], shown: "0", what: "Show the whole call, or the chosen stretch", act: ({ state }) => state.fit() },
  { keys: ["ArrowDown", "ArrowRight"], shown: "↓ →", what: "Next event", act: ({ list }) => list.step(1) },
  { keys: ["ArrowUp", "ArrowLeft"], shown: "↑ ←", what: "Event before", act: ({ list }) => list.step(-1) },
  { keys: ["PageDown"], shown: "Page Down", what: "Ten events on", act: ({ list }) => list.step(PAGE_ROWS) },
  { keys: ["PageUp"], shown: "Page Up", what: "Ten events back", act: ({ list }) => list.step(-PAGE_ROWS) },
  { keys: ["Enter"], shown: "Enter", what: "To the chosen event's data", act: ({ detail }) => detail.querySelector(".detail-body button")?.focus() },
  { keys: ["Home"], shown: "Home", what: "First event", act: ({ list }) => list.step(-list.shown.length) },
  { keys: ["End"], shown: "End", what: "Last event", act: ({ list }) => list.step(list.shown.length) },
  { keys: ["ArrowRight"], shift: true, shown: "Shift →", what: "Later", act: ({ state }) => state.pan(0.2) },
  { keys: ["ArrowLeft"], shift: true, shown: "Shift ←", what: "Earlier", act: ({ state }) => state.pan(-0.2) },
  { keys: ["ArrowDown"], shift: true, shown: "Shift ↓", what: "Measure to the next event", act: ({ list }) => list.step(1, true) },
  { keys: ["ArrowUp"], shift: true, shown: "Shift ↑", what: "Measure to the event before", act: ({ list }) => list.step(-1, true) },
  { keys: [","], shown: ",", what: "Playhead 20 ms back", act: ({ state }) => state.seek(state.playhead - 20) },
  { keys: ["."], shown: ".", what: "Playhead 20 ms on", act: ({ state }) => state.seek(state.playhead + 20) },
  { keys: ["s"], shown: "s", what: "Choose what is shown; again: nothing", act: ({ state }) => state.choose(state.range ? null : [state.scale.from, state.scale.to]) },
  { keys: ["f"], shown: "f", what: "Follow a live call", act: ({ state }) => state.model.live && state.follow(!state.following) },
  { keys: ["/"], shown: "/", what: "Search", act: ({ search }) => search.focus() },
  { keys: ["Escape"], shown: "Esc", what: "Choose nothing", act: ({ state }) => (state.range ? state.choose(null) : state.select(null)) },
  { keys: ["?"], shown: "?", what: "These keys", act: ({ help }) => help() },
];
const MICE = [
  ["Shift click", "Measure from the chosen event to this one"],
  ["Drag on the axis", "Choose a stretch"],
  ["Ctrl wheel, pinch", "Zoom; on the axis the wheel alone"],
  ["Drag, Shift wheel", "Pan"],
  ["Alt click on a kind", "That kind alone"],
];
const OWN_KEYS = "input, select, textarea, [contenteditable], dialog, [popover]";
const PRESSED = "button, a, summary, label";

/**
 * @param {any} parts what the keys act on
 * @param {AbortSignal} signal
 */
export function listenToKeys(parts, signal) {
  const heard = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest(OWN_KEYS) || target.closest("#dock, #top")) return;
    if ([" ", "Enter"].includes(event.key) && target.closest(PRESSED)) return;
    if (target.closest(".json, .lined pre") && event.key.startsWith("Arrow")) return;
    const arrow = event.key.startsWith("Arrow");
    const found = KEYS.find(({ keys, shift = false }) => keys.includes(event.key) && (!arrow || shift === event.shiftKey));
    if (!found) return;
    event.preventDefault();
    found.act(parts);
  };
  document.addEventListener("keydown", heard, { signal });
}

/** The dialog with all keys. */
export function keysDialog() {
  const row = (keys, what) => h("div", {}, h("dt", {}, h("kbd", { text: keys })), h("dd", { text: what }));
  const dialog = h(
    "dialog",
    { class: "keys panel", "aria-labelledby": "keys-title" },
    h("header", {}, h("h2", { id: "keys-title", text: "Keys" }), h("button", { type: "button", class: "button quiet small square", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("cross", 16))),
    h("dl", {}, KEYS.map(({ shown, what }) => row(shown, what)), MICE.map(([shown, what]) => row(shown, what))),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}
