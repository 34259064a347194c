/**
 * The console's API (docs/console.md): JSON by fetch, live changes by server-sent events, and whether the node is there.
 */

const ROOT = "/console/api/";
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const PATIENCE_MS = 15000;

/** What the node refused, or that it did not answer: `status` is 0 then. `message` names the fix. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

/**
 * Whether the node answers. Dispatches `change` when it turns; `login` when it wants one.
 */
class Connection extends EventTarget {
  up = true;

  /** @param {boolean} up */
  set(up) {
    if (this.up === up) return;
    this.up = up;
    this.dispatchEvent(new Event("change"));
  }

  needLogin() {
    this.dispatchEvent(new Event("login"));
  }
}

export const connection = new Connection();

let ahead = 0;

/** Milliseconds since 1970 by the clock of the node, which need not be that of this machine; to half a second. */
export const now = () => Date.now() + ahead;

/** @param {Response} response its time is whole seconds, so that small differences are none */
function setClock(response) {
  const seen = Date.parse(response.headers.get("Date") ?? "") + 500 - Date.now();
  if (Math.abs(seen - ahead) > 1500) ahead = seen;
}

/**
 * One request; the decoded JSON.
 *
 * @param {string} path below /console/api/
 * @param {{method?: string, body?: any, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 * @throws {ApiError} and the signal's own AbortError
 */
async function request(path, { method = "GET", body, signal } = {}) {
  const headers = /** @type {Record<string, string>} */ ({ Accept: "application/json" });
  if (method !== "GET") headers["X-Offhook-Console"] = "1";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const limit = AbortSignal.timeout(PATIENCE_MS);
  let response;
  try {
    response = await fetch(ROOT + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    connection.set(false);
    throw new ApiError(0, "unreachable", "The node does not answer. Is `offhook dev` still running?");
  }
  connection.set(true);
  setClock(response);
  if (response.status === 401) connection.needLogin();
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

/** @param {Response} response */
async function refusal(response) {
  try {
    const { error } = await response.json();
    return new ApiError(response.status, String(error.code ?? ""), String(error.message));
  } catch {
    return new ApiError(response.status, "", `The node answered ${response.status} ${response.statusText}`.trim());
  }
}

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 */
export const get = (path, signal) => request(path, { signal });

/**
 * @param {string} path
 * @param {any} [body]
 * @param {AbortSignal} [signal]
 */
export const post = (path, body = {}, signal) => request(path, { method: "POST", body, signal });

/**
 * The address of something that the browser gets itself: a download, a sound.
 *
 * @param {string} path
 */
export const address = (path) => ROOT + path;

/**
 * Server-sent events until the signal aborts; after a lost connection this tries again with growing pauses, tells
 * `lost` at each loss, and looks whether the node is there. A page that nobody sees has no stream, since a browser opens six connections to a node for all
 * of its pages together; it goes on where it was when it is shown.
 *
 * @param {string} path
 * @param {Record<string, (data: any, id: string) => void>} handlers by the event's name; data is decoded JSON
 * @param {AbortSignal} signal
 * @param {{lost?: () => void, open?: () => void, last?: () => string}} [more] `last`: query that names the last event
 */
export function listen(path, handlers, signal, { lost, open, last } = {}) {
  let [tries, timer] = [0, 0];
  /** @type {EventSource | null} */
  let source = null;
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const connect = () => {
    close();
    if (signal.aborted || document.hidden) return;
    const opened = (source = new EventSource(ROOT + path + (last ? last() : "")));
    opened.addEventListener("open", () => {
      tries = 0;
      connection.set(true);
      open?.();
    });
    for (const [name, heard] of Object.entries(handlers)) {
      opened.addEventListener(name, (event) => heard(JSON.parse(event.data || "null"), event.lastEventId));
    }
    opened.addEventListener("error", () => {
      if (opened !== source) return;
      close(); // the browser's own pause is fixed, and it gives up on a refusal
      lost?.();
      alive(signal);
      timer = setTimeout(connect, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
    });
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : connect()), { signal });
  signal.addEventListener("abort", close, { once: true });
  connect();
}

/**
 * Whether the node answers, asked now.
 *
 * @param {AbortSignal} [signal]
 */
export async function alive(signal) {
  try {
    await request("calls?limit=1", { signal });
  } catch {
    // the connection has been told
  }
  return connection.up;
}
