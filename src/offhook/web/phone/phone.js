/** The browser as a telephone: one identity, one socket, one call at a time. Dispatches `change`. */

import { PhoneCall } from "./call.js";
import { keep, kept, remember } from "./memory.js";
import { microphoneProblem, pageProblem } from "./problems.js";
import { Signalling } from "./signalling.js";
import { quiet, sound, wakeOnTouch } from "./tones.js";

/** Who is called when nothing is dialled: the number of the examples, which an app in `dev` answers. */
export const DEFAULT_NUMBER = "+15550100002";
const LOCK = "offhook.phone";
/** How long a call is waited for without a socket: the node lets go of it 12 s after it has noticed. */
const GIVE_UP_MS = 30000;
const SOUNDS = /** @type {Record<string, "ring" | "ringback">} */ ({ incoming: "ring", ringing: "ringback" });

/** @typedef {"off" | "connecting" | "ready" | "lost" | "elsewhere"} Status */

export class Phone extends EventTarget {
  constructor() {
    super();
    /** @type {Status} */
    this.status = "off";
    this.problem = pageProblem();
    this.identity = String(kept("identity") ?? "");
    /** @type {PhoneCall | null} */
    this.call = null;
    this.sounding = "";
    this.giveUp = 0;
    /** @type {RTCIceServer[]} */
    this.iceServers = [];
    /** @type {(() => void) | null} */
    this.release = null;
    const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/console/api/phone`;
    this.signalling = new Signalling(url, () => kept("session"), {
      ready: (message) => this.ready(message),
      message: (message) => this.take(message),
      lost: () => this.lost(),
      replaced: () => this.replaced(),
    });
    wakeOnTouch();
    addEventListener("online", () => this.call?.restart());
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.call?.unplugged && this.changeMicrophone());
    addEventListener("beforeunload", (event) => {
      if (this.busy && this.call?.state !== "incoming") event.preventDefault(); // the call would end with the page
    });
    addEventListener("pagehide", () => this.stop());
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.start();
    });
  }

  /** The name that apps see. */
  get name() {
    return String(kept("name") ?? "");
  }

  set name(name) {
    keep("name", name.trim().slice(0, 100));
  }

  /** Whether a call is up or under way. */
  get busy() {
    return this.call !== null && this.call.state !== "ended";
  }

  /**
   * Be reachable. One page of a browser is the phone; another takes it over with `steal`.
   *
   * @param {{steal?: boolean}} [how]
   */
  async start({ steal = false } = {}) {
    if (this.problem && !this.problem.silent) return;
    if (!navigator.locks) {
      this.open();
      return;
    }
    this.become("elsewhere");
    try {
      await navigator.locks.request(LOCK, { steal }, () => {
        this.open();
        return new Promise((resolve) => {
          this.release = () => resolve(undefined);
        });
      });
    } catch {
      this.close(); // another page took it
      this.start(); // and gives it back when it is closed
    }
  }

  open() {
    this.become("connecting");
    this.signalling.start();
  }

  /** The page goes: a call ends at once. */
  stop() {
    this.close();
    this.release?.();
    this.release = null;
    this.become("off");
  }

  close() {
    this.signalling.stop();
    if (this.busy) this.call?.end({ code: 0, subCode: 0, message: "The phone went to another page", endedBy: "you" });
  }

  /**
   * @param {string} to
   * @param {{silent?: boolean}} [how]
   */
  async dial(to, how = {}) {
    const number = dialled(to);
    if (!number || this.busy || this.status !== "ready") return;
    remember(to.trim());
    this.use(new PhoneCall(this.signalling, { iceServers: this.iceServers, peer: number }));
    await this.begin(how);
  }

  /** @param {{silent?: boolean}} [how] */
  async accept(how = {}) {
    if (this.call?.state === "incoming") await this.begin(how);
  }

  /** @param {{silent?: boolean}} how */
  async begin(how) {
    this.problem = null;
    const call = this.call;
    try {
      await call?.start({ ...how, displayName: this.name });
    } catch (error) {
      this.problem = microphoneProblem(error);
      if (call && !call.incoming) call.end({ code: 0, subCode: 0, message: this.problem.title, endedBy: "you" });
    }
    this.changed();
  }

  hangup() {
    this.problem = null;
    this.call?.hangup();
  }

  /** Take the microphone that is chosen now, or that is left. */
  async changeMicrophone() {
    try {
      await this.call?.changeMicrophone();
      this.problem = null;
    } catch (error) {
      this.problem = microphoneProblem(error);
    }
    this.changed();
  }

  /** Go back to the dial field. */
  dismiss() {
    if (!this.busy) this.call = null;
    this.problem = pageProblem();
    this.changed();
  }

  /** @param {any} message */
  ready(message) {
    clearTimeout(this.giveUp);
    this.identity = message.identity;
    keep("identity", message.identity);
    keep("session", { session: message.session, secret: message.secret });
    this.iceServers = message.iceServers ?? [];
    const going = new Map((message.calls ?? []).map((/** @type {any} */ one) => [one.call, one]));
    const call = this.call;
    const stands = going.get(call?.call);
    this.signalling.forget(); // how things stand now is told below
    if (this.busy && call?.call && !stands) {
      call.end({ code: 0, subCode: 0, message: "The node ended the call while it could not be reached", endedBy: null });
    } else if (this.busy && stands?.state === "connected") call?.answered();
    else if (this.busy && call?.state === "connecting" && call.incoming) call.accept({ restart: true });
    for (const other of going.keys()) if (!this.busy || other !== call?.call) this.signalling.send({ kind: "hangup", call: other });
    if (this.busy && stands && call?.held !== stands.held) this.signalling.send({ kind: "hold", call: call?.call, held: call?.held });
    this.become("ready");
    call?.restart();
  }

  /** @param {any} message */
  take(message) {
    const { call } = this;
    if (message.kind === "invite") this.invited(message);
    else if (message.kind === "servers") this.iceServers = message.iceServers;
    else if (message.kind === "error" && message.about === "dial") this.refused(message);
    else if (call && (message.call === call.call || (message.kind === "placed" && !call.call))) call.take(message).catch((error) => call.fail(error));
  }

  /** @param {any} message */
  invited(message) {
    if (this.busy) {
      this.signalling.send({ kind: "decline", call: message.call });
      return;
    }
    const about = { iceServers: this.iceServers, peer: message.from ?? "", name: message.displayName ?? "", context: message.customContext };
    this.problem = null;
    this.use(new PhoneCall(this.signalling, { ...about, call: message.call, callId: message.callId, incoming: true }));
  }

  /** @param {any} message why the node cannot place our call */
  refused(message) {
    if (this.busy && !this.call?.call) this.call?.end({ code: 0, subCode: 0, message: message.message, endedBy: null });
  }

  /** Another page has shown our secret: it is the phone now. */
  replaced() {
    this.release?.();
    this.release = null;
    this.close();
    this.become("elsewhere");
  }

  lost() {
    this.call?.lost();
    this.signalling.forget();
    const unreachable = () => this.busy && this.call?.end({ code: 0, subCode: 0, message: "The node could not be reached", endedBy: null });
    if (!this.call?.call) unreachable();
    clearTimeout(this.giveUp);
    this.giveUp = setTimeout(unreachable, GIVE_UP_MS);
    this.become("lost");
  }

  /** @param {PhoneCall} call */
  use(call) {
    this.call = call;
    call.addEventListener("change", () => this.changed());
    call.addEventListener("unplugged", () => this.changeMicrophone());
    this.changed();
  }

  /** @param {Status} status */
  become(status) {
    this.status = status;
    this.changed();
  }

  changed() {
    const wanted = SOUNDS[this.call?.state ?? ""] ?? "";
    if (wanted !== this.sounding) {
      this.sounding = wanted;
      if (wanted) sound(wanted);
      else quiet();
    }
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * What was typed, as the node takes it: a raw id as it is, a number without its spaces and signs.
 *
 * @param {string} text
 */
export function dialled(text) {
  const typed = text.trim();
  if (/^(4:|8:|28:)/.test(typed)) return typed;
  const number = typed.replace(/[\s().\/-]/g, "");
  return /^\+?[0-9*#]+$/.test(number) ? number : typed;
}
