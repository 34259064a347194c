/** Plays any stretch of what a leg said or heard, or both (left said, right heard), with the playhead along. */

import { address } from "../api.js";

const MOST_MS = 600000;
export const SPEEDS = [0.5, 1, 2];

export class Player extends EventTarget {
  /** @type {?{leg: string, side: "said" | "heard" | "both"}} */
  source = null;
  speed = 1;
  #audio = new Audio();
  /** @type {?[number, number]} what is loaded, in milliseconds */
  #clip = null;
  #goal = 0;
  #loaded = "";

  /**
   * @param {string} callId
   * @param {import("./state.js").ViewState} state
   * @param {import("./frames.js").Frames} frames
   * @param {AbortSignal} signal
   */
  constructor(callId, state, frames, signal) {
    super();
    Object.assign(this, { callId, state, frames });
    this.#audio.preload = "auto";
    this.#audio.preservesPitch = true;
    this.#audio.addEventListener("ended", () => this.#next());
    this.#audio.addEventListener("error", () => this.#failed());
    for (const name of ["play", "pause"]) this.#audio.addEventListener(name, () => this.#changed());
    signal.addEventListener("abort", () => this.#let(), { once: true });
    frames.on(["playing"], () => this.#along());
  }

  get playing() {
    return !this.#audio.paused;
  }

  /** Whether there is anything to play. */
  get able() {
    return this.source !== null;
  }

  /** From the chosen stretch, or from the playhead to the end of the call. */
  async play() {
    if (!this.source) return;
    const { state } = this;
    const [begin, end] = this.bounds;
    const chosen = state.range;
    let from = chosen ? Math.max(begin, chosen[0]) : state.playhead;
    if (chosen && state.playhead >= chosen[0] && state.playhead < chosen[1] - 20) from = state.playhead;
    this.#goal = chosen ? Math.min(end, chosen[1]) : end;
    if (from >= this.#goal - 1) from = chosen ? chosen[0] : begin;
    await this.#start(Math.max(begin, from));
  }

  pause() {
    this.#audio.pause();
  }

  toggle() {
    if (this.playing) this.pause();
    else void this.play();
  }

  /** The playhead was put elsewhere: go on from there, if playing. */
  moved() {
    if (this.playing && this.#clip && Math.abs(this.#now - this.state.playhead) > 1) void this.play();
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.speed = speed;
    this.#audio.playbackRate = speed;
  }

  /** @param {Player["source"]} source */
  choose(source) {
    const was = this.playing;
    this.pause();
    this.source = source;
    if (was) void this.play();
  }

  /** From when to when the source has sound. @returns {[number, number]} */
  get bounds() {
    const leg = this.state.model.page.legs.find((one) => one.legId === this.source?.leg);
    const tracks = (leg?.audio ?? []).filter(({ side }) => this.source?.side === "both" || side === this.source?.side);
    if (!tracks.length) return [0, 0];
    const ends = tracks.map(({ beginMs, samples, rate }) => beginMs + (samples * 1000) / rate);
    const now = this.state.model.live && leg.leftMs === null ? this.state.model.now() - 500 : -Infinity;
    return [Math.min(...tracks.map(({ beginMs }) => beginMs)), Math.max(...ends, now)];
  }

  get #now() {
    return this.#clip ? this.#clip[0] + this.#audio.currentTime * 1000 : this.state.playhead;
  }

  async #start(from) {
    const to = Math.min(this.#goal, from + MOST_MS);
    const { leg, side } = this.source;
    const asked = new URLSearchParams({ leg, side, fromMs: from.toFixed(3), toMs: to.toFixed(3) });
    const url = address(`calls/${encodeURIComponent(this.callId)}/sound.wav?${asked}`);
    if (url !== this.#loaded) {
      this.#audio.src = url;
      this.#loaded = url;
    }
    this.#clip = [from, to];
    this.#audio.currentTime = 0;
    this.#audio.playbackRate = this.speed;
    try {
      await this.#audio.play();
    } catch (error) {
      if (error.name !== "AbortError") this.#failed();
    }
  }

  /** Nothing is loaded any more, nor is a connection held. */
  #let() {
    this.#loaded = "";
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.#audio.load();
  }

  /** A piece is over; of a live call there may have been less than was asked for. */
  #next() {
    const [begin, end] = this.#clip ?? [0, 0];
    const there = begin + this.#audio.duration * 1000;
    if (there < end - 1) this.#goal = Math.min(this.#goal, there);
    const reached = Math.min(end, there);
    this.state.seek(reached);
    if (reached < this.#goal - 1) void this.#start(reached);
    else this.#changed();
  }

  #failed() {
    if (!this.#loaded) return;
    this.#loaded = "";
    this.dispatchEvent(new CustomEvent("failed"));
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
    if (this.playing) this.frames.touch("playing");
  }

  /** Once a frame while it plays: the playhead goes along, and the view with it. */
  #along() {
    if (!this.playing) return;
    const { state } = this;
    state.playhead = Math.min(this.#now, this.#goal);
    if (state.playhead > state.scale.to || state.playhead < state.scale.from) {
      state.show(state.scale.panned(state.playhead - state.scale.from - state.scale.span * 0.05, state.limits));
    }
    this.frames.touch("playhead", "playing");
  }
}
