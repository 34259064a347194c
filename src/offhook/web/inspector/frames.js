/** One loop for all that is drawn: what has changed is named, and drawn once in the next frame. */

export class Frames {
  #dirty = new Set();
  #painters = [];
  #waiting = 0;

  /** @param {AbortSignal} signal */
  constructor(signal) {
    signal.addEventListener("abort", () => cancelAnimationFrame(this.#waiting), { once: true });
    this.signal = signal;
  }

  /**
   * @param {string[]} names what it depends on
   * @param {(changed: Set<string>) => void} paint called at most once a frame, in the order of these calls
   */
  on(names, paint) {
    this.#painters.push({ names, paint });
  }

  /** @param {...string} names what has changed */
  touch(...names) {
    for (const name of names) this.#dirty.add(name);
    if (!this.#waiting && !this.signal.aborted) this.#waiting = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const changed = this.#dirty;
    this.#dirty = new Set();
    this.#waiting = 0;
    for (const { names, paint } of this.#painters) if (names.some((name) => changed.has(name))) paint(changed);
  }
}
