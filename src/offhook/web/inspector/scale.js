/**
 * The time axis, without drawing: which millisecond is at which pixel, how far one may zoom, where the ticks are.
 * Milliseconds count from the answer and may be negative; pixels are CSS pixels.
 */

export const NARROWEST_MS = 4;
const STEPS = [1, 2, 5];
const TICK_PX = 90;

/** A stretch of time shown over a width. Immutable: zooming and panning give a new one. */
export class Scale {
  /**
   * @param {number} from milliseconds at the left edge
   * @param {number} to milliseconds at the right edge
   * @param {number} width pixels
   */
  constructor(from, to, width) {
    this.from = from;
    this.to = Math.max(to, from + 1e-6);
    this.width = Math.max(1, width);
  }

  get span() {
    return this.to - this.from;
  }

  get msPerPx() {
    return this.span / this.width;
  }

  /** @param {number} ms */
  x(ms) {
    return (ms - this.from) / this.msPerPx;
  }

  /** @param {number} x */
  ms(x) {
    return this.from + x * this.msPerPx;
  }

  /** @param {number} width */
  resized(width) {
    return new Scale(this.from, this.to, width);
  }

  /**
   * Nearer (factor > 1) or farther; what is at `around` stays where it is.
   *
   * @param {number} factor
   * @param {number} around milliseconds
   * @param {[number, number]} limits the whole of it
   */
  zoomed(factor, around, limits) {
    const whole = limits[1] - limits[0];
    const span = Math.min(Math.max(this.span / factor, Math.min(NARROWEST_MS, whole)), whole);
    const from = around - ((around - this.from) / this.span) * span;
    return new Scale(from, from + span, this.width).within(limits);
  }

  /**
   * @param {number} ms how far to the right
   * @param {[number, number]} limits
   */
  panned(ms, limits) {
    return new Scale(this.from + ms, this.to + ms, this.width).within(limits);
  }

  /**
   * The same span with `ms` inside, moved only where it has to be.
   *
   * @param {number} ms
   * @param {[number, number]} limits
   */
  showing(ms, limits) {
    const margin = this.span * 0.08;
    if (ms >= this.from + margin && ms <= this.to - margin) return this;
    return this.panned(ms - (this.from + this.span / 2), limits);
  }

  /** @param {[number, number]} limits */
  within(limits) {
    const span = Math.min(this.span, limits[1] - limits[0]);
    const from = Math.min(Math.max(this.from, limits[0]), limits[1] - span);
    return new Scale(from, from + span, this.width);
  }
}

/**
 * Round times for the axis: the step between ticks, the ticks, and how many small ones lie between two.
 *
 * @param {Scale} scale
 * @returns {{step: number, at: number[], between: number}}
 */
export function ticks(scale) {
  const step = roundStep(scale.msPerPx * TICK_PX);
  const at = [];
  for (let n = Math.ceil(scale.from / step); n * step <= scale.to; n++) at.push(n * step);
  return { step, at, between: step >= 60000 ? 6 : 5 };
}

/** The next of 1, 2, 5, 10 … milliseconds and seconds; then 10, 30 s, whole minutes. */
function roundStep(least) {
  for (const step of [10000, 15000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000]) {
    if (least <= step && least > step / 2 && least > 5000) return step;
  }
  if (least > 5000) return least <= 10000 ? 10000 : Math.ceil(least / 3600000) * 3600000;
  const power = 10 ** Math.floor(Math.log10(least));
  const factor = STEPS.find((n) => n * power >= least);
  return factor ? factor * power : 10 * power;
}

/**
 * A time from the answer as people read it: "0:24.120", "−0:01.41". The finer the step, the more digits.
 *
 * @param {number} ms
 * @param {number} [step] milliseconds between two such labels; 1 by default
 */
export function clock(ms, step = 1) {
  const digits = step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : step >= 1 ? 3 : Math.min(6, 3 + Math.ceil(-Math.log10(step)));
  const whole = Math.abs(Number((ms / 1000).toFixed(digits)));
  const minutes = Math.floor(whole / 60);
  const seconds = (whole - minutes * 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return `${ms < 0 && whole > 0 ? "−" : ""}${minutes}:${seconds}`;
}

/**
 * A length of time: "4.2 ms", "1.84 s", "1:05".
 *
 * @param {number} ms
 */
export function lengthOf(ms) {
  const size = Math.abs(ms);
  if (size < 100) return `${trimmed(ms, size < 10 ? 3 : 1)} ms`;
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 60000) return `${trimmed(ms / 1000, 3)} s`;
  return clock(ms, 1000);
}

function trimmed(value, digits) {
  return String(Number(value.toFixed(digits)));
}
