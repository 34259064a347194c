/**
 * Sound in tiles: what is seen is loaded at the fineness that the pixels need, kept, and let go when long unseen. Level
 * 0 is samples themselves; each further level has a lowest and highest value for 16, 64, 256 … samples. Pure but for
 * the two functions that load.
 */

const BINS = 1024;
const SAMPLES = 16384;
const FINEST = 16;
const FACTOR = 4;
const MOST_TILES = 400;
const MOST_LOADS = 4;
const COARSER = 6;
const STALE_MS = 1000;
const AGAIN_MS = 3000;

/**
 * @typedef {{id: string, leg: string, side: string, track: {beginMs: number, rate: number, samples: number}}} Sounding
 * @typedef {{key: string, level: number, first: number, last: number, lo: ?Float32Array, hi: ?Float32Array, state: "waiting" | "loading" | "there" | "failed", whole: boolean, known: number, peak?: number, asked: number, seen: number, lane: Sounding}} Tile
 */

/** Samples for one value at a level. @param {number} level */
export const binOf = (level) => (level === 0 ? 1 : FINEST * FACTOR ** (level - 1));

/** The coarsest level that is fine enough for so many samples a pixel. */
export function levelFor(samplesPerPx) {
  let level = 0;
  while (binOf(level + 1) <= samplesPerPx) level++;
  return level;
}

export class Tiles {
  /** @type {Map<string, Tile>} oldest use first */
  #tiles = new Map();
  #loading = 0;
  #turn = 0;

  /**
   * @param {{peaks: (lane: Sounding, fromMs: number, toMs: number, bins: number) => Promise<{peaks: number[], to: number}>, samples: (lane: Sounding, fromMs: number, toMs: number) => Promise<Int16Array>}} source
   * @param {() => void} arrived
   */
  constructor(source, arrived) {
    this.source = source;
    this.arrived = arrived;
  }

  /** A frame begins: tiles that are not asked for in it are not loaded next. */
  turn() {
    this.#turn++;
  }

  /**
   * Lowest and highest value of each pixel column; NaN where nothing is known (yet). Whether they are samples.
   *
   * @param {Sounding} lane
   * @param {import("./scale.js").Scale} scale
   * @param {Float32Array} lo as long as the scale is wide
   * @param {Float32Array} hi
   */
  columns(lane, scale, lo, hi) {
    const { beginMs, rate } = lane.track;
    const perPx = (scale.msPerPx * rate) / 1000;
    const level = levelFor(perPx);
    const start = ((scale.from - beginMs) * rate) / 1000;
    let wanted = null;
    let tile = null;
    for (let x = 0; x < lo.length; x++) {
      const first = Math.max(0, Math.floor(start + x * perPx));
      const last = Math.min(Math.max(first + 1, Math.floor(start + (x + 1) * perPx)), lane.track.samples);
      lo[x] = hi[x] = NaN;
      if (start + (x + 1) * perPx <= 0 || first >= lane.track.samples) continue;
      for (let at = first; at < last; at = wanted.last) {
        if (!wanted || at >= wanted.last) {
          wanted = this.#tile(lane, level, at);
          tile = null;
        }
        if (!tile || at >= tile.last) tile = this.#best(lane, wanted, at);
        if (tile) fold(tile, at, last, lo, hi, x);
      }
    }
    return level === 0;
  }

  /**
   * One sample, −1 … 1; NaN while it is not there.
   *
   * @param {Sounding} lane
   * @param {number} n
   */
  sample(lane, n) {
    if (n < 0 || n >= lane.track.samples) return NaN;
    const tile = this.#tile(lane, 0, n);
    return tile.hi ? (tile.hi[n - tile.first] ?? NaN) : NaN;
  }

  /** How many there are. */
  get size() {
    return this.#tiles.size;
  }

  /** Whether all that was asked for since the turn began is there. */
  get settled() {
    return [...this.#tiles.values()].every(
      (tile) => tile.seen !== this.#turn || (tile.state === "there" && tile.known >= Math.min(tile.last, tile.lane.track.samples)),
    );
  }

  /** Load what was asked for since the turn began. */
  flush() {
    this.#load();
  }

  /** The loudest known value of a lane, 0 … 1. @param {Sounding} lane */
  loudest(lane) {
    let most = 0;
    for (const tile of this.#tiles.values()) {
      if (tile.lane.id !== lane.id || !tile.hi || tile.level === 0) continue;
      tile.peak ??= tile.hi.reduce((max, value, n) => Math.max(max, value, -tile.lo[n]), 0);
      most = Math.max(most, tile.peak);
    }
    return most;
  }

  /** Sound has gone on (or is complete now): tiles that were not whole are loaded again. */
  refresh() {
    for (const tile of this.#tiles.values()) if (!tile.whole && tile.state === "there") tile.asked = -Infinity;
  }

  /** The tile itself, or while it is not there a coarser one that has the same sample. */
  #best(lane, wanted, sample) {
    if (wanted.hi) return wanted;
    for (let level = wanted.level + 1; level <= wanted.level + COARSER; level++) {
      const tile = this.#tiles.get(keyOf(lane, level, sample));
      if (tile?.hi) return tile;
    }
    return null;
  }

  /** @returns {Tile} */
  #tile(lane, level, sample) {
    const key = keyOf(lane, level, sample);
    let tile = this.#tiles.get(key);
    if (!tile) {
      const size = sizeOf(level);
      const first = Math.floor(sample / size) * size;
      tile = { key, level, first, last: first + size, lo: null, hi: null, state: "waiting", whole: false, known: 0, asked: 0, seen: 0, lane };
      this.#tiles.set(key, tile);
    }
    if (tile.seen !== this.#turn) {
      tile.seen = this.#turn;
      tile.lane = lane;
      this.#tiles.delete(key);
      this.#tiles.set(key, tile);
    }
    return tile;
  }

  #load() {
    const now = performance.now();
    for (const tile of [...this.#tiles.values()].reverse()) {
      if (this.#loading >= MOST_LOADS || tile.seen !== this.#turn) break;
      const stale = tile.state === "there" && !tile.whole && tile.lane.track.samples > tile.known && now - tile.asked > STALE_MS;
      const again = tile.state === "failed" && now - tile.asked > AGAIN_MS;
      if (tile.state === "waiting" || stale || again) void this.#fetch(tile, now);
    }
    for (const [key, tile] of this.#tiles) {
      if (this.#tiles.size <= MOST_TILES) break;
      if (tile.state !== "loading" && tile.seen !== this.#turn) this.#tiles.delete(key);
      else break;
    }
  }

  /** @param {Tile} tile */
  async #fetch(tile, now) {
    const { lane, level, first } = tile;
    const { beginMs, rate, samples } = lane.track;
    const last = Math.min(tile.last, Math.ceil(samples / binOf(level)) * binOf(level));
    const at = (n) => beginMs + (n * 1000) / rate;
    this.#loading++;
    tile.asked = now;
    tile.state = "loading";
    try {
      if (level === 0) {
        const pcm = await this.source.samples(lane, at(first), at(Math.min(last, samples)));
        tile.lo = tile.hi = Float32Array.from(pcm, (value) => value / 32768);
      } else {
        const bins = (last - first) / binOf(level);
        const { peaks, to } = await this.source.peaks(lane, at(first), at(last), bins);
        tile.lo = Float32Array.from({ length: Math.min(to, bins) }, (_, n) => peaks[2 * n] / 127);
        tile.hi = Float32Array.from({ length: Math.min(to, bins) }, (_, n) => peaks[2 * n + 1] / 127);
      }
      tile.peak = undefined;
      tile.known = first + tile.hi.length * binOf(level); // the node may have less of a live call than this clock says
      tile.whole = tile.known >= tile.last;
      tile.state = "there";
    } catch {
      tile.state = tile.hi ? "there" : "failed";
    } finally {
      this.#loading--;
      this.arrived();
    }
  }
}

/** Take the values of samples first … last (exclusive) of a tile into a column. */
function fold({ level, first: begin, lo: low, hi: high }, first, last, lo, hi, x) {
  const bin = binOf(level);
  const from = Math.floor((first - begin) / bin);
  const to = Math.min(Math.max(from + 1, Math.ceil((last - begin) / bin)), high.length);
  for (let n = from; n < to; n++) {
    if (!(low[n] >= lo[x])) lo[x] = low[n];
    if (!(high[n] <= hi[x])) hi[x] = high[n];
  }
}

const sizeOf = (level) => (level === 0 ? SAMPLES : BINS * binOf(level));
const keyOf = (lane, level, sample) => `${lane.id} ${level} ${Math.floor(sample / sizeOf(level))}`;

/**
 * The samples of a PCM16 mono WAV file.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Int16Array}
 */
export function samplesOfWav(buffer) {
  const view = new DataView(buffer);
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const size = view.getUint32(at + 4, true);
    if (view.getUint32(at, false) === 0x64617461) {
      const count = Math.floor(Math.min(size, view.byteLength - at - 8) / 2);
      return Int16Array.from({ length: count }, (_, n) => view.getInt16(at + 8 + 2 * n, true));
    }
    at += 8 + size + (size % 2);
  }
  throw new Error("not a WAV file: it has no data chunk");
}
