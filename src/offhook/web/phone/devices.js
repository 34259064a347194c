/** Which microphone and loudspeaker the phone uses, kept in the browser. */

import { kept, keep } from "./memory.js";

/**
 * @typedef {{microphone: string, speaker: string, processing: boolean}} Choice ids of devices, "" is the system's own;
 *   `processing`: echo cancellation, noise suppression and gain control of the browser
 */

/** @returns {Choice} */
export const choice = () => ({ microphone: "", speaker: "", processing: true, ...kept("devices") });

/** @param {Partial<Choice>} change */
export const choose = (change) => keep("devices", { ...choice(), ...change });

/** Whether a loudspeaker can be chosen here. */
export const canChooseSpeaker = "setSinkId" in HTMLMediaElement.prototype;

/**
 * Devices of both kinds. They have names only after the microphone was allowed once.
 *
 * @returns {Promise<{microphones: MediaDeviceInfo[], speakers: MediaDeviceInfo[]}>}
 */
export async function devices() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const of = (/** @type {string} */ kind) => all.filter((one) => one.kind === kind && one.deviceId && one.deviceId !== "default" && one.deviceId !== "communications");
  return { microphones: of("audioinput"), speakers: of("audiooutput") };
}

/**
 * The chosen microphone; the system's own where the chosen one is gone.
 *
 * @returns {Promise<MediaStream>}
 */
export async function openMicrophone() {
  const { microphone, processing } = choice();
  const how = { echoCancellation: processing, noiseSuppression: processing, autoGainControl: processing };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: microphone ? { ...how, deviceId: { exact: microphone } } : how });
  } catch (error) {
    if (!microphone || !["OverconstrainedError", "NotFoundError"].includes(/** @type {any} */ (error).name)) throw error;
    return navigator.mediaDevices.getUserMedia({ audio: how });
  }
}
