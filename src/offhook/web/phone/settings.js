/** Sound devices and the caller's name, under the phone. */

import { fill, h, icon } from "../dom.js";
import { canChooseSpeaker, choice, choose, devices } from "./devices.js";

/** @param {import("./phone.js").Phone} phone */
export function soundDevices(phone) {
  const microphone = select("microphone", "Microphone");
  const speaker = select("speaker", "Loudspeaker");
  const processing = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", id: "processing" }));
  const name = /** @type {HTMLInputElement} */ (h("input", { type: "text", id: "display-name", maxlength: 100, autocomplete: "off", dir: "auto", placeholder: "none" }));
  name.value = phone.name;
  processing.checked = choice().processing;
  const apply = () => {
    choose({ microphone: microphone.field.value, speaker: speaker.field.value, processing: processing.checked });
    phone.changeMicrophone();
  };
  microphone.field.addEventListener("change", apply);
  processing.addEventListener("change", apply);
  speaker.field.addEventListener("change", () => {
    choose({ speaker: speaker.field.value });
    phone.call?.useSpeaker(speaker.field.value);
  });
  name.addEventListener("change", () => {
    phone.name = name.value;
  });
  const refresh = async () => {
    const { microphones, speakers } = await devices();
    const chosen = choice();
    options(microphone.field, microphones, chosen.microphone);
    options(speaker.field, speakers, chosen.speaker);
  };
  navigator.mediaDevices?.addEventListener?.("devicechange", refresh);
  const element = h("details", { class: "settings" }, h("summary", {}, icon("settings", 14), h("span", { text: "Sound devices and name" })),
    microphone.row, canChooseSpeaker ? speaker.row : null,
    h("label", { class: "check" }, processing, h("span", { text: "Echo cancellation, noise suppression and gain control" })),
    h("div", { class: "setting" }, h("label", { for: "display-name", text: "Your name, as apps see it" }), name));
  element.addEventListener("toggle", () => refresh());
  return element;
}

/**
 * @param {string} id
 * @param {string} label
 */
function select(id, label) {
  const field = /** @type {HTMLSelectElement} */ (h("select", { id }));
  return { field, row: h("div", { class: "setting" }, h("label", { for: id, text: label }), field) };
}

/**
 * @param {HTMLSelectElement} field
 * @param {MediaDeviceInfo[]} found
 * @param {string} chosen
 */
function options(field, found, chosen) {
  const rows = [["", "The system's own"], ...found.map((one, at) => [one.deviceId, one.label || `Device ${at + 1}`])];
  fill(field, rows.map(([value, text]) => h("option", { value, text })));
  field.value = rows.some(([value]) => value === chosen) ? chosen : "";
}
