/** The phone as it is seen: a column beside the pages, a page of its own on a narrow screen, a bar while a call is up. */

import { alive, connection } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { identity } from "../format.js";
import { title } from "../title.js";
import { callView } from "./call_view.js";
import { TONES } from "./dialpad.js";
import { idleView } from "./idle_view.js";
import { keep, kept } from "./memory.js";
import { NODE_OFF } from "./problems.js";
import { DEFAULT_NUMBER, Phone } from "./phone.js";
import { soundDevices } from "./settings.js";
import { context, elapsed, peer, STATES } from "./states.js";

const STATUS = /** @type {Record<import("./phone.js").Status, [string, string]>} */ ({
  off: ["", "Off"],
  connecting: ["warn", "Connecting"],
  ready: ["live", "Ready"],
  lost: ["warn", "Reconnecting"],
  elsewhere: ["", "In another page"],
});
const TICK_MS = 250;

/**
 * Put the phone into its places, and start it.
 *
 * @param {{dock: HTMLElement, top: HTMLElement, offered: boolean, navigate: (path: string) => void}} places
 *   `offered`: whether the node takes calls from browsers
 */
export function mountPhone({ dock, top, offered, navigate }) {
  const phone = new Phone();
  if (!offered) phone.problem = NODE_OFF;
  const status = h("span", { class: "tag" });
  const body = h("div", { class: "phone-body" });
  const close = h("button", { type: "button", class: "button quiet square", "aria-label": "Close the phone" }, icon("right"));
  const toggle = h("button", { type: "button", class: "button phone-toggle", "aria-controls": "dock" }, icon("phone", 16), h("span", { text: "Phone" }));
  fill(dock, h("div", { class: "phone-head" }, h("h2", { tabindex: "-1", text: "Phone" }), status, close), body, soundDevices(phone));
  const ring = ringBanner(phone);
  const bar = callBar(phone, navigate);
  top.prepend(toggle);
  document.body.append(ring.element, bar.element);
  dock.hidden = false;

  const show = (/** @type {boolean} */ open) => {
    document.body.dataset.phone = open ? "open" : "closed";
    toggle.setAttribute("aria-expanded", String(open));
    toggle.setAttribute("aria-pressed", String(open));
  };
  const openTo = (/** @type {boolean} */ open) => {
    keep("open", open);
    show(open);
    if (open) focusDial(dock);
    else toggle.focus();
  };
  show(location.pathname.startsWith("/console/phone") || (kept("open") ?? true));
  toggle.addEventListener("click", () => openTo(document.body.dataset.phone !== "open"));
  close.addEventListener("click", () => openTo(false));

  /** @type {{element: HTMLElement, update: () => void} | null} */
  let view = null;
  /** @type {import("./call.js").PhoneCall | null} whose view it is */
  let shown = null;
  const draw = () => {
    const [look, word] = phone.problem?.code === "off" || phone.problem?.code === "insecure" || phone.problem?.code === "webrtc" ? ["bad", "Not available"] : STATUS[phone.status];
    status.className = `tag ${look}`;
    status.textContent = word;
    if (!view || shown !== phone.call) {
      const had = body.contains(document.activeElement);
      shown = phone.call;
      view = shown ? callView(phone) : idleView(phone);
      fill(body, view.element);
      if (had) body.querySelector(/** @type {any} */ ("button:not(:disabled), input"))?.focus({ preventScroll: true });
    }
    view?.update();
    ring.update();
    bar.update();
    title({ call: phone.call?.state === "incoming" ? "Incoming call" : "" });
  };
  phone.addEventListener("change", draw);
  phone.addEventListener("change", () => phone.status === "lost" && connection.up && alive()); // the page tells it then
  connection.addEventListener("change", () => connection.up && phone.signalling.seen());
  setInterval(() => {
    if (phone.call?.state === "connected" || phone.call?.state === "reconnecting") {
      view?.update();
      bar.update();
    }
  }, TICK_MS);
  document.addEventListener("keydown", (event) => typed(phone, event), { capture: true }); // before the keys of a page
  addEventListener("dial", (event) => {
    show(true);
    if (matchMedia("(max-width: 899px)").matches) navigate("/console/phone");
    phone.dial(/** @type {CustomEvent} */ (event).detail || DEFAULT_NUMBER);
  });
  draw();
  if (offered) phone.start();
  return phone;
}

/** @param {HTMLElement} dock */
function focusDial(dock) {
  /** @type {HTMLElement | null} */ (dock.querySelector("input, .phone-body button"))?.focus({ preventScroll: true });
}

/**
 * A digit that is typed anywhere but in a field is a key of the call.
 *
 * @param {Phone} phone
 * @param {KeyboardEvent} event
 */
function typed(phone, event) {
  const field = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable]");
  if (field || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (phone.call?.state === "connected" && TONES.test(event.key)) {
    event.preventDefault();
    phone.call.press(event.key);
  }
}

/**
 * The banner of a call that comes in: over every page.
 *
 * @param {Phone} phone
 */
function ringBanner(phone) {
  const who = h("div", { class: "ring-who" });
  const answer = h("button", { type: "button", class: "button go", on: { click: () => phone.accept() } }, icon("phone", 16), "Answer");
  const decline = h("button", { type: "button", class: "button end", on: { click: () => phone.hangup() } }, icon("hangup", 16), "Decline");
  const element = h("section", { class: "ring", role: "alert", "aria-label": "Incoming call", hidden: true }, who, h("div", { class: "ring-do" }, decline, answer));
  let shown = "";
  return {
    element,
    update() {
      const call = phone.call?.state === "incoming" ? phone.call : null;
      const key = call?.call ?? "";
      if (key === shown) return;
      shown = key;
      element.hidden = !call;
      if (call) fill(who, h("p", { class: "faint", text: "Incoming call" }), peer(call), context(call));
    },
  };
}

/**
 * The call in a bar at the bottom of a narrow screen, while another page is shown.
 *
 * @param {Phone} phone
 * @param {(path: string) => void} navigate
 */
function callBar(phone, navigate) {
  const who = h("span", { class: "clip" });
  const time = h("span", { class: "number" });
  const back = h("button", { type: "button", class: "bar-back", on: { click: () => navigate("/console/phone") } }, icon("phone", 16), h("span", { class: "hidden", text: "Go to the call with" }), who, time);
  const end = h("button", { type: "button", class: "button end square", "aria-label": "Hang up", on: { click: () => phone.hangup() } }, icon("hangup"));
  const element = h("section", { class: "call-bar", "aria-label": "Call under way", hidden: true }, back, end);
  return {
    element,
    update() {
      const { call } = phone;
      element.hidden = !phone.busy || call?.state === "incoming";
      if (element.hidden || !call) return;
      who.textContent = call.name || identity(call.peer);
      time.textContent = call.state === "connected" ? elapsed(call) : STATES[call.state];
    },
  };
}
