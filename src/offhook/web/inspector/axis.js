/** The time axis and the small picture of the whole call above it. */

import { clock, ticks } from "./scale.js";
import { kindOf } from "./kinds.js";
import { Scale } from "./scale.js";

const AXIS_PX = 26;
export const MAP_PX = 40;
const EDGE_PX = 7;
const DRAG_PX = 3;

/**
 * Draw ticks and times; the answer's zero stands out.
 *
 * @param {CanvasRenderingContext2D} paper
 * @param {Scale} scale
 * @param {import("./palette.js").Palette} palette
 */
export function paintAxis(paper, scale, palette) {
  const { step, at, between } = ticks(scale);
  paper.strokeStyle = palette.get("--edge");
  paper.beginPath();
  const small = step / between;
  for (let n = Math.ceil(scale.from / small); n * small <= scale.to; n++) {
    const x = Math.round(scale.x(n * small)) + 0.5;
    paper.moveTo(x, AXIS_PX);
    paper.lineTo(x, AXIS_PX - 3);
  }
  for (const ms of at) {
    const x = Math.round(scale.x(ms)) + 0.5;
    paper.moveTo(x, AXIS_PX);
    paper.lineTo(x, AXIS_PX - 8);
  }
  paper.stroke();
  for (const ms of at) {
    const text = clock(ms, step);
    paper.fillStyle = palette.get(ms === 0 ? "text" : "faint");
    const half = paper.measureText(text).width / 2;
    const x = scale.x(ms);
    if (x - half >= 0 && x + half <= scale.width) paper.fillText(text, x - half, 9);
  }
}

/** Lines of the ticks behind a lane. */
export function paintGrid(paper, scale, palette, height) {
  paper.strokeStyle = palette.get("grid");
  paper.beginPath();
  for (const ms of ticks(scale).at) {
    const x = Math.round(scale.x(ms)) + 0.5;
    paper.moveTo(x, 0);
    paper.lineTo(x, height);
  }
  paper.stroke();
  const zero = Math.round(scale.x(0)) + 0.5;
  if (zero < 0 || zero > scale.width) return;
  paper.strokeStyle = palette.get("--edge");
  paper.setLineDash([2, 3]);
  paper.beginPath();
  paper.moveTo(zero, 0);
  paper.lineTo(zero, height);
  paper.stroke();
  paper.setLineDash([]);
}

/** The whole call in a strip: sound of both sides of each leg, what failed and what was cut. */
export function paintMap({ paper, scale, palette, tiles, lo, hi, gain }, model, waves) {
  const mid = (MAP_PX - 6) / 2;
  for (const lane of waves) {
    tiles.columns(lane, scale, lo, hi);
    paper.fillStyle = palette.get(lane.side);
    paper.globalAlpha = 0.75;
    for (let x = 0; x < lo.length; x++) {
      const size = Math.min(mid - 1, Math.max(hi[x], -lo[x]) * gain * mid);
      if (!(size >= 0.5)) continue;
      if (lane.side === "said") paper.fillRect(x, mid - size, 1, size);
      else paper.fillRect(x, mid, 1, size);
    }
  }
  paper.globalAlpha = 1;
  for (const { items } of model.lanes.values()) {
    for (const item of items) {
      const stop = item.kind === "stopAudio";
      if (!item.bad && !stop && !item.dots.some((dot) => dot.bad)) continue;
      const x = scale.x(item.from);
      paper.fillStyle = palette.get(stop ? kindOf("stopAudio").colour : "bad");
      if (stop) paper.fillRect(x - 0.75, 0, 1.5, MAP_PX - 6);
      else paper.fillRect(x - 1.5, MAP_PX - 5, 3, 5);
    }
  }
}

/**
 * The window over the small picture: dragged as a whole, by its edges, or put where one presses.
 *
 * @param {HTMLElement} map
 * @param {HTMLElement} pane the window
 * @param {import("./state.js").ViewState} state
 */
export function driveMap(map, pane, state) {
  const whole = () => new Scale(...state.limits, map.clientWidth);
  map.addEventListener("pointerdown", (down) => {
    if (down.button) return;
    down.preventDefault();
    const box = map.getBoundingClientRect();
    const [left, right] = [state.scale.from, state.scale.to];
    const all = whole();
    const x = down.clientX - box.left;
    const edge = Math.abs(x - all.x(left)) < EDGE_PX ? "left" : Math.abs(x - all.x(right)) < EDGE_PX ? "right" : null;
    const inside = x > all.x(left) && x < all.x(right);
    if (!edge && !inside) state.show(state.scale.panned(all.ms(x) - (left + right) / 2, state.limits));
    const { from, to } = state.scale;
    state.follow(false);
    map.setPointerCapture(down.pointerId);
    const move = (event) => {
      const by = (event.clientX - down.clientX) * all.msPerPx;
      if (Math.abs(event.clientX - down.clientX) < DRAG_PX) return;
      if (!edge) state.show(new Scale(from + by, to + by, state.scale.width).within(state.limits));
      else state.show(stretched(edge, from, to, by, state));
    };
    const end = () => {
      map.removeEventListener("pointermove", move);
      pane.classList.remove("held");
    };
    pane.classList.add("held");
    map.addEventListener("pointermove", move);
    map.addEventListener("pointerup", end, { once: true });
    map.addEventListener("pointercancel", end, { once: true });
  });
}

function stretched(edge, from, to, by, state) {
  const least = 20;
  const scale = edge === "left" ? new Scale(Math.min(from + by, to - least), to, state.scale.width) : new Scale(from, Math.max(to + by, from + least), state.scale.width);
  return scale.within(state.limits);
}
