/** The twelve keys, as buttons; each says its letters too. */

import { h } from "../dom.js";

const KEYS = [
  ["1", ""], ["2", "ABC"], ["3", "DEF"],
  ["4", "GHI"], ["5", "JKL"], ["6", "MNO"],
  ["7", "PQRS"], ["8", "TUV"], ["9", "WXYZ"],
  ["*", ""], ["0", "+"], ["#", ""],
];
const NAMES = /** @type {Record<string, string>} */ ({ "*": "* star", "#": "# hash" });

export const TONES = /^[0-9*#]$/;

/**
 * @param {(key: string) => void} pressed
 * @param {string} label
 */
export function dialpad(pressed, label) {
  const keys = KEYS.map(([key, letters]) =>
    h("button", { type: "button", class: "key", data: { key }, "aria-label": NAMES[key], on: { click: () => pressed(key) } },
      h("span", { class: "digit", text: key }), h("span", { class: "letters", "aria-hidden": "true", text: letters })));
  return h("div", { class: "pad", role: "group", "aria-label": label }, keys);
}

/**
 * Show a key as pressed for a moment: a digit that was typed.
 *
 * @param {HTMLElement} pad
 * @param {string} key
 */
export function flash(pad, key) {
  const button = pad.querySelector(`[data-key="${CSS.escape(key)}"]`);
  button?.classList.add("down");
  setTimeout(() => button?.classList.remove("down"), 160);
}
