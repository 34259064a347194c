/** Draws sound and what it waits in: waveforms with their cuts, and the depth of buffers. */

import { lengthOf } from "./scale.js";

const SILENT_PEAK = 1.01 / 127;
const SILENT_SAMPLE = 16 / 32768;
const HEADROOM = 0.9;
const CUT_PX = 14;

/**
 * @typedef {object} Scene what a painter draws with
 * @property {CanvasRenderingContext2D} paper
 * @property {import("./scale.js").Scale} scale
 * @property {number} height
 * @property {import("./palette.js").Palette} palette
 * @property {import("./tiles.js").Tiles} tiles
 * @property {Float32Array} lo
 * @property {Float32Array} hi
 * @property {number} gain
 */

/**
 * A waveform. Where nothing was said there is a dotted line; where nothing is known, nothing.
 *
 * @param {Scene} scene
 * @param {any} lane
 * @param {Array<{atMs: number, cutMs: number, seq: number}>} cuts
 * @param {?number} selected seq
 */
export function paintWave(scene, lane, cuts, selected) {
  for (const cut of cuts) paintCut(scene, cut, cut.seq === selected);
  const { paper, scale, height, palette } = scene;
  const colour = palette.get(lane.side);
  const perPx = (scale.msPerPx * lane.track.rate) / 1000;
  if (perPx < 0.5) paintSamples(scene, lane, colour);
  else paintColumns(scene, lane, colour);
  for (const cut of cuts) markCut(scene, cut, cut.seq === selected);
  if (lane.leftX !== undefined) paper.clearRect(lane.leftX, 0, scale.width, height);
}

function paintColumns({ paper, scale, height, palette, tiles, lo, hi, gain }, lane, colour) {
  const exact = tiles.columns(lane, scale, lo, hi);
  const most = exact ? SILENT_SAMPLE : SILENT_PEAK;
  const isSilent = (x) => hi[x] <= most && lo[x] >= -most;
  const mid = height / 2;
  const size = mid * HEADROOM * gain;
  const y = (value) => mid - Math.max(-mid + 1, Math.min(mid - 1, value * size));
  const silent = new Path2D();
  const loud = new Path2D();
  for (let x = 0; x < lo.length; ) {
    const from = x;
    if (Number.isNaN(lo[x])) {
      x++;
    } else if (isSilent(x)) {
      while (x < lo.length && isSilent(x)) x++;
      silent.moveTo(from, mid);
      silent.lineTo(x, mid);
    } else {
      while (x < lo.length && lo[x] <= hi[x] && !isSilent(x)) x++;
      outline(loud, lo, hi, from, x, y);
    }
  }
  paper.strokeStyle = palette.get("faint");
  paper.globalAlpha = 0.55;
  paper.setLineDash([1, 3]);
  paper.stroke(silent);
  paper.setLineDash([]);
  paper.globalAlpha = 1;
  paper.fillStyle = colour;
  paper.fill(loud);
}

/** The shape between the highest and the lowest values of some columns, at least a pixel thick. */
function outline(path, lo, hi, from, to, y) {
  path.moveTo(from, y(hi[from]) - 0.5);
  for (let x = from; x < to; x++) {
    path.lineTo(x, y(hi[x]) - 0.5);
    path.lineTo(x + 1, y(hi[x]) - 0.5);
  }
  for (let x = to - 1; x >= from; x--) {
    path.lineTo(x + 1, y(lo[x]) + 0.5);
    path.lineTo(x, y(lo[x]) + 0.5);
  }
  path.closePath();
}

/** Single samples, joined; with dots where there is room. */
function paintSamples({ paper, scale, height, tiles, gain }, lane, colour) {
  const { beginMs, rate } = lane.track;
  const mid = height / 2;
  const first = Math.floor(((scale.from - beginMs) * rate) / 1000) - 1;
  const last = Math.ceil(((scale.to - beginMs) * rate) / 1000) + 1;
  const path = new Path2D();
  const dots = new Path2D();
  const apart = 1000 / rate / scale.msPerPx;
  let drawing = false;
  for (let n = first; n <= last; n++) {
    const value = tiles.sample(lane, n);
    const [x, y] = [scale.x(beginMs + (n * 1000) / rate), mid - value * mid * HEADROOM * gain];
    if (Number.isNaN(value)) drawing = false;
    else if (drawing) path.lineTo(x, y);
    else path.moveTo(x, y);
    drawing = !Number.isNaN(value);
    if (drawing && apart >= 5) dots.rect(x - 1.5, y - 1.5, 3, 3);
  }
  paper.strokeStyle = paper.fillStyle = colour;
  paper.lineWidth = 1.4;
  paper.stroke(path);
  paper.fill(dots);
  paper.lineWidth = 1;
}

/** How long what StopAudio cut would have gone on: a hatched band, for there may be other sound in the meantime. */
function paintCut({ paper, scale, height, palette }, { atMs, cutMs }, selected) {
  const [from, to] = [scale.x(atMs), scale.x(atMs + cutMs)];
  if (to < 0 || from > scale.width) return;
  paper.globalAlpha = selected ? 0.8 : 0.5;
  paper.fillStyle = palette.hatch(paper, "--kind-stop");
  paper.fillRect(from, height - CUT_PX, Math.max(2, to - from), CUT_PX);
  paper.globalAlpha = 1;
}

/** A line over the wave at the sample at which it ends, and how much was cut. */
function markCut({ paper, scale, palette, height }, { atMs, cutMs }, selected) {
  const [from, to] = [scale.x(atMs), scale.x(atMs + cutMs)];
  if (to < 0 || from > scale.width) return;
  paper.fillStyle = palette.get("--kind-stop");
  paper.fillRect(from - 0.75, 0, selected ? 2.5 : 1.5, height);
  const text = `cut ${lengthOf(cutMs)}`;
  const width = paper.measureText(text).width + 8;
  const x = Math.max(from + 4, 4);
  if (x + width > Math.max(to, from + 140) || to - from < 24) return;
  paper.fillStyle = palette.get("surface");
  paper.fillRect(x, height - CUT_PX, width, CUT_PX);
  paper.fillStyle = palette.get("--kind-stop");
  paper.fillText(text, x + 4, height - CUT_PX / 2);
}

/**
 * A depth over time, as an area with its greatest value named; lost packets stand below, late ones hang from above.
 *
 * @param {Scene} scene
 * @param {any} lane
 * @param {{stepMs: number, startMs: number}} series
 */
export function paintArea(scene, lane, series) {
  const { paper, scale, height, palette } = scene;
  const most = roundUp(greatest(lane.values));
  const base = height - 3;
  const y = (value) => base - (value / most) * (height - 10);
  const colour = palette.get(lane.colour);
  const [area, line] = depth(scene, lane.values, series, y, base);
  paper.strokeStyle = palette.get("grid");
  paper.beginPath();
  for (const value of [most, most / 2]) {
    paper.moveTo(0, Math.round(y(value)) + 0.5);
    paper.lineTo(scale.width, Math.round(y(value)) + 0.5);
  }
  paper.stroke();
  paper.fillStyle = paper.strokeStyle = colour;
  paper.globalAlpha = 0.22;
  paper.fill(area);
  paper.globalAlpha = 1;
  paper.lineWidth = 1.3;
  paper.stroke(line);
  paper.lineWidth = 1;
  if (lane.lost) bars(scene, lane.lost, series, palette.get("bad"), base, -1);
  if (lane.late) bars(scene, lane.late, series, palette.get("warn"), 1, 1);
  label(scene, lengthOf(most), Math.max(6, y(most) + 1));
}

/** Area and line of the values, one point a pixel at most: the greatest of those that share one. */
function depth({ scale }, values, { stepMs, startMs }, y, base) {
  const [area, line] = [new Path2D(), new Path2D()];
  const first = Math.max(0, Math.floor((scale.from - startMs) / stepMs) - 1);
  const last = Math.min(values.length, Math.ceil((scale.to - startMs) / stepMs) + 1);
  const perPx = Math.max(1, Math.floor(scale.msPerPx / stepMs));
  let open = false;
  let x = 0;
  for (let n = first; n < last; n += perPx) {
    let value = null;
    for (let m = n; m < Math.min(n + perPx, last); m++) if (values[m] !== null && (value === null || values[m] > value)) value = values[m];
    if (value === null) {
      if (open) area.lineTo(x, base);
      open = false;
      continue;
    }
    x = scale.x(startMs + n * stepMs);
    if (!open) area.moveTo(x, base);
    line[open ? "lineTo" : "moveTo"](x, y(value));
    area.lineTo(x, y(value));
    open = true;
  }
  if (open) area.lineTo(x, base);
  return [area, line];
}

function bars({ paper, scale }, counts, { stepMs, startMs }, colour, edge, way) {
  const first = Math.max(0, Math.floor((scale.from - startMs) / stepMs));
  const last = Math.min(counts.length, Math.ceil((scale.to - startMs) / stepMs) + 1);
  const width = Math.max(2, Math.min(6, stepMs / scale.msPerPx - 1));
  paper.fillStyle = colour;
  for (let n = first; n < last; n++) {
    if (!counts[n]) continue;
    const size = Math.min(14, 3 + counts[n] * 3);
    paper.fillRect(scale.x(startMs + n * stepMs), way > 0 ? edge : edge - size, width, size);
  }
}

function label({ paper, palette }, text, y) {
  const width = paper.measureText(text).width;
  paper.fillStyle = palette.get("surface");
  paper.globalAlpha = 0.85;
  paper.fillRect(0, y - 7, width + 8, 14);
  paper.globalAlpha = 1;
  paper.fillStyle = palette.get("faint");
  paper.fillText(text, 4, y);
}

const greatest = (values) => (values ?? []).reduce((most, value) => (value > most ? value : most), 0);

/** A round number that is not less: the top of an axis. */
function roundUp(value) {
  if (value <= 10) return 10;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 1.5, 2, 3, 4, 5, 6, 8].find((n) => n * power >= value) ?? 10);
}
