/** The call inspector: everything of one call on one clock (`/console/calls/{id}`). Here its parts are put together. */

import { address, get } from "../api.js";
import { fill, h } from "../dom.js";
import { CallModel } from "./call_model.js";
import { Detail } from "./detail.js";
import { divided } from "./divider.js";
import { EventList } from "./event_list.js";
import { follow } from "./feed.js";
import { Figures } from "./figures.js";
import { Filters } from "./filters.js";
import { Frames } from "./frames.js";
import { drive } from "./gestures.js";
import { CallHeader } from "./header.js";
import { keysDialog, listenToKeys } from "./keys.js";
import { Palette } from "./palette.js";
import { Player } from "./player.js";
import { Scale } from "./scale.js";
import { ViewState } from "./state.js";
import { samplesOfWav, Tiles } from "./tiles.js";
import { Timeline } from "./timeline.js";
import { Toolbar } from "./toolbar.js";

const LIVE_MS = 100;
const CALM_MS = 1000;
const SERIES_MS = 2000;
const FOLLOWED_MS = 20000;
/** Figures of long calls take a while: they are asked for again after so many times that. */
const CALM_OF = 8;

/**
 * @param {HTMLElement} element
 * @param {string} callId call id or call connection id
 * @param {AbortSignal} signal aborted when the page is left
 */
export default async function mount(element, callId, signal) {
  const [page] = await Promise.all([get(`calls/${encodeURIComponent(callId)}`, signal), styled()]);
  const model = new CallModel(page);
  const path = `calls/${encodeURIComponent(page.callId)}`;
  const frames = new Frames(signal);
  const state = new ViewState(model, frames);
  const palette = new Palette(signal, () => frames.touch("theme"));
  const tiles = new Tiles(source(path, signal), () => frames.touch("sound"));
  const timeline = new Timeline(state, frames, palette, tiles, signal);
  const player = new Player(page.callId, state, frames, signal);
  const list = new EventList(state, frames, signal);
  const dialog = keysDialog();
  const help = () => dialog.showModal();
  const toolbar = new Toolbar(state, frames, player, timeline, help);
  const filters = new Filters(state, frames, () => list.shown.length);
  const jump = (seq) => {
    state.select(seq, { reveal: true });
    timeline.reveal(seq);
    const at = model.moment(model.event(seq));
    state.seek(at);
    if (state.scale.span > 20000) state.zoom(state.scale.span / 5000, at);
  };
  const detail = new Detail(state, frames, { jump, leave: () => list.grid.focus({ preventScroll: true }), signal });
  const header = new CallHeader(model, signal);
  const figures = new Figures(state);

  fill(
    element,
    h(
      "div",
      { class: "inspector" },
      header.element,
      figures.element,
      header.notices,
      divided(
        h("section", { class: "stage panel", "aria-label": "Timeline" }, toolbar.element, timeline.element),
        h("div", { class: "lower" }, h("section", { class: "events panel", "aria-label": "Events" }, filters.element, list.element), detail.element),
      ),
      detail.spoken,
      dialog,
    ),
  );
  drive(timeline, state);
  listenToKeys({ state, player, list, search: filters.search, detail: detail.element, help }, signal);
  frames.on(["playhead"], () => player.moved());
  frames.on(["selection"], () => element.firstElementChild?.classList.toggle("has-selection", state.selected !== null));
  state.scale = new Scale(...state.limits, timeline.axisBox.clientWidth || 800);
  state.following = model.live;
  frames.touch("events", "lanes", "view", "filter", "selection", "follow", "playhead");

  const series = () => loadSeries(path, timeline, frames, signal);
  void series();
  void figures.load(path, signal);
  keepUp({ model, state, frames, tiles, header, figures, series, path }, signal);
  Object.assign(element.firstElementChild, { inspector: { model, state, tiles, timeline, player, list, frames } });
}

/** The inspector's own style sheet, loaded with its first page. */
function styled() {
  const href = "/console/inspector/inspector.css";
  if (document.querySelector(`link[href="${href}"]`)) return null;
  return new Promise((resolve) => {
    const link = h("link", { rel: "stylesheet", href, on: { load: resolve, error: resolve } });
    document.head.append(link);
  });
}

/** Where tiles come from. */
function source(path, signal) {
  const query = (lane, fromMs, toMs, more) => new URLSearchParams({ leg: lane.leg, side: lane.side, fromMs: String(fromMs), toMs: String(toMs), ...more });
  return {
    peaks: (lane, fromMs, toMs, bins) => get(`${path}/peaks?${query(lane, fromMs, toMs, { bins: String(bins) })}`, signal),
    samples: async (lane, fromMs, toMs) => {
      const response = await fetch(address(`${path}/sound.wav?${query(lane, fromMs, toMs, {})}`), { signal });
      if (!response.ok) throw new Error(`no sound: ${response.status}`);
      return samplesOfWav(await response.arrayBuffer());
    },
  };
}

async function loadSeries(path, timeline, frames, signal) {
  if (!timeline.state.model.page.legs.some((leg) => leg.joinedMs !== null)) return; // nobody was on the bridge
  try {
    timeline.series = await get(`${path}/series`, signal);
    frames.touch("lanes", "sound");
  } catch (error) {
    if (signal.aborted) return;
    frames.touch("lanes"); // what was known stays
  }
}

/** While the call goes on: new events, the axis that grows, sound and figures that come. */
function keepUp({ model, state, frames, tiles, header, figures, series, path }, signal) {
  if (!model.live) {
    figures.element.parentElement?.setAttribute("data-complete", "");
    return;
  }
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const grow = () => {
    const [from, to] = state.limits;
    if (state.following) {
      const span = state.fitted ? to - from : Math.min(state.scale.span, FOLLOWED_MS);
      state.show(new Scale(to - span, to, state.scale.width));
    }
    frames.touch("grow");
  };
  let due = 0;
  const measured = async () => {
    const began = performance.now();
    due = Infinity;
    await figures.load(path, signal);
    due = performance.now() + CALM_OF * (performance.now() - began);
  };
  const look = () => {
    if (document.hidden) return; // nobody sees it; the next look has all of it
    void series();
    if (performance.now() >= due) void measured();
  };
  const timers = [setInterval(grow, calm ? CALM_MS : LIVE_MS), setInterval(look, SERIES_MS)];
  const stop = () => timers.forEach((timer) => clearInterval(timer));
  signal.addEventListener("abort", stop, { once: true });
  const told = {
    changed: () => {
      header.draw();
      frames.touch("events", "lanes");
    },
    ended: () => {
      stop();
      state.follow(false);
      tiles.refresh();
      header.draw();
      void series();
      void figures.load(path, signal);
      if (state.fitted) state.all();
      frames.touch("events", "lanes", "view");
      figures.element.parentElement?.setAttribute("data-complete", "");
    },
  };
  follow(model, told, signal);
}
