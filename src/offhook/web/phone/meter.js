/** The level of a stream, 0 to 1 on a scale of decibels. */

import { audio } from "./tones.js";

const FLOOR_DB = -60;

export class Meter {
  /** @param {MediaStream} stream */
  constructor(stream) {
    const out = audio();
    this.source = out.createMediaStreamSource(stream);
    this.analyser = out.createAnalyser();
    this.analyser.fftSize = 1024;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.source.connect(this.analyser);
    this.held = 0;
  }

  /** The loudest sample of the last moments, falling slowly. */
  level() {
    this.analyser.getFloatTimeDomainData(this.samples);
    let peak = 0;
    for (const sample of this.samples) peak = Math.max(peak, Math.abs(sample));
    const now = peak > 0 ? Math.max(0, 1 - (20 * Math.log10(peak)) / FLOOR_DB) : 0;
    this.held = Math.max(now, this.held * 0.86);
    return this.held < 0.01 ? 0 : this.held;
  }

  close() {
    this.source.disconnect();
  }
}
