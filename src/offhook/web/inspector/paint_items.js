/** Draws items on a lane: spans with their names, attempts as dots, points as the shape of their kind. */

import { kindOf } from "./kinds.js";
import { LANE_PAD, ROW_PX } from "./lanes.js";

const GLYPH = 5;
const LABEL_GAP = 4;
const REACH = 7;
const CROWDED_PX = 2;
const DIMMED = 0.18;
const KEY_PX = 17;
const MOST_KEYS = 8;
const LONGEST_RUN_PX = 120;

/** @typedef {import("./spans.js").Item} Item */

/** Widths of texts in the font of the lanes. */
const widths = new Map();

/** @param {CanvasRenderingContext2D} paper @param {string} text */
function widthOf(paper, text) {
  let width = widths.get(text);
  if (width === undefined) {
    if (widths.size > 4000) widths.clear();
    width = paper.measureText(text).width;
    widths.set(text, width);
  }
  return width;
}

/**
 * Where an item lies: its left and right edge and the middle of its row.
 *
 * @param {Item} item
 * @param {import("./scale.js").Scale} scale
 * @param {number} end where the call ends, for what goes on
 */
export function placeOf(item, scale, end) {
  const left = scale.x(item.from);
  const right = item.span ? scale.x(Math.min(item.to, end)) : left;
  return { left, right, y: LANE_PAD + item.row * ROW_PX + ROW_PX / 2 };
}

/**
 * The item at a place of a lane, the later drawn before the earlier; and its attempt, if it is one.
 *
 * @param {Item[]} items
 * @param {import("./scale.js").Scale} scale
 * @param {number} end
 * @param {number} x
 * @param {number} y
 * @returns {?{item: Item, seq: number}}
 */
export function itemAt(items, scale, end, x, y) {
  let best = null;
  let nearest = REACH;
  for (const item of items) {
    const place = placeOf(item, scale, end);
    if (Math.abs(place.y - y) > ROW_PX / 2) continue;
    const far = x < place.left ? place.left - x : x > place.right ? x - place.right : 0;
    if (far > nearest) continue;
    nearest = far;
    const dot = item.dots.find((one) => Math.abs(scale.x(one.at) - x) <= GLYPH + 1);
    best = { item, seq: dot?.seq ?? item.seq };
  }
  return best;
}

/**
 * @param {import("./paint_sound.js").Scene} scene
 * @param {Item[]} items in order of their begin
 * @param {{selected: ?number, other: ?number, end: number, passes: ?((item: Item) => boolean)}} view
 */
export function paintItems(scene, items, view) {
  const { paper, scale } = scene;
  const shown = visible(items, scale, view.end);
  const next = new Array(shown.length);
  const lastOfRow = [];
  for (let n = shown.length - 1; n >= 0; n--) {
    next[n] = lastOfRow[shown[n].item.row] ?? Infinity;
    lastOfRow[shown[n].item.row] = shown[n].place.left;
  }
  const drawnTo = [];
  const chosen = [];
  for (const [n, { item, place }] of (shown[0]?.item.kind === "dtmf" ? runs(paper, shown) : shown).entries()) {
    const picked = item.seqs.includes(view.selected) || item.seqs.includes(view.other);
    const crowded = place.right - (drawnTo[item.row] ?? -Infinity) < CROWDED_PX;
    if (crowded && !item.bad && !picked && item.kind !== "stopAudio") continue;
    drawnTo[item.row] = Math.max(drawnTo[item.row] ?? -Infinity, place.right);
    if (picked) chosen.push({ item, place, room: next[n] });
    paper.globalAlpha = view.passes && !view.passes(item) ? DIMMED : 1;
    paintItem(scene, item, place, next[n]);
  }
  paper.globalAlpha = 1;
  for (const { item, place } of chosen) ring(scene, item, place);
}

function visible(items, scale, end) {
  const found = [];
  for (const item of items) {
    if (item.from > scale.to) break;
    const place = placeOf(item, scale, end);
    if (place.right >= -160) found.push({ item, place });
  }
  return found;
}

/** Keys that would lie over each other become one box with all of them. */
function runs(paper, shown) {
  const joined = [];
  let edge = -Infinity;
  for (const { item, place } of shown) {
    const before = joined.at(-1);
    if (before && place.left - edge < KEY_PX && place.left - before.place.left < LONGEST_RUN_PX) {
      const seqs = [...before.item.seqs, ...item.seqs];
      before.keys += item.label;
      before.item = { ...before.item, seqs, label: seqs.length > MOST_KEYS ? `${seqs.length} keys` : before.keys };
      before.place = { ...before.place, right: place.left };
    } else joined.push({ item, place, keys: item.label });
    const last = joined.at(-1);
    edge = Math.max(last.place.right, last.place.left + widthOf(paper, last.item.label) - 7);
  }
  return joined;
}

function paintItem(scene, item, place, room) {
  const { paper, palette } = scene;
  const { colour, shape } = kindOf(item.kind);
  const own = palette.get(colour);
  const tone = item.bad ? palette.get("bad") : own;
  let text = place.right + GLYPH + LABEL_GAP;
  let inside = false;
  if (item.span && !item.dots.length) {
    const width = Math.max(3, place.right - place.left);
    inside = width > widthOf(paper, item.label) + 14;
    bar(scene, place, width, tone, item.bad);
    if (item.parts) parts(scene, item, place, tone);
    text = inside ? Math.max(place.left, 0) + 8 : place.left + width + LABEL_GAP;
    if (inside && text + widthOf(paper, item.label) > place.right) inside = false;
  } else if (item.dots.length) {
    thread(scene, item, place, tone);
    const lastX = scene.scale.x(item.dots.at(-1).at);
    text = lastX + GLYPH + LABEL_GAP;
  } else {
    if (shape === "key") {
      keys(scene, item.label, place, tone);
      return;
    }
    glyph(paper, item.bad ? "cross" : shape, place.left, place.y, tone, item.way, item.hollow);
  }
  const width = widthOf(paper, item.label);
  if (!inside && text + width + LABEL_GAP > Math.min(room - GLYPH, scene.scale.width)) return;
  paper.fillStyle = item.bad ? tone : palette.get("soft");
  paper.fillText(item.label, text, place.y + 0.5);
}

/** Keys in a box: the first stands where it was pressed. */
function keys({ paper, palette }, text, { left, right, y }, tone) {
  const width = Math.max(15, widthOf(paper, text) + 8, right - left + 15);
  paper.strokeStyle = paper.fillStyle = tone;
  paper.beginPath();
  paper.roundRect(left - 7.5, y - 8, width, 16, 3);
  paper.fillStyle = palette.get("surface");
  paper.fill();
  paper.stroke();
  paper.fillStyle = tone;
  paper.fillText(text, left - 7.5 + (width - widthOf(paper, text)) / 2, y + 0.5);
}

/** A stretch of time: a pale bar with a strong left edge; hatched when it failed. */
function bar({ paper, palette }, { left, y }, width, tone, bad) {
  const top = y - 8;
  paper.fillStyle = tone;
  if (width < 6) {
    paper.fillRect(left, top, width, 16);
    return;
  }
  const alpha = paper.globalAlpha;
  paper.globalAlpha = alpha * 0.2;
  paper.beginPath();
  paper.roundRect(left, top, width, 16, 3);
  paper.fill();
  if (bad) {
    paper.globalAlpha = alpha * 0.5;
    paper.fillStyle = palette.hatch(paper, "bad");
    paper.fill();
    paper.fillStyle = tone;
  }
  paper.globalAlpha = alpha;
  paper.fillRect(left, top, 2.5, 16);
}

/** What a stretch is made of from its begin: stripes along its lower edge, each of its own strength. */
function parts({ paper, scale }, item, { left, y }, tone) {
  const alpha = paper.globalAlpha;
  paper.fillStyle = tone;
  for (const { from, ms, fade } of item.parts) {
    paper.globalAlpha = alpha * fade;
    paper.fillRect(left + from / scale.msPerPx, y + 4, Math.max(ms / scale.msPerPx, 1), 4);
  }
  paper.globalAlpha = alpha;
}

/** A callback: from when it was made, along its attempts, to the last one. */
function thread({ paper, scale }, item, { left, right, y }, tone) {
  paper.strokeStyle = tone;
  paper.lineWidth = 1.5;
  paper.beginPath();
  paper.moveTo(left, y);
  paper.lineTo(right, y);
  paper.moveTo(left, y - 5);
  paper.lineTo(left, y + 5);
  paper.stroke();
  paper.lineWidth = 1;
}

/** Attempts, over the threads; apart, because failed ones have another colour and shape. */
export function paintDots({ paper, scale, palette }, items, view) {
  for (const item of items) {
    if (!item.dots.length || item.from > scale.to) continue;
    paper.globalAlpha = view.passes && !view.passes(item) ? DIMMED : 1;
    let before = -Infinity;
    for (const dot of item.dots) {
      const x = scale.x(dot.at);
      if (x < -GLYPH || x > scale.width + GLYPH || (x - before < CROWDED_PX && !dot.bad)) continue;
      before = x;
      const y = LANE_PAD + item.row * ROW_PX + ROW_PX / 2;
      glyph(paper, dot.bad ? "cross" : "circle", x, y, palette.get(dot.bad ? "bad" : kindOf(item.kind).colour), null);
      if (dot.seq === view.selected || dot.seq === view.other) circle(paper, x, y, palette.get("accent"));
    }
  }
  paper.globalAlpha = 1;
}

function circle(paper, x, y, colour) {
  paper.strokeStyle = colour;
  paper.lineWidth = 2;
  paper.beginPath();
  paper.arc(x, y, GLYPH + 3.5, 0, 7);
  paper.stroke();
  paper.lineWidth = 1;
}

function ring({ paper, palette }, item, { left, right, y }) {
  paper.strokeStyle = palette.get("accent");
  paper.lineWidth = 2;
  paper.beginPath();
  paper.roundRect(left - (item.span ? 2 : 8), y - 10, Math.max(item.span ? 6 : 16, right - left + 4), 20, 5);
  paper.stroke();
  paper.lineWidth = 1;
}

/** Shapes by name, around a middle; the path is filled, but for those that are stroked. */
const SHAPES = {
  circle: (paper, x, y) => paper.arc(x, y, 4, 0, 7),
  square: (paper, x, y) => paper.rect(x - 3.5, y - 3.5, 7, 7),
  diamond: (paper, x, y) => polygon(paper, [x, y - 5.5], [x + 5.5, y], [x, y + 5.5], [x - 5.5, y]),
  triangle: (paper, x, y) => polygon(paper, [x, y - 5], [x + 5, y + 4], [x - 5, y + 4]),
  stop: (paper, x, y) => {
    const [a, b] = [5.5, 2.3];
    polygon(paper, [x - b, y - a], [x + b, y - a], [x + a, y - b], [x + a, y + b], [x + b, y + a], [x - b, y + a], [x - a, y + b], [x - a, y - b]);
  },
};

function polygon(paper, [x, y], ...rest) {
  paper.moveTo(x, y);
  for (const [nextX, nextY] of rest) paper.lineTo(nextX, nextY);
  paper.closePath();
}

/**
 * @param {CanvasRenderingContext2D} paper
 * @param {string} shape
 */
export function glyph(paper, shape, x, y, colour, way, hollow = false) {
  paper.fillStyle = paper.strokeStyle = colour;
  paper.beginPath();
  if (shape === "cross") {
    paper.lineWidth = 2.2;
    paper.moveTo(x - 4, y - 4);
    paper.lineTo(x + 4, y + 4);
    paper.moveTo(x + 4, y - 4);
    paper.lineTo(x - 4, y + 4);
    paper.stroke();
    paper.lineWidth = 1;
  } else if (shape === "arrow") {
    const up = way === "out" ? -1 : 1;
    polygon(paper, [x, y + 6 * up], [x + 4.5, y], [x - 4.5, y]);
    paper.rect(x - 1, Math.min(y, y - 6 * up), 2, 6);
    paper.fill();
  } else {
    SHAPES[shape](paper, x, y);
    if (hollow) paper.stroke();
    else paper.fill();
  }
}

/** Lateness of the clock, where it was over ten milliseconds: bars from below. */
export function paintClock({ paper, scale, height, palette }, values, { stepMs, startMs }) {
  paper.fillStyle = palette.get("warn");
  const first = Math.max(0, Math.floor((scale.from - startMs) / stepMs));
  const last = Math.min(values.length, Math.ceil((scale.to - startMs) / stepMs) + 1);
  const width = Math.max(2, stepMs / scale.msPerPx - 1);
  for (let n = first; n < last; n++) {
    if (!(values[n] > 10)) continue;
    const size = Math.min(height - 4, 3 + values[n] / 4);
    paper.fillRect(scale.x(startMs + n * stepMs), height - size, width, size);
  }
}
