/**
 * The phone's socket to the node (docs/console.md, "Softphone"): JSON messages both ways, kept up over lost networks.
 *
 * A socket that is lost comes back with growing pauses and takes its session up again, so that a call goes on. Messages
 * for a socket that is away wait, at most 100; then the oldest is dropped.
 */

const PAUSES_MS = [250, 500, 1000, 2000, 4000, 8000];
const PING_MS = 3000;
const SILENT_MS = 5000;
const MAX_WAITING = 100;
const [REPLACED, CROWDED] = [4001, 4002];

/**
 * @typedef {{session: string, secret: string}} Credentials of the identity that this browser keeps
 * @typedef {{ready: (message: any) => void, message: (message: any) => void, lost: () => void, replaced: () => void}} Heard
 */

export class Signalling {
  /**
   * @param {string} url
   * @param {() => Credentials | null} credentials
   * @param {Heard} heard
   */
  constructor(url, credentials, heard) {
    this.url = url;
    this.ready = false;
    this.credentials = credentials;
    this.heard = heard;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {any[]} */
    this.waiting = [];
    this.tries = 0;
    this.timer = 0;
    this.open = false;
    /** @type {number | null} performance.now() of the oldest ping that nothing was heard since */
    this.pinged = null;
    this.online = () => this.again(0);
    /** There may be a way to the node again: timers of hidden pages wait for a minute. */
    this.seen = () => {
      if (!this.ready && !document.hidden) this.again(0);
    };
  }

  start() {
    if (this.open) return;
    this.open = true;
    addEventListener("online", this.online);
    document.addEventListener("visibilitychange", this.seen);
    this.connect();
  }

  /** Leave on purpose: a call ends at once. */
  stop() {
    if (!this.open) return;
    this.open = false;
    this.ready = false;
    removeEventListener("online", this.online);
    document.removeEventListener("visibilitychange", this.seen);
    clearTimeout(this.timer);
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ kind: "bye" }));
    this.socket?.close(1000);
    this.socket = null;
    this.waiting = [];
  }

  /** @param {any} message */
  send(message) {
    if (this.ready && this.socket) this.socket.send(JSON.stringify(message));
    else {
      this.waiting.push(message);
      if (this.waiting.length > MAX_WAITING) this.waiting.shift();
    }
  }

  /** Forget what waits for a call that is over. */
  forget() {
    this.waiting = [];
  }

  connect() {
    clearTimeout(this.timer);
    this.drop();
    const socket = (this.socket = new WebSocket(this.url));
    this.pinged = performance.now(); // its answer is "ready"
    socket.addEventListener("open", () => {
      const { session = null, secret = null } = this.credentials() ?? {};
      socket.send(JSON.stringify({ kind: "hello", session, secret, name: "" }));
    });
    socket.addEventListener("message", (event) => {
      if (socket !== this.socket) return;
      this.pinged = null;
      const message = JSON.parse(event.data);
      if (message.kind === "pong") return;
      if (message.kind === "ready") this.isReady(message);
      else this.heard.message(message);
    });
    socket.addEventListener("close", ({ code }) => {
      if (socket !== this.socket) return;
      if (code === REPLACED) this.heard.replaced();
      else {
        if (code === CROWDED) this.tries = PAUSES_MS.length; // the room is for others now
        this.again();
      }
    });
    this.timer = setTimeout(() => this.watch(socket), PING_MS);
  }

  /** @param {any} message */
  isReady(message) {
    this.tries = 0;
    this.ready = true;
    this.heard.ready(message);
    for (const waiting of this.waiting.splice(0)) this.send(waiting);
  }

  /**
   * A socket over a dead network says nothing for minutes: pings find out in seconds. What counts is that one was not
   * answered, not when we last heard something: in a hidden page we may come here once a minute only.
   *
   * @param {WebSocket} socket
   */
  watch(socket) {
    if (socket !== this.socket) return;
    const now = performance.now();
    if (this.pinged !== null && now - this.pinged > SILENT_MS) {
      this.again();
      return;
    }
    if (socket.readyState === WebSocket.OPEN) {
      this.pinged ??= now;
      socket.send('{"kind":"ping"}');
    }
    this.timer = setTimeout(() => this.watch(socket), PING_MS);
  }

  /** @param {number} [pause] */
  again(pause) {
    if (!this.open) return;
    const was = this.ready;
    this.ready = false;
    this.drop();
    if (was) this.heard.lost();
    clearTimeout(this.timer);
    const next = pause ?? PAUSES_MS[Math.min(this.tries++, PAUSES_MS.length - 1)];
    this.timer = setTimeout(() => this.connect(), next);
  }

  /** Close a socket without hearing of it again. */
  drop() {
    const socket = this.socket;
    this.socket = null;
    this.ready = false;
    socket?.close();
  }
}
