/** Tabs (WAI-ARIA APG): arrow keys, Home and End move among them; one panel is shown. */

import { h } from "./dom.js";
import { keep, kept } from "./storage.js";

let made = 0;

/**
 * @param {string} label of the list of tabs
 * @param {{name: string, panel: () => HTMLElement}[]} tabs
 * @param {string} [remembered] key under which the chosen tab is kept
 */
export function tabs(label, tabs, remembered) {
  const set = ++made;
  const buttons = tabs.map(({ name }, at) =>
    /** @type {HTMLButtonElement} */ (h("button", { type: "button", role: "tab", class: "tab", id: `tab-${set}-${at}`, "aria-controls": `panel-${set}-${at}`, text: name })));
  const panels = tabs.map((tab, at) =>
    h("div", { role: "tabpanel", id: `panel-${set}-${at}`, "aria-labelledby": `tab-${set}-${at}`, hidden: true }, tab.panel()));
  const choose = (/** @type {number} */ chosen) => {
    buttons.forEach((button, at) => {
      button.setAttribute("aria-selected", String(at === chosen));
      button.tabIndex = at === chosen ? 0 : -1;
      panels[at].hidden = at !== chosen;
    });
    if (remembered) keep(`tab.${remembered}`, tabs[chosen].name);
  };
  buttons.forEach((button, at) => button.addEventListener("click", () => choose(at)));
  const list = h("div", { role: "tablist", class: "tabs", "aria-label": label }, buttons);
  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(/** @type {any} */ (document.activeElement));
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = (to + buttons.length) % buttons.length;
    choose(next);
    buttons[next].focus();
  });
  const known = tabs.findIndex(({ name }) => remembered && name === kept(`tab.${remembered}`));
  choose(Math.max(0, known));
  return h("div", {}, list, panels);
}
