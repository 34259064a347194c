/** How a call is told: its state, who is at the other end, its time. */

import { h, outside } from "../dom.js";
import { duration, identity } from "../format.js";

/** What a call's state is called. */
export const STATES = /** @type {Record<import("./call.js").State, string>} */ ({
  incoming: "Incoming call",
  starting: "Opening the microphone",
  calling: "Calling",
  ringing: "Ringing",
  connecting: "Connecting",
  connected: "Connected",
  reconnecting: "Reconnecting",
  ended: "Call ended",
});

/**
 * Who is at the other end: a name, if there is one, and the number or id.
 *
 * @param {import("./call.js").PhoneCall} call
 */
export function peer(call) {
  const id = h("bdi", { class: "clip", title: call.peer, text: identity(call.peer) });
  return h("div", { class: "peer" }, call.name ? [outside(call.name, "peer-name"), h("span", { class: "faint" }, id)] : h("span", { class: "peer-name" }, id));
}

/**
 * What an app sent along with its call (custom calling context), name by name; null for nothing.
 *
 * @param {import("./call.js").PhoneCall} call
 */
export function context({ context: sent }) {
  const rows = Object.values(sent ?? {}).flatMap((headers) => Object.entries(headers ?? {}));
  if (!rows.length) return null;
  return h("dl", { class: "context", tabindex: "0", role: "group", "aria-label": "Sent along with the call" },
    rows.map(([name, value]) => h("div", {}, h("dt", {}, outside(name)), h("dd", {}, outside(String(value))))));
}

/** @param {import("./call.js").PhoneCall} call */
export const elapsed = (call) => duration(call.lasted ?? (call.began === null ? null : performance.now() - call.began));
