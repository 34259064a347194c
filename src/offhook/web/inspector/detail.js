/** One event whole: what it is, when, what belongs to it, its JSON; sending a callback again. */

import { get, post } from "../api.js";
import { copyButton, fill, h, icon, outside } from "../dom.js";
import { jsonView, linedTexts } from "./json_view.js";
import { isBad, kindOf, nameOf } from "./kinds.js";
import { clock, lengthOf } from "./scale.js";
import { swatch } from "./swatch.js";
import { turnBars } from "./turn.js";

export class Detail {
  #shown = null;
  #shownOther = null;
  #results = new Map();

  /**
   * @param {import("./state.js").ViewState} state
   * @param {import("./frames.js").Frames} frames
   * @param {{jump: (seq: number) => void, leave: () => void, signal: AbortSignal}} more `leave`: the focus goes on, for what had it goes
   */
  constructor(state, frames, { jump, leave, signal }) {
    Object.assign(this, { state, frames, jump, leave, signal });
    this.element = h("section", { class: "detail panel", "aria-label": "The chosen event" });
    this.spoken = h("p", { class: "hidden", role: "status", "aria-live": "polite" });
    frames.on(["selection", "events", "resent"], (changed) => this.#draw(changed.has("resent")));
    this.#empty();
  }

  #empty() {
    if (this.element.contains(document.activeElement)) this.leave();
    this.element.classList.add("nothing");
    fill(this.element);
  }

  #draw(again) {
    const { selected, other, model } = this.state;
    const event = selected === null ? null : model.event(selected);
    const related = event ? (model.itemOf(event.seq)?.seqs ?? []) : [];
    const key = `${selected} ${related.length}`;
    if (!again && key === this.#shown && other === this.#shownOther) return;
    [this.#shown, this.#shownOther] = [key, other];
    if (!event) {
      this.#empty();
      return;
    }
    this.element.classList.remove("nothing");
    const detail = { ...(event.detail ?? {}) };
    const texts = linedTexts(detail);
    for (const [name] of texts) delete detail[name];
    const only = texts.length && !Object.keys(detail).length;
    const focused = this.element.contains(document.activeElement);
    fill(
      this.element,
      this.#head(event),
      h(
        "div",
        { class: "detail-body" },
        this.#lag(),
        this.#actions(event),
        event.kind === "turn" && turnBars(detail),
        related.length > 1 && this.#related(event, related),
        only ? null : jsonView(detail),
        texts.map(([name, text]) => h("figure", { class: "lined" }, h("figcaption", { text: name }), h("pre", { tabindex: "0", role: "group", "aria-label": name, text: text.replace(/\r/g, "") }))),
      ),
    );
    this.element.querySelector(".detail-body").scrollTop = 0;
    if (focused) this.element.querySelector(".detail-body button")?.focus({ preventScroll: true });
    this.spoken.textContent = `${kindOf(event.kind).title}: ${nameOf(event)}, at ${clock(model.moment(event))}. ${model.told(event)}`;
  }

  #head(event) {
    const close = h("button", { type: "button", class: "button quiet small square close", "aria-label": "Close", on: { click: () => this.state.select(null) } }, icon("cross", 16));
    const leg = this.state.model.legName(event.leg);
    const facts = [kindOf(event.kind).title, `#${event.seq}`].join(" · ");
    return h(
      "header",
      { class: "detail-head" },
      swatch(event.kind, isBad(event), event.detail?.direction),
      h("div", { class: "detail-title" }, h("h2", { class: isBad(event) ? "bad" : "" }, outside(nameOf(event))), h("p", { class: "faint" }, facts, leg && " · ", leg && outside(leg))),
      h("time", { text: clock(this.state.model.moment(event)) }),
      close,
    );
  }

  /** The measured pair. */
  #lag() {
    const lag = this.state.lag;
    if (!lag) return null;
    const second = this.state.model.event(this.state.other);
    const sign = lag.ms < 0 ? "before" : "after";
    return h("p", { class: "measured", role: "status" }, h("strong", { text: `Δ ${lengthOf(Math.abs(lag.ms))}` }), ` (${Math.abs(lag.samples)} samples): `, outside(nameOf(second)), ` comes ${sign} this`);
  }

  #actions(event) {
    const { model } = this.state;
    const buttons = [
      h("button", { type: "button", class: "button small", on: { click: () => this.jump(event.seq) } }, icon("right", 16), "Jump to time"),
      copyButton(() => JSON.stringify(event, null, 2), "Copy JSON of this event", { words: "Copy JSON" }),
    ];
    const callback = event.kind === "callback" ? event : event.kind === "delivery" ? this.#callbackOf(event) : null;
    if (callback && !model.page.imported) buttons.splice(1, 0, this.#sendAgain(callback));
    const result = callback && this.#results.get(callback.seq);
    return [h("div", { class: "actions" }, buttons), result && h("p", { class: `outcome ${result.good ? "good" : "bad"}`, role: "status" }, icon(result.good ? "check" : "warning", 16), result.text)];
  }

  #callbackOf(delivery) {
    const seq = this.state.model.itemOf(delivery.seq)?.seq;
    const event = seq === undefined ? null : this.state.model.event(seq);
    return event?.kind === "callback" ? event : null;
  }

  #sendAgain(callback) {
    const button = h("button", { type: "button", class: "button small" }, icon("again", 16), "Send again");
    button.addEventListener("click", async () => {
      button.disabled = true;
      this.#results.set(callback.seq, await this.#sent(callback));
      button.disabled = false;
      if (!this.signal.aborted) this.frames.touch("resent");
    });
    return button;
  }

  async #sent({ seq }) {
    const { model } = this.state;
    const path = `calls/${encodeURIComponent(model.page.callId)}/events`;
    try {
      const { status, ms, error, note } = await post(`${path}/${seq}/resend`, {}, this.signal);
      const { events } = await get(`${path}?after=${model.lastSeq}`, this.signal); // nothing tells of a call that is over
      if (model.add(events)) this.frames.touch("events", "lanes");
      const good = status >= 200 && status < 300;
      const text = status ? `The app answered ${status} after ${lengthOf(ms ?? 0)}` : `The app did not answer: ${error}`;
      return { good, text: note ? `${text}. ${note}` : text };
    } catch (error) {
      return { good: false, text: error.message };
    }
  }

  /** What belongs together: a callback and its attempts, a prompt's begin and end. */
  #related(event, seqs) {
    const { model } = this.state;
    const buttons = seqs.map((seq) => {
      const one = model.event(seq);
      const bad = isBad(one);
      const name = one.kind === "delivery" ? `${one.detail.resent ? "sent again" : `try ${one.detail.attempt}`}: ${one.detail.status ?? "no answer"}` : one.kind === "callback" ? "made" : one.name;
      const current = seq === event.seq;
      return h(
        "button",
        { type: "button", class: `chip ${bad ? "bad" : ""}`, "aria-pressed": String(current), on: { click: () => this.state.select(seq) } },
        swatch(one.kind, bad),
        name,
        h("span", { class: "faint", text: clock(one.atMs) }),
      );
    });
    return h("div", { class: "related", role: "group", "aria-label": "What belongs to it" }, buttons);
  }
}
