/** What keeps a browser from calling, and what to do about it. */

/** @typedef {{code: string, title: string, fix: string, silent?: boolean}} Problem `silent`: a call without a microphone is possible */

/** @type {Record<string, Problem>} */
const PROBLEMS = {
  insecure: {
    code: "insecure",
    title: "This page may not use a microphone",
    fix: "Browsers give microphones to https pages and to localhost only. Open the console at http://localhost with the node's port, or by its https address.",
  },
  webrtc: {
    code: "webrtc",
    title: "This browser has no WebRTC",
    fix: "Use a current Chromium or Firefox. In Firefox, media.peerconnection.enabled must be on in about:config.",
  },
  off: {
    code: "off",
    title: "This node takes no calls from browsers",
    fix: "Start it with browser calls on: offhook dev has them by default, offhook serve with a [webrtc] table in its file.",
  },
  NotAllowedError: {
    code: "blocked",
    title: "The microphone is blocked",
    fix: "Allow it for this address, by the sign beside the address bar, and in the system's privacy settings. Then call again.",
    silent: true,
  },
  NotFoundError: {
    code: "none",
    title: "No microphone was found",
    fix: "Plug one in, or call without one: you hear, and can press keys.",
    silent: true,
  },
  NotReadableError: {
    code: "busy",
    title: "The microphone cannot be opened",
    fix: "Another program may hold it. Close that one, or choose another microphone under Sound devices.",
    silent: true,
  },
};
PROBLEMS.OverconstrainedError = PROBLEMS.NotFoundError;
PROBLEMS.SecurityError = PROBLEMS.NotAllowedError;
PROBLEMS.AbortError = PROBLEMS.NotReadableError;

/**
 * What is wrong with this page before any call; null where nothing is.
 *
 * @returns {Problem | null}
 */
export function pageProblem() {
  if (!("RTCPeerConnection" in window)) return PROBLEMS.webrtc;
  if (!isSecureContext || !navigator.mediaDevices?.getUserMedia) return PROBLEMS.insecure;
  return null;
}

/**
 * What a failure of the microphone means.
 *
 * @param {any} error of getUserMedia
 * @returns {Problem}
 */
export function microphoneProblem(error) {
  return PROBLEMS[error?.name] ?? { code: "other", title: "The call could not be started", fix: String(error?.message ?? error), silent: true };
}

export const NODE_OFF = PROBLEMS.off;
