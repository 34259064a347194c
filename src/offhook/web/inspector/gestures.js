/**
 * What pointers and wheels do on the timeline. Lanes: press selects, drag pans, two fingers or Ctrl with the wheel zoom.
 * Axis: press puts the playhead, drag chooses a stretch, the wheel zooms.
 */

const DRAG_PX = 4;
const WHEEL_ZOOM = 0.0022;
const LINE_PX = 16;

/**
 * @param {import("./timeline.js").Timeline} timeline
 * @param {import("./state.js").ViewState} state
 */
export function drive(timeline, state) {
  const lanes = new Lanes(timeline, state);
  const { scroller, axisBox } = timeline;
  scroller.addEventListener("wheel", (event) => lanes.wheel(event), { passive: false });
  timeline.mapBox.addEventListener("wheel", (event) => lanes.wheel(event, true), { passive: false });
  timeline.list.addEventListener("pointerdown", (event) => lanes.down(event));
  scroller.addEventListener("pointermove", (event) => lanes.move(event));
  scroller.addEventListener("pointerup", (event) => lanes.up(event));
  scroller.addEventListener("pointercancel", (event) => lanes.up(event));
  scroller.addEventListener("pointerleave", () => state.point(null));
  axisBox.addEventListener("pointerdown", (event) => chooseOnAxis(event, timeline, state));
  axisBox.addEventListener("dblclick", () => state.choose(null));
}

class Lanes {
  /** @type {Map<number, {x: number, y: number}>} fingers and the mouse's button, by pointer */
  #held = new Map();
  #start = null;
  #moved = false;

  constructor(timeline, state) {
    Object.assign(this, { timeline, state });
  }

  /** Pixels from the axis's left edge. */
  #x(event) {
    return event.clientX - this.timeline.axisBox.getBoundingClientRect().left;
  }

  wheel(event, overMap = false) {
    const unit = event.deltaMode === 1 ? LINE_PX : 1;
    const zooms = event.ctrlKey || event.metaKey || overMap || event.target.closest(".axis");
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : 0;
    if (zooms) {
      event.preventDefault();
      const around = overMap ? this.state.focus : this.state.scale.ms(this.#x(event));
      this.state.zoom(Math.exp(-event.deltaY * unit * WHEEL_ZOOM), around);
    } else if (sideways) {
      event.preventDefault();
      this.state.pan((sideways * unit) / this.state.scale.width);
    }
  }

  down(event) {
    if (event.button || event.target.closest("button")) return;
    this.#held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.#moved = this.#held.size > 1;
    this.#start = { scale: this.state.scale, x: this.#middle(), apart: this.#apart() };
  }

  #middle() {
    const fingers = [...this.#held.values()];
    return fingers.reduce((sum, { x }) => sum + x, 0) / fingers.length - this.timeline.axisBox.getBoundingClientRect().left;
  }

  #apart() {
    const [a, b] = [...this.#held.values()];
    return b ? Math.max(20, Math.abs(a.x - b.x)) : 0;
  }

  move(event) {
    const held = this.#held.get(event.pointerId);
    if (!held) {
      if (event.pointerType !== "touch") this.#hover(event);
      return;
    }
    const far = Math.abs(event.clientX - held.x) > DRAG_PX;
    if (!this.#moved && !far) return;
    if (!this.#moved) this.timeline.scroller.setPointerCapture(event.pointerId);
    this.#moved = true;
    [held.x, held.y] = [event.clientX, event.clientY];
    this.timeline.scroller.classList.add("dragging");
    this.#drag();
  }

  /** The time that was under the fingers stays under them. */
  #drag() {
    const { scale, x, apart } = this.#start;
    const now = this.#middle();
    this.state.follow(false);
    let next = scale.panned((x - now) * scale.msPerPx, this.state.limits);
    if (apart && this.#held.size > 1) next = scale.zoomed(this.#apart() / apart, scale.ms(x), this.state.limits);
    this.state.show(next.resized(this.state.scale.width));
  }

  #hover(event) {
    const x = this.#x(event);
    this.state.point(x >= 0 && x <= this.state.scale.width ? this.state.scale.ms(x) : null);
    if (event.target.closest(".axis")) return;
    const found = this.timeline.at(event.clientX, event.clientY);
    const tip = this.timeline.tip(found);
    if (this.timeline.list.title !== tip) this.timeline.list.title = tip;
    this.timeline.list.classList.toggle("pointing", Boolean(found?.hit));
  }

  up(event) {
    const pressed = this.#held.delete(event.pointerId) && !this.#moved && event.type === "pointerup";
    this.timeline.scroller.classList.toggle("dragging", this.#held.size > 0 && this.#moved);
    if (this.#held.size) this.#start = { scale: this.state.scale, x: this.#middle(), apart: this.#apart() };
    if (!pressed) return;
    const found = this.timeline.at(event.clientX, event.clientY);
    if (found?.hit) this.state.select(found.hit.seq, { measure: event.shiftKey });
    else if (this.#x(event) >= 0) this.state.seek(this.state.scale.ms(this.#x(event)));
  }
}

function chooseOnAxis(down, timeline, state) {
  if (down.button) return;
  down.preventDefault();
  const { axisBox } = timeline;
  const left = axisBox.getBoundingClientRect().left;
  const scrubs = down.target === timeline.head;
  const from = state.scale.ms(down.clientX - left);
  let moved = false;
  axisBox.setPointerCapture(down.pointerId);
  const move = (event) => {
    moved ||= Math.abs(event.clientX - down.clientX) > DRAG_PX;
    const ms = state.scale.ms(event.clientX - left);
    if (scrubs) state.seek(ms);
    else if (moved) state.choose([from, ms]);
  };
  const end = () => {
    axisBox.removeEventListener("pointermove", move);
    if (moved || scrubs) return;
    state.choose(null);
    state.seek(from);
  };
  axisBox.addEventListener("pointermove", move);
  axisBox.addEventListener("pointerup", end, { once: true });
  axisBox.addEventListener("pointercancel", end, { once: true });
}
