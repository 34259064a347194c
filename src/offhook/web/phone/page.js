/** The page of the phone. On a narrow screen the phone itself is shown here; beside it, on a wide one, how to use it. */

import { fill, h } from "../dom.js";

/** @param {HTMLElement} page */
export default function mount(page) {
  const way = (/** @type {string} */ title, /** @type {any[]} */ ...says) => h("section", { class: "panel block" }, h("h2", { text: title }), ...says);
  const code = (/** @type {string} */ text) => h("code", { text });
  fill(page, h("div", { class: "page-head" }, h("h1", { tabindex: "-1", text: "Phone" }), h("p", { class: "count", text: "This browser calls, and is called" })),
    h("div", { class: "setup" },
      way("Call", h("p", {}, "Dial a number or a user id. Any number rings the app that this node knows; a number that a SIP phone has registered rings that phone. Digits that you type in a call are keys.")),
      way("Be called", h("p", {}, "The browser is a user of its own. Its id, and the line of code that calls it, are under the dial pad; ", code("create_call"), " and ", code("add_participant"), " both ring here.")),
      way("When the network goes", h("p", {}, "A call goes on over a lost network: the phone finds its way back by itself, and the node waits 12 seconds for it.")),
      way("Look at a call", h("p", {}, "Each call has an ", h("strong", { text: "Inspect this call" }), " link: what was said and heard, every request and event, on one clock."))));
}
