/** The divider between the lanes and the table: dragged, or moved by keys; where it was put is kept. */

import { h } from "../dom.js";
import { keep, kept } from "../storage.js";

const KEPT = "inspector.lanes";
const [LEAST, USUAL, MOST] = [20, 58, 85];
const STEP = 4;

/** What each key makes of the share. @type {Record<string, (share: number) => number>} */
const KEYS = {
  ArrowUp: (share) => share - STEP,
  ArrowDown: (share) => share + STEP,
  Home: () => LEAST,
  End: () => MOST,
  Enter: () => USUAL,
};

/**
 * @param {HTMLElement} upper at most as high as its share, and never higher than its content
 * @param {HTMLElement} lower has the rest
 * @returns {HTMLElement} all three
 */
export function divided(upper, lower) {
  const handle = h("div", {
    class: "divider",
    role: "separator",
    tabindex: "0",
    "aria-orientation": "horizontal",
    "aria-label": "Height of the lanes",
    "aria-valuemin": LEAST,
    "aria-valuemax": MOST,
    title: "Drag, or press ↑ ↓, to share the height between lanes and table; twice: as usual",
  });
  const panes = h("div", { class: "panes" }, upper, handle, lower);
  let share = USUAL;
  const put = (/** @type {number} */ wanted) => {
    share = Math.min(MOST, Math.max(LEAST, Math.round(wanted)));
    panes.style.setProperty("--share", `${share}%`);
    handle.setAttribute("aria-valuenow", String(share));
  };
  const choose = (/** @type {number} */ wanted) => {
    put(wanted);
    keep(KEPT, String(share));
  };
  /** What is seen: content may be lower than its share. */
  const seen = () => (100 * upper.offsetHeight) / panes.offsetHeight;
  put(Number(kept(KEPT)) || USUAL);
  handle.addEventListener("keydown", (event) => {
    const move = KEYS[event.key];
    if (!move) return;
    event.preventDefault();
    choose(move(event.key === "ArrowUp" ? Math.min(share, seen()) : share));
  });
  handle.addEventListener("dblclick", () => choose(USUAL));
  handle.addEventListener("pointerdown", (down) => {
    if (down.button) return;
    down.preventDefault();
    handle.focus({ preventScroll: true });
    handle.setPointerCapture(down.pointerId);
    const [from, whole] = [seen(), panes.offsetHeight];
    const move = (/** @type {PointerEvent} */ event) => choose(from + (100 * (event.clientY - down.clientY)) / whole);
    const end = () => handle.removeEventListener("pointermove", move);
    handle.addEventListener("pointermove", move);
    handle.addEventListener("pointerup", end, { once: true });
    handle.addEventListener("pointercancel", end, { once: true });
  });
  return panes;
}
