/** What keeps the phone from calling, with its fix and what can be done at once. */

import { fill, h, icon } from "../dom.js";

/**
 * A place for it: drawn only when it is another problem, so that it is read out once.
 *
 * @param {import("./phone.js").Phone} phone
 */
export function problemSpace(phone) {
  const element = h("div", { class: "problem" });
  let shown = "";
  return {
    element,
    update() {
      const key = [phone.problem?.code ?? "", phone.status === "elsewhere", phone.call?.state ?? ""].join();
      if (key !== shown) fill(element, problemBox(phone));
      shown = key;
    },
  };
}

/** @param {import("./phone.js").Phone} phone */
function problemBox(phone) {
  if (phone.status === "elsewhere" && !phone.problem) {
    const here = h("button", { type: "button", class: "button small", text: "Use the phone here", on: { click: () => phone.start({ steal: true }) } });
    return h("div", { class: "note" }, h("p", { text: "The phone is open in another page of this browser." }), here);
  }
  const { problem } = phone;
  if (!problem) return null;
  const retry = problem.silent && ["incoming", "ended"].includes(phone.call?.state ?? "") && silentButton(phone);
  return h("div", { class: "note bad", role: "alert" }, h("p", { class: "note-title" }, icon("warning", 16), h("strong", { text: problem.title })), h("p", { text: problem.fix }), retry);
}

/** @param {import("./phone.js").Phone} phone */
function silentButton(phone) {
  const { call } = phone;
  if (!call) return null;
  const again = () => {
    if (call.state === "incoming") phone.accept({ silent: true });
    else phone.dial(call.peer, { silent: true });
  };
  const words = call.state === "incoming" ? "Answer without a microphone" : "Call without a microphone";
  return h("button", { type: "button", class: "button small", text: words, on: { click: again } });
}
