/** Which lanes a call has, in which order, how high each is, and what it is called: from the model, without drawing. */

/**
 * @typedef {object} Lane
 * @property {string} id
 * @property {"wave" | "area" | "items"} form
 * @property {string} title
 * @property {string} [about] the second line of its name
 * @property {number} height in pixels
 * @property {string} [leg]
 * @property {"said" | "heard"} [side]
 * @property {any} [track] `{beginMs, rate, samples}`
 * @property {string} [connection]
 * @property {string} [series]
 */

const WAVE_PX = 56;
const AREA_PX = 44;
export const ROW_PX = 22;
export const LANE_PAD = 4;

/** Lanes of items below the sound, in order. */
const SIGNALS = [
  ["turn", "Turns", "told by the app"],
  ["mark", "Marks", "StopAudio"],
  ["dtmf", "Keys", "DTMF"],
  ["media", "Media", "plays, holds"],
  ["stream", "Sockets", "media"],
  ["rest", "REST", "from the app"],
  ["callback", "Callbacks", "to the app"],
  ["sip", "SIP", "in ▾ out ▴"],
  ["browser", "Browser", "WebRTC, in ▾ out ▴"],
  ["call", "Call", "legs"],
];

/**
 * @param {import("./call_model.js").CallModel} model
 * @param {any} series of `GET calls/{id}/series`, or null
 * @returns {Lane[]}
 */
export function lanesOf(model, series) {
  return [...waves(model), ...queues(model, series), ...signals(model), ...depths(model, series), ...late(model, series)];
}

function waves(model) {
  return model.page.legs.flatMap((leg) =>
    ["said", "heard"].map((side) => ({
      id: `${leg.legId} ${side}`,
      form: "wave",
      title: model.nameOf(leg),
      about: side,
      height: WAVE_PX,
      leg: leg.legId,
      side,
      track: trackOf((leg.audio ?? []).filter((track) => track.side === side)),
    })),
  ).filter(({ track }) => track);
}

/** One side of a leg as one track: from its first stretch on the bridge to the end of its last, silence between. */
function trackOf(stretches) {
  if (!stretches.length) return null;
  const [{ beginMs, rate }] = stretches;
  const end = Math.max(...stretches.map((one) => one.beginMs + (one.samples * 1000) / one.rate));
  return { beginMs, rate, samples: Math.round(((end - beginMs) * rate) / 1000) };
}

function queues(model, series) {
  const streams = Object.entries(series?.streams ?? {});
  return streams.map(([connection, { queuedMs }], n) => ({
    id: `queue ${connection}`,
    form: "area",
    title: "Playout queue",
    about: streams.length > 1 ? `app ${n + 1}` : "app's sound to come",
    height: AREA_PX,
    connection,
    values: queuedMs,
    colour: "--kind-stream",
  }));
}

function signals(model) {
  return SIGNALS.filter(([id]) => model.lanes.has(id)).map(([id, title, about]) => ({ id, form: "items", title, about, height: model.lanes.get(id).rows * ROW_PX + 2 * LANE_PAD }));
}

function depths(model, series) {
  return Object.entries(series?.legs ?? {})
    .filter(([, one]) => one.jitterMs?.some((value) => value !== null))
    .map(([leg, one]) => ({
      id: `jitter ${leg}`,
      form: "area",
      title: "Jitter buffer",
      about: model.legName(leg),
      height: AREA_PX,
      leg,
      values: one.jitterMs,
      lost: one.lost,
      late: one.late,
      colour: "--heard",
    }));
}

function late(model, series) {
  const clock = series?.clock?.lateMs;
  const known = clock?.some((value) => value > 10);
  if (!known && !model.lanes.has("late")) return [];
  const rows = model.lanes.get("late")?.rows ?? 1;
  return [{ id: "late", form: "items", title: "Late frames", about: "clock and network", height: rows * ROW_PX + 2 * LANE_PAD, clock }];
}

/**
 * What a lane shows, in words: the name of its picture for those who do not see it.
 *
 * @param {Lane} lane
 * @param {import("./call_model.js").CallModel} model
 */
export function wordsFor(lane, model) {
  const name = `${lane.title}${lane.about ? `, ${lane.about}` : ""}`;
  if (lane.form === "wave") {
    const cuts = lane.side === "heard" ? model.cuts(model.leg(lane.leg)).length : 0;
    const seconds = Math.round(lane.track.samples / lane.track.rate);
    return `${name}: waveform of ${seconds} seconds${cuts ? `, ${cuts} cut by StopAudio` : ""}`;
  }
  if (lane.form === "area") {
    const values = (lane.values ?? []).filter((value) => value !== null);
    return values.length ? `${name}: up to ${Math.round(Math.max(...values))} milliseconds` : `${name}: nothing known`;
  }
  const items = model.lanes.get(lane.id)?.items ?? [];
  const bad = items.filter((item) => item.bad).length;
  return `${name}: ${items.length} ${items.length === 1 ? "item" : "items"}${bad ? `, ${bad} failed` : ""}; they are in the table of events`;
}
