/** The mark of a kind, as the lanes draw it: its shape and colour; failed ones are crosses. */

import { svg } from "../dom.js";
import { kindOf } from "./kinds.js";

const PATHS = {
  circle: "M7 3a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
  square: "M4 3h6a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1z",
  diamond: "M7 1.5 12.5 7 7 12.5 1.5 7z",
  triangle: "M7 2 12 11.5H2z",
  stop: "M4.7 1.5h4.6l3.2 3.2v4.6l-3.2 3.2H4.7L1.5 9.3V4.7z",
  key: "M3 1.5h8v11H3zM4.4 2.9v8.2h5.2V2.9z",
  arrow: "M7 13 2.5 7h3.4V1h2.2v6h3.4z",
  cross: "M2.2 3.6 3.6 2.2 7 5.6l3.4-3.4 1.4 1.4L8.4 7l3.4 3.4-1.4 1.4L7 8.4l-3.4 3.4-1.4-1.4L5.6 7z",
};

/**
 * @param {string} kind
 * @param {boolean} [bad]
 * @param {?string} [way] "out" turns an arrow up
 */
export function swatch(kind, bad = false, way = null) {
  const { colour, shape } = kindOf(kind);
  const box = { class: "swatch", viewBox: "0 0 14 14", width: 12, height: 12, "aria-hidden": "true" };
  const path = svg("path", { d: PATHS[bad ? "cross" : shape], "fill-rule": "evenodd" });
  if (way === "out" && shape === "arrow") path.setAttribute("transform", "rotate(180 7 7)");
  path.style.fill = `var(${bad ? "--bad" : colour})`;
  return svg("svg", box, path);
}
