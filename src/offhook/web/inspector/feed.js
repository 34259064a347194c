/** Keeps the model up with a call that goes on: server-sent events, and asking every two seconds where they do not come. */

import { get, listen } from "../api.js";

const POLL_MS = 2000;
const PATIENCE = 2;

/**
 * @param {import("./call_model.js").CallModel} model
 * @param {{changed: () => void, ended: () => void}} told
 * @param {AbortSignal} signal
 */
export function follow(model, told, signal) {
  if (!model.live) return;
  const path = `calls/${encodeURIComponent(model.page.callId)}`;
  const over = new AbortController();
  const both = AbortSignal.any([signal, over.signal]);
  let lost = 0;
  let timer = 0;

  const whole = async () => {
    model.replace(await get(path, signal));
    told.changed();
  };
  const finish = () => {
    if (over.signal.aborted) return;
    over.abort();
    clearInterval(timer);
    told.ended();
  };
  const quietly = (promise) => promise.catch(() => undefined); // the page says already that the node is away
  const changed = (page) => {
    const moved = page.answeredAt !== model.page.answeredAt; // then every time counts from elsewhere
    const over = page.ended && !model.page.ended; // then all of its sound is there; the last posts come before "end"
    model.update(page);
    if (moved || over) void quietly(whole());
    else told.changed();
  };
  const poll = () => {
    if (timer) return;
    const ask = () => void quietly(whole().then(() => model.live || finish()));
    timer = setInterval(ask, POLL_MS);
    ask();
  };
  listen(
    `${path}/stream`,
    {
      event: (event) => model.add([event]) && told.changed(),
      call: changed,
      end: () => void quietly(whole().then(finish)),
    },
    both,
    {
      last: () => `?after=${model.lastSeq}`,
      open: () => {
        lost = 0;
        clearInterval(timer);
        timer = 0;
      },
      lost: () => {
        if (++lost >= PATIENCE) poll();
      },
    },
  );
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}
