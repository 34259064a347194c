/** The phone between calls: a field to dial in, the last numbers, and under which identity this browser is called. */

import { copyButton, fill, h, icon } from "../dom.js";
import { identity } from "../format.js";
import { dialpad } from "./dialpad.js";
import { recent } from "./memory.js";
import { DEFAULT_NUMBER } from "./phone.js";
import { problemSpace } from "./problem_box.js";

/** @param {import("./phone.js").Phone} phone */
export function idleView(phone) {
  const field = /** @type {HTMLInputElement} */ (
    h("input", { type: "text", id: "dial", inputmode: "tel", autocomplete: "off", spellcheck: "false", placeholder: DEFAULT_NUMBER, enterkeyhint: "go", dir: "auto", "aria-describedby": "dial-hint" })
  );
  const erase = h("button", { type: "button", class: "button quiet square", "aria-label": "Delete the last digit", on: { click: () => edit(field, field.value.slice(0, -1)) } }, icon("backspace"));
  const call = /** @type {HTMLButtonElement} */ (h("button", { type: "submit", class: "button go wide" }, icon("phone", 16), "Call"));
  const problem = problemSpace(phone);
  const last = h("div", { class: "recent" });
  const mine = h("div", { class: "mine" });
  const form = h("form", { class: "dial", on: { submit: (/** @type {Event} */ event) => {
    event.preventDefault();
    phone.dial(field.value || DEFAULT_NUMBER);
  } } },
    h("label", { for: "dial", text: "Number or user id" }),
    h("div", { class: "field" }, field, erase),
    h("p", { id: "dial-hint", class: "hidden", text: `Left empty, ${DEFAULT_NUMBER} is called, which the app answers` }),
    dialpad((key) => edit(field, field.value + key), "Dial pad"), call);
  const element = h("div", { class: "phone-view" }, problem.element, form, last, mine);
  let shown = "";
  return {
    element,
    update() {
      call.disabled = phone.status !== "ready";
      problem.update();
      const numbers = recent();
      const key = JSON.stringify([numbers, phone.identity]);
      if (key === shown) return;
      shown = key;
      fill(last, numbers.length ? [h("h3", { text: "Recent" }), h("ul", {}, numbers.map((number) => h("li", {}, redial(phone, field, number))))] : null);
      fill(mine, phone.identity ? identityBox(phone.identity) : null);
    },
  };
}

/**
 * @param {import("./phone.js").Phone} phone
 * @param {HTMLInputElement} field
 * @param {string} number
 */
function redial(phone, field, number) {
  const pick = () => {
    edit(field, number);
    phone.dial(number);
  };
  return h("button", { type: "button", class: "button quiet", "aria-label": `Call ${number}`, on: { click: pick } }, icon("outgoing", 14), h("bdi", { class: "clip", title: number, text: identity(number) }));
}

/**
 * @param {HTMLInputElement} field
 * @param {string} text
 */
function edit(field, text) {
  field.value = text;
  field.scrollLeft = field.scrollWidth;
}

/** @param {string} mine */
function identityBox(mine) {
  const snippet = `client.create_call(CommunicationUserIdentifier("${mine}"), callback_url)`;
  return h("details", { class: "identity" },
    h("summary", {}, icon("link", 14), h("span", { text: "Call this browser from your app" })),
    h("p", { class: "faint", text: "This browser is a user of its own:" }),
    h("div", { class: "copyline" }, h("code", { class: "clip", title: mine, text: mine }), copyButton(() => mine, "Copy this browser's user id", { words: "" })),
    h("pre", { class: "command", tabindex: "0", text: snippet.replace(mine, `${mine.slice(0, 14)}…`) }),
    copyButton(() => snippet, "Copy the line of code", { words: "Copy the code" }));
}
