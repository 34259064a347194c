/** The colours of the page's variables, as canvases need them; read anew when the theme changes. */

const NAMES = {
  text: "--text",
  soft: "--soft",
  faint: "--faint",
  line: "--line",
  grid: "--grid",
  surface: "--surface",
  accent: "--accent",
  bad: "--bad",
  warn: "--warn",
  said: "--said",
  heard: "--heard",
};
const HATCH_PX = 7;

export class Palette {
  #style = getComputedStyle(document.documentElement);
  #cache = new Map();
  #patterns = new Map();

  /**
   * @param {AbortSignal} signal
   * @param {() => void} changed
   */
  constructor(signal, changed) {
    const forget = () => {
      this.#cache.clear();
      this.#patterns.clear();
      changed();
    };
    addEventListener("theme", forget, { signal });
  }

  /** The value of a variable ("--accent") or of one of the names above. @param {string} name */
  get(name) {
    const variable = NAMES[name] ?? name;
    let value = this.#cache.get(variable);
    if (!value) {
      value = this.#style.getPropertyValue(variable).trim() || this.#style.color;
      this.#cache.set(variable, value);
    }
    return value;
  }

  /** Slanted lines in a colour. @param {CanvasRenderingContext2D} paper @param {string} name */
  hatch(paper, name) {
    const key = `${name} ${devicePixelRatio}`;
    let pattern = this.#patterns.get(key);
    if (!pattern) {
      const size = Math.round(HATCH_PX * devicePixelRatio);
      const tile = new OffscreenCanvas(size, size);
      const pen = tile.getContext("2d");
      pen.strokeStyle = this.get(name);
      pen.lineWidth = 1.2 * devicePixelRatio;
      pen.beginPath();
      for (const shift of [-size, 0, size]) {
        pen.moveTo(shift - 1, size + 1);
        pen.lineTo(shift + size + 1, -1);
      }
      pen.stroke();
      pattern = paper.createPattern(tile, "repeat");
      pattern.setTransform(new DOMMatrix().scale(1 / devicePixelRatio));
      this.#patterns.set(key, pattern);
    }
    return pattern;
  }
}
