/** The phone in a call: who, how it stands, levels both ways, what can be done; afterwards why it ended. */

import { fill, h, icon } from "../dom.js";
import { dialpad, flash } from "./dialpad.js";
import { problemSpace } from "./problem_box.js";
import { context, elapsed, peer, STATES } from "./states.js";

/** @param {import("./phone.js").Phone} phone */
export function callView(phone) {
  const call = /** @type {import("./call.js").PhoneCall} */ (phone.call);
  const state = h("p", { class: "call-state", role: "status", "aria-live": "polite" });
  const time = h("p", { class: "call-time number" });
  const levels = levelMeters(call);
  const quality = h("p", { class: "quality faint number" });
  const keys = keypad(call);
  const buttons = controls(phone, call, keys);
  const after = h("div", { class: "after" });
  const problem = problemSpace(phone);
  const inspect = h("div", { class: "inspect" });
  const card = h("div", { class: "call-card" }, peer(call), state, time, context(call));
  const element = h("div", { class: "phone-view call-view" }, card, problem.element, levels.element, buttons.element, keys.element, quality, after, inspect);
  let ended = false;
  let linked = "";
  return {
    element,
    update() {
      const words = sentence(call);
      if (state.textContent !== words) state.textContent = words;
      time.textContent = call.began === null ? "" : elapsed(call);
      element.dataset.state = call.state;
      levels.element.hidden = call.state === "incoming" || call.state === "ended";
      problem.update();
      buttons.update();
      keys.update();
      quality.textContent = figures(call);
      if (call.callId && call.callId !== linked) {
        linked = call.callId;
        fill(inspect, h("a", { href: `/console/calls/${encodeURIComponent(call.callId)}` }, icon("search", 14), "Inspect this call"));
      }
      if (call.state === "ended" && !ended) {
        ended = true;
        levels.stop();
        fill(after, endedButtons(phone, call));
      }
    },
  };
}

/** @param {import("./call.js").PhoneCall} call */
function sentence(call) {
  if (call.state !== "ended") {
    if (call.state === "connected" && call.held) return "On hold";
    return call.state === "connected" && call.silent ? "Connected, without a microphone" : STATES[call.state];
  }
  const { code, subCode, message, endedBy } = call.result ?? { code: 0, subCode: 0, message: "", endedBy: null };
  if (endedBy === "you") return message;
  const numbers = code ? ` (${code}${subCode ? `/${subCode}` : ""})` : "";
  return `${message || "Call ended"}${numbers}`;
}

/** @param {import("./call.js").PhoneCall} call */
function figures(call) {
  const figure = call.figures;
  if (call.note) return call.note;
  if (!figure || call.state !== "connected") return "";
  const parts = [figure.codec === "OPUS" ? "Opus" : figure.codec, `${figure.lost} lost`, `jitter ${figure.jitterMs} ms`, figure.roundTripMs === null ? "" : `round trip ${figure.roundTripMs} ms`];
  return parts.filter(Boolean).join(" · ");
}

/**
 * Two bars that follow the microphone and what comes in.
 *
 * @param {import("./call.js").PhoneCall} call
 */
function levelMeters(call) {
  const bars = /** @type {const} */ ([["said", "You"], ["heard", "Them"]]).map(([side, label]) => {
    const bar = h("div", { class: "level-bar" });
    const meter = h("div", { class: `level ${side}`, role: "meter", "aria-label": `Level of ${label === "You" ? "your microphone" : "the other side"}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0 }, bar);
    return { side, bar, meter, row: h("div", { class: "level-row" }, h("span", { class: "faint", text: label, "aria-hidden": "true" }), meter) };
  });
  const element = h("div", { class: "levels" }, bars.map(({ row }) => row));
  let running = true;
  let frames = 0;
  const draw = () => {
    if (!running) return;
    frames += 1;
    for (const { side, bar, meter } of bars) {
      const level = call.meters[side]?.level() ?? 0;
      bar.style.transform = `scaleX(${level.toFixed(3)})`;
      if (frames % 15 === 0) meter.setAttribute("aria-valuenow", String(Math.round(level * 100)));
    }
    requestAnimationFrame(draw);
  };
  requestAnimationFrame(draw);
  return {
    element,
    stop() {
      running = false;
    },
  };
}

/** @param {import("./call.js").PhoneCall} call */
function keypad(call) {
  const hide = h("button", { type: "button", class: "button small sheet-close", text: "Hide" });
  const shown = h("output", { class: "pressed number", "aria-label": "Keys pressed" });
  const heard = h("p", { class: "faint" });
  const pad = dialpad((key) => call.press(key), "Keys");
  const element = h("div", { class: "keypad", id: "keypad", hidden: true }, hide, shown, pad, heard);
  const close = () => {
    element.hidden = true;
    call.changed();
  };
  hide.addEventListener("click", close);
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  let before = "";
  return {
    element,
    update() {
      const { pressed, heard: got } = call.keys;
      if (pressed !== before && pressed) flash(pad, pressed[pressed.length - 1]);
      before = pressed;
      shown.textContent = pressed;
      heard.textContent = got ? `The app pressed ${got}` : "";
      heard.hidden = !got;
      if (call.state === "ended") element.hidden = true;
    },
  };
}

/**
 * @param {import("./phone.js").Phone} phone
 * @param {import("./call.js").PhoneCall} call
 * @param {{element: HTMLElement}} keys
 */
function controls(phone, call, keys) {
  const mute = toggle("microphone", "Mute", () => call.mute(!call.muted));
  const hold = toggle("pause", "Hold", () => call.hold(!call.held));
  const pad = toggle("keypad", "Keypad", () => {
    keys.element.hidden = !keys.element.hidden;
    pad.set(!keys.element.hidden, false);
  });
  pad.button.setAttribute("aria-controls", "keypad");
  const answer = h("button", { type: "button", class: "button go wide", on: { click: () => phone.accept() } }, icon("phone", 16), "Answer");
  const word = h("span", { text: "Hang up" });
  const end = h("button", { type: "button", class: "button end wide", on: { click: () => phone.hangup() } }, icon("hangup", 18), word);
  const row = h("div", { class: "call-buttons" }, mute.button, hold.button, pad.button);
  const element = h("div", { class: "call-controls" }, row, answer, end);
  return {
    element,
    update() {
      const up = call.state === "connected" || call.state === "reconnecting";
      element.hidden = call.state === "ended";
      row.hidden = call.state === "incoming";
      answer.hidden = call.state !== "incoming";
      word.textContent = call.state === "incoming" ? "Decline" : "Hang up";
      mute.set(call.muted, call.silent);
      hold.set(call.held, !up);
      pad.set(!keys.element.hidden, call.state !== "connected");
    },
  };
}

/**
 * @param {any} picture
 * @param {string} label
 * @param {() => void} act
 */
function toggle(picture, label, act) {
  const button = /** @type {HTMLButtonElement} */ (
    h("button", { type: "button", class: "button tile", "aria-pressed": "false", on: { click: act } }, icon(picture, 20), h("span", { text: label }))
  );
  return {
    button,
    /**
     * @param {boolean} pressed
     * @param {boolean} disabled
     */
    set(pressed, disabled) {
      button.setAttribute("aria-pressed", String(pressed));
      button.disabled = disabled;
    },
  };
}

/**
 * @param {import("./phone.js").Phone} phone
 * @param {import("./call.js").PhoneCall} call
 */
function endedButtons(phone, call) {
  const again = h("button", { type: "button", class: "button go", on: { click: () => phone.dial(call.peer) } }, icon("phone", 16), "Call again");
  const done = h("button", { type: "button", class: "button", text: "Done", on: { click: () => phone.dismiss() } });
  return [call.peer ? again : null, done];
}
