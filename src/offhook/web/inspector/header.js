/** The head of the page: who called whom, how it stands, its ids, and taking it along as a file. */

import { address, now } from "../api.js";
import { copyButton, fill, h, icon, outside } from "../dom.js";
import { duration, identity, moment } from "../format.js";

const IDS = [
  ["callId", "Call"],
  ["callConnectionId", "Connection"],
  ["serverCallId", "Server call"],
  ["correlationId", "Correlation"],
];
const MOST_CONNECTIONS = 4;
const STATES = { ringing: ["Ringing", "warn"], connected: ["Live", "live"], ended: ["Ended", ""], __proto__: null };

export class CallHeader {
  #key = "";

  /**
   * @param {import("./call_model.js").CallModel} model
   * @param {AbortSignal} signal
   */
  constructor(model, signal) {
    this.model = model;
    this.title = h("h1", { tabindex: "-1" });
    this.facts = h("p", { class: "call-facts" });
    this.length = h("span", { class: "number" });
    this.ids = h("dl", { class: "ids" });
    this.notices = h("div", { class: "notices" });
    const id = encodeURIComponent(model.page.callId);
    const save = h("a", { class: "button small", href: address(`calls/${id}/export`), download: `call-${model.page.callId}.zip`, title: "The call as one file: events, sound, figures" }, icon("download", 16), "Export");
    const back = h("a", { class: "back", href: "/console/", "aria-label": "Back to all calls", title: "All calls" }, icon("left", 20));
    this.element = h("header", { class: "call-head" }, back, h("div", { class: "call-who" }, this.title, this.facts), save, this.ids);
    const timer = setInterval(() => this.#tick(), 500);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
    this.draw();
  }

  draw() {
    const { page } = this.model;
    const { events, ...rest } = page;
    const key = JSON.stringify(rest);
    if (key === this.#key) return;
    this.#key = key;
    const party = (one) => outside(one?.displayName || identity(one?.rawId), "party");
    fill(this.title, party(page.from), h("span", { class: "arrow", role: "img", "aria-label": "called" }, icon("right", 16)), party(page.to));
    const numbers = [page.from?.displayName && identity(page.from.rawId), page.direction].filter(Boolean).join(" · ");
    const [word, tone] = STATES[page.state] ?? STATES[page.ended ? "ended" : "connected"];
    fill(
      this.facts,
      h("span", { class: `tag ${tone}`, text: word }),
      this.length,
      this.#result(page),
      h("span", { class: "faint", text: numbers }),
      h("time", { class: "faint", datetime: page.startedAt, title: page.startedAt, text: moment(page.startedAt) }),
    );
    const more = (page.callConnectionIds ?? []).slice(1, MOST_CONNECTIONS).map((id, n) => [id, `Connection ${n + 2}`]); // other apps
    fill(
      this.ids,
      [...IDS.map(([name, label]) => [page[name], label]), ...more].filter(([id]) => id).map(([id, label]) =>
        h("div", {}, h("dt", { text: label }), h("dd", {}, h("code", { class: "clip", title: id, text: id }), copyButton(() => id, `Copy the ${label.toLowerCase()} id`, { words: "" }))),
      ),
    );
    this.#notice(page);
    this.#tick();
  }

  #result({ result, endedBy, state }) {
    if (!result) return null;
    const good = result.code < 300; // 0: somebody hung up
    const code = `${result.code}/${result.subCode}`;
    const by = state === "ended" && endedBy ? ` · ended by ${endedBy}` : "";
    return h("span", { class: `result ${good ? "" : "bad"}`, title: result.message }, h("strong", { text: code }), ` ${result.message ?? ""}${by}`);
  }

  #notice(page) {
    const notes = [];
    if (page.imported) notes.push("Opened from a file: nothing can be sent again from here.");
    if (page.interrupted) notes.push("The node stopped while this call went on: what came last is missing.");
    if (page.droppedEvents) notes.push(`${page.droppedEvents} further events were dropped, for what is kept of a call is bounded. The first ones are here.`);
    const silent = !page.legs.some((leg) => leg.audio?.length);
    if (silent && !page.answeredAt && page.ended) notes.push("Never answered: there is no sound, and times count from the start.");
    else if (silent && !page.answeredAt) notes.push("It rings: times count from the start until somebody answers.");
    else if (silent) notes.push("No sound was kept of this call. The setting is [history] sound.");
    fill(this.notices, notes.map((text) => h("p", { class: "notice" }, icon("warning", 16), text)));
  }

  #tick() {
    const { page, live } = this.model;
    const from = Date.parse(page.answeredAt ?? page.startedAt);
    const to = live ? now() : Date.parse(page.endedAt ?? "");
    this.length.textContent = Number.isNaN(to) ? duration(Math.max(0, this.model.extent()[1])) : duration(to - from);
  }
}
