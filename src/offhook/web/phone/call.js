/**
 * One call of the browser: its peer connection, its sound, and how it stands. The node is an ICE-lite agent
 * (RFC 8445 section 2.5): it answers checks only, so an offer goes out without waiting for candidates.
 */

import { choice, openMicrophone } from "./devices.js";
import { Meter } from "./meter.js";
import { audio } from "./tones.js";

const CODECS = ["audio/opus", "audio/g722", "audio/pcmu", "audio/pcma", "audio/telephone-event"];
const KEY_MS = 160;
const PAUSE_MS = 70;
const GRACE_MS = 1500;
const RESTART_AGAIN_MS = 3000;

/**
 * @typedef {"incoming" | "starting" | "calling" | "ringing" | "connecting" | "connected" | "reconnecting" | "ended"} State
 * @typedef {{code: number, subCode: number, message: string, endedBy: string | null}} Result
 */

/** Dispatches `change` whenever something that is shown has changed. */
export class PhoneCall extends EventTarget {
  /**
   * @param {import("./signalling.js").Signalling} signalling
   * @param {{iceServers: RTCIceServer[], peer: string, name?: string, call?: string | null, callId?: string | null, incoming?: boolean, context?: any}} about
   *   `context`: the custom calling context that an app sent along
   */
  constructor(signalling, { iceServers, peer, name = "", call = null, callId = null, incoming = false, context = null }) {
    super();
    this.signalling = signalling;
    this.iceServers = iceServers;
    this.peer = peer;
    this.name = name;
    /** @type {string | null} the node's name of it on this socket */
    this.call = call;
    /** @type {string | null} */
    this.callId = callId;
    this.incoming = incoming;
    this.context = context;
    /** @type {State} */
    this.state = incoming ? "incoming" : "starting";
    this.muted = false;
    this.held = false;
    this.silent = false;
    this.keys = { pressed: "", heard: "" };
    /** @type {any} */
    this.figures = null;
    /** @type {Result | null} */
    this.result = null;
    /** @type {number | null} performance.now() of the answer */
    this.began = null;
    /** @type {number | null} */
    this.lasted = null;
    /** @type {string} what the node says is wrong with the media */
    this.note = "";
    this.wanted = true;
    this.up = false;
    this.unanswered = 0;
    this.timer = 0;
    /** @type {RTCPeerConnection | null} */
    this.connection = null;
    /** @type {RTCRtpSender | null} */
    this.sender = null;
    /** @type {MediaStream | null} */
    this.microphone = null;
    /** @type {{said: Meter | null, heard: Meter | null}} */
    this.meters = { said: null, heard: null };
    this.player = new Audio();
    this.player.autoplay = true;
  }

  /**
   * Call somebody, or accept who calls. Throws what getUserMedia does; then nothing has been sent.
   *
   * @param {{silent?: boolean, displayName?: string}} [how] `silent`: without a microphone
   */
  async start({ silent = false, displayName = "" } = {}) {
    this.silent = silent;
    const microphone = silent ? audio().createMediaStreamDestination().stream : await openMicrophone();
    if (this.over) {
      stop(microphone); // it was asked for, and the call ended meanwhile
      return;
    }
    this.use(microphone);
    this.connection = this.connect(microphone);
    if (this.incoming) {
      this.become("connecting");
      await this.accept();
      return;
    }
    const sdp = await this.offer();
    if (this.over) return;
    this.signalling.send({ kind: "dial", to: this.peer, sdp, displayName });
    this.become("calling");
  }

  /**
   * Take the call that rings; again, where the socket was lost before the node's answer came.
   *
   * @param {{restart?: boolean}} [how]
   */
  async accept({ restart = false } = {}) {
    const sdp = await this.offer({ restart });
    if (!this.over) this.signalling.send({ kind: "accept", call: this.call, sdp });
  }

  /** Whether nobody wants the call any more, here or there. */
  get over() {
    return !this.wanted || this.state === "ended";
  }

  /** @param {MediaStream} microphone */
  connect(microphone) {
    const connection = new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: "max-bundle" });
    const transceiver = connection.addTransceiver(microphone.getAudioTracks()[0], { direction: "sendrecv", streams: [microphone] });
    prefer(transceiver);
    this.sender = transceiver.sender;
    connection.addEventListener("track", ({ track }) => this.hear(new MediaStream([track])));
    connection.addEventListener("connectionstatechange", () => this.follow(connection));
    return connection;
  }

  /** Whether the microphone went away in the call. */
  get unplugged() {
    return this.state !== "ended" && Boolean(this.microphone?.getAudioTracks().some((track) => track.readyState === "ended"));
  }

  /** @param {MediaStream} microphone whose level is shown, and whose end is told by `unplugged` */
  use(microphone) {
    this.microphone = microphone;
    this.meters.said?.close();
    this.meters.said = new Meter(microphone);
    for (const track of microphone.getAudioTracks()) {
      track.addEventListener("ended", () => this.unplugged && this.dispatchEvent(new Event("unplugged")));
    }
    this.speak();
  }

  /** @param {{restart?: boolean}} [how] */
  async offer({ restart = false } = {}) {
    const connection = /** @type {RTCPeerConnection} */ (this.connection);
    await connection.setLocalDescription(await connection.createOffer({ iceRestart: restart }));
    this.unanswered += 1;
    return connection.localDescription?.sdp ?? "";
  }

  /** @param {MediaStream} stream */
  hear(stream) {
    this.player.srcObject = stream;
    this.player.play().catch(() => {}); // the page was touched: a call is begun or accepted by hand
    const { speaker } = choice();
    if (speaker) this.useSpeaker(speaker);
    this.meters.heard?.close();
    this.meters.heard = new Meter(stream);
  }

  /** @param {RTCPeerConnection} connection */
  follow(connection) {
    if (connection !== this.connection || this.state === "ended") return;
    clearTimeout(this.timer);
    switch (connection.connectionState) {
      case "connected":
        this.note = "";
        this.join();
        break;
      case "disconnected":
        this.become("reconnecting");
        this.timer = setTimeout(() => this.restart(), GRACE_MS);
        break;
      case "failed":
        this.become("reconnecting");
        this.restart();
        break;
      default:
    }
  }

  /** The media is up, and the other side has answered: either may be first. */
  join() {
    if (!this.up || this.connection?.connectionState !== "connected") return;
    this.began ??= performance.now();
    this.become("connected");
  }

  /** Find a way to the node anew (RFC 8445 section 2.4), again and again until there is one. */
  async restart() {
    clearTimeout(this.timer);
    if (this.state === "ended" || !this.connection || this.began === null || this.connection.connectionState === "connected") return;
    this.timer = setTimeout(() => this.restart(), RESTART_AGAIN_MS);
    if (!this.signalling.ready) return;
    const sdp = await this.offer({ restart: true });
    this.signalling.send({ kind: "restart", call: this.call, sdp });
  }

  /**
   * A message of the node about this call.
   *
   * @param {any} message
   */
  async take(message) {
    switch (message.kind) {
      case "placed":
        this.call = message.call;
        this.callId = message.callId;
        if (!this.wanted) this.signalling.send({ kind: "hangup", call: this.call });
        else await this.agree(message.sdp);
        this.changed();
        break;
      case "ringing":
        this.become("ringing");
        break;
      case "answer":
        await this.agree(message.sdp);
        this.answered();
        break;
      case "figures":
        this.figures = message;
        this.changed();
        break;
      case "key":
        this.keys.heard = (this.keys.heard + message.tone).slice(-12);
        this.changed();
        break;
      case "error":
        this.note = message.message;
        this.changed();
        break;
      case "ended":
        this.end(message);
        break;
      default:
    }
  }

  /**
   * Take the node's description, unless it answers an older offer than our last or says again what is known.
   *
   * @param {string} sdp
   */
  async agree(sdp) {
    if (!this.unanswered) return;
    this.unanswered -= 1;
    if (this.unanswered || this.connection?.signalingState !== "have-local-offer") return;
    await this.connection.setRemoteDescription({ type: "answer", sdp });
  }

  /** The other side has answered, or we have. */
  answered() {
    this.up = true;
    if (this.state === "calling" || this.state === "ringing") this.become("connecting");
    this.join();
  }

  /** The socket was lost: what was asked on it is not answered any more. */
  lost() {
    this.unanswered = 0;
  }

  hangup() {
    this.wanted = false;
    if (this.state === "ended") return;
    if (this.call) this.signalling.send({ kind: this.state === "incoming" ? "decline" : "hangup", call: this.call });
    const message = this.incoming && this.began === null ? "Declined" : "You hung up";
    this.end({ code: 0, subCode: 0, message, endedBy: "you" });
  }

  /** @param {any} error what the browser cannot do with the node's description */
  fail(error) {
    if (this.over) return;
    this.signalling.send({ kind: "hangup", call: this.call });
    this.end({ code: 0, subCode: 0, message: `The call could not be connected: ${error?.message ?? error}`, endedBy: null });
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.muted = muted;
    this.speak();
    if (this.call) this.signalling.send({ kind: "mute", call: this.call, muted });
    this.changed();
  }

  /** @param {boolean} held */
  hold(held) {
    this.held = held;
    this.player.muted = held;
    this.speak();
    this.signalling.send({ kind: "hold", call: this.call, held });
    this.changed();
  }

  speak() {
    for (const track of this.microphone?.getAudioTracks() ?? []) track.enabled = !this.muted && !this.held;
  }

  /**
   * Press a key: as telephone-event of the sound's own stream, by the socket where the browser cannot.
   *
   * @param {string} tone
   */
  press(tone) {
    if (this.state !== "connected") return;
    if (this.sender?.dtmf?.canInsertDTMF) this.sender.dtmf.insertDTMF(this.sender.dtmf.toneBuffer + tone, KEY_MS, PAUSE_MS);
    else this.signalling.send({ kind: "dtmf", call: this.call, tone });
    this.keys.pressed = (this.keys.pressed + tone).slice(-24);
    this.changed();
  }

  /** Take the microphone that is chosen now. Throws what getUserMedia does; then the old one goes on. */
  async changeMicrophone() {
    if (!this.sender || this.state === "ended") return;
    const old = this.microphone;
    this.silent ||= this.unplugged;
    const microphone = await openMicrophone();
    if (this.over || old !== this.microphone) {
      stop(microphone); // the call is over, or another one was chosen meanwhile
      return;
    }
    this.use(microphone);
    this.silent = false;
    await this.sender.replaceTrack(microphone.getAudioTracks()[0]);
    stop(old);
    this.changed();
  }

  /** @param {string} id "" is the system's own */
  async useSpeaker(id) {
    await /** @type {any} */ (this.player).setSinkId?.(id).catch(() => {}); // gone: the system's own goes on
  }

  /** @param {Result} result */
  end(result) {
    if (this.state === "ended") return;
    clearTimeout(this.timer);
    this.lasted = this.began === null ? null : performance.now() - this.began;
    this.result = result;
    this.connection?.close();
    stop(this.microphone);
    this.player.srcObject = null;
    this.meters.said?.close();
    this.meters.heard?.close();
    this.become("ended");
  }

  /** @param {State} state */
  become(state) {
    if (this.state === "ended" || this.state === state) return;
    this.state = state;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Opus first, then the codecs of telephones; none that the node does not have.
 *
 * @param {RTCRtpTransceiver} transceiver
 */
function prefer(transceiver) {
  const known = RTCRtpReceiver.getCapabilities("audio")?.codecs ?? [];
  const wanted = CODECS.flatMap((type) => known.filter((codec) => codec.mimeType.toLowerCase() === type));
  if (wanted.length) transceiver.setCodecPreferences?.(wanted);
}

/** @param {MediaStream | null} stream */
function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
