/** Who comes to a node that is not only for this machine shows the token of its file first. */

import { ApiError, post } from "./api.js";
import { fill, h } from "./dom.js";

/**
 * @param {HTMLElement} page
 * @param {AbortSignal} signal
 */
export default async function mount(page, signal) {
  const field = /** @type {HTMLInputElement} */ (h("input", { type: "password", id: "token", autocomplete: "current-password", required: true, "aria-describedby": "token-problem" }));
  const user = h("input", { type: "text", class: "hidden", autocomplete: "username", value: "console", tabindex: "-1", "aria-hidden": "true", readonly: true });
  const button = /** @type {HTMLButtonElement} */ (h("button", { type: "submit", class: "button primary wide", text: "Log in" }));
  const problem = h("p", { class: "problem-text", id: "token-problem", role: "alert" });
  const form = h("form", { class: "panel login" }, h("h1", { tabindex: "-1", text: "Log in to this node" }),
    h("p", { class: "faint", text: "The token is in the node's file, or where its log says that it was made." }),
    h("div", { class: "setting" }, h("label", { for: "token", text: "Token" }), user, field), problem, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await post("login", { token: field.value }, signal);
      location.assign(wanted()); // a page load: everything is asked anew with the session
    } catch (error) {
      if (!(error instanceof ApiError)) return;
      problem.textContent = error.message;
      button.disabled = false;
      field.select();
    }
  });
  fill(page, form);
  field.focus({ preventScroll: true });
}

/** The page that was asked for before; only one of ours. */
function wanted() {
  const next = new URLSearchParams(location.search).get("next") ?? "";
  return /^\/console\/(?!login)[^\\]*$/.test(next) ? next : "/console/";
}
