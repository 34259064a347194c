/**
 * A turn as the app told of it: from where the caller stopped to the first sound of the answer, in spans that add up.
 * What comes from a file may be anything, so each figure is looked at before it is used.
 */

import { h } from "../dom.js";
import { lengthOf } from "./scale.js";

/** The spans in order: their key in the detail, what they are called, what happens in them. */
const SPANS = [
  ["detection", "Detection", "the caller has stopped, and the app notices"],
  ["answer", "Answer", "until the app has the first sound of it"],
  ["sending", "Sending", "until the first frame is sent"],
  ["playout", "Playout", "until the caller hears it"],
];
const FADES = [0.3, 0.85, 0.55, 0.3];

/** @typedef {{name: string, about: string, from: number, ms: number, fade: number}} Span `from`: ms from the first one's begin */

/** @param {any} value @returns {?number} */
const figure = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/**
 * @param {any} detail of an event of kind `turn`
 * @returns {Span[]}
 */
export function spansOf(detail) {
  const found = [];
  let from = 0;
  for (const [n, [key, name, about]] of SPANS.entries()) {
    const ms = figure(detail?.spans?.[key]);
    if (ms === null || ms < 0) continue;
    found.push({ name, about, from, ms, fade: FADES[n] });
    from += ms;
  }
  return found;
}

/**
 * Where a turn lies: from its first moment to where its sound ended; null without any.
 *
 * @param {any} detail
 * @returns {?{from: number, to: number}}
 */
export function extentOf(detail) {
  const from = ["stoppedMs", "detectedMs", "audioMs", "sentMs", "firstHeardMs"].map((name) => figure(detail?.[name])).find((at) => at !== null) ?? null;
  return from === null ? null : { from, to: Math.max(from, figure(detail.endedMs) ?? from) };
}

/** One line about a turn. @param {any} detail */
export function turnWords(detail) {
  const [response, heard] = [figure(detail?.responseMs), figure(detail?.heardMs)];
  const spans = spansOf(detail).map(({ name, ms }) => `${name.toLowerCase()} ${lengthOf(ms)}`);
  return [response === null ? null : `heard after ${lengthOf(response)}`, ...spans, heard ? `${lengthOf(heard)} heard` : null].filter(Boolean).join(" · ");
}

/** The spans as bars below each other, on one axis. @param {any} detail */
export function turnBars(detail) {
  const spans = spansOf(detail);
  if (!spans.length) return null;
  const all = Math.max(1, spans.reduce((sum, { ms }) => sum + ms, 0));
  const row = ({ name, about, from, ms, fade }) => {
    const bar = h("i");
    Object.assign(bar.style, { marginLeft: `${(from * 100) / all}%`, width: `${(ms * 100) / all}%`, opacity: String(fade) });
    return [h("dt", { text: name, title: about }), h("dd", {}, h("span", { class: "turn-bar", "aria-hidden": "true" }, bar), h("span", { class: "turn-ms", text: lengthOf(ms) }))];
  };
  const off = figure(detail.errorMs);
  const what = figure(detail.responseMs) === null ? "Nothing of it was heard" : `${figure(detail.stoppedMs) === null ? "It was heard after" : "The caller waited"} ${lengthOf(all)}`;
  return h(
    "figure",
    { class: "turn-spans" },
    h("figcaption", { text: `${what}${off === null ? "" : `, by the app's count; exact to ${lengthOf(off)}`}` }),
    h("dl", {}, ...spans.flatMap(row)),
  );
}
