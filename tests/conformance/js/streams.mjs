// The app's half of the media stream on the SDK's own parser and builders: counts and records what it hears, echoes
// it when told to, and speaks or stops on command (protocol.md §2).

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  StreamingData,
  createOutboundAudioData,
  createOutboundStopAudioData,
} from "@azure/communication-call-automation";
import { getIdentifierRawId } from "@azure/communication-common";
import { describe, say } from "./report.mjs";

const REPORT_EVERY = 25;

class Stream {
  constructor(id, socket, request, folder) {
    this.id = id;
    this.socket = socket;
    this.folder = folder;
    this.echo = new URL(request.url, "http://app").searchParams.has("echo");
    this.connectionId = request.headers["x-ms-call-connection-id"];
    this.kinds = {};
    this.order = [];
    this.silent = 0;
    this.largest = 0;
    this.frameSizes = new Set();
    this.heard = new Map();
    this.errors = [];
    socket.on("message", (data, isBinary) => this.take(data, isBinary));
    socket.on("close", (code) => this.report("streamClosed", { code, pcm: this.save() }));
    say("streamOpened", {
      stream: id,
      connectionId: this.connectionId,
      path: request.url,
      bearer: /^Bearer \S+$/.test(request.headers.authorization ?? ""),
      correlationId: request.headers["x-ms-call-correlation-id"],
    });
  }

  take(data, isBinary) {
    try {
      if (isBinary) throw new Error("a binary frame");
      const text = data.toString("utf8");
      this.largest = Math.max(this.largest, data.length);
      const parsed = StreamingData.parse(text);
      this.know(StreamingData.getStreamingKind(), parsed);
    } catch (error) {
      this.errors.push(describe(error));
    }
  }

  know(kind, parsed) {
    this.kinds[kind] = (this.kinds[kind] ?? 0) + 1;
    if (this.order.at(-1) !== kind) this.order.push(kind);
    if (kind === "AudioMetadata") say("audioMetadata", { stream: this.id, connectionId: this.connectionId, parsed });
    else if (kind.startsWith("Transcription"))
      say("transcription", { stream: this.id, connectionId: this.connectionId, kind, parsed });
    else if (kind === "DtmfData") say("dtmf", { stream: this.id, connectionId: this.connectionId, parsed });
    else if (kind === "AudioData") this.hear(parsed);
  }

  hear(parsed) {
    const pcm = Buffer.from(parsed.data, "base64");
    const speaker = parsed.participant === undefined ? "" : getIdentifierRawId(parsed.participant);
    this.frameSizes.add(pcm.length);
    if (parsed.isSilent) this.silent += 1;
    if (!this.heard.has(speaker)) this.heard.set(speaker, []);
    this.heard.get(speaker).push(pcm);
    if (this.echo && !parsed.isSilent) this.socket.send(createOutboundAudioData(parsed.data));
    if (this.kinds.AudioData % REPORT_EVERY === 0) this.report("streamProgress");
  }

  report(event, fields = {}) {
    say(event, {
      stream: this.id,
      connectionId: this.connectionId,
      kinds: this.kinds,
      order: this.order,
      silent: this.silent,
      largest: this.largest,
      frameSizes: [...this.frameSizes],
      speakers: [...this.heard.keys()],
      errors: this.errors,
      ...fields,
    });
  }

  save() {
    const files = {};
    for (const [speaker, frames] of this.heard) {
      files[speaker] = join(this.folder, `stream-${this.id}-${Object.keys(files).length}.pcm`);
      writeFileSync(files[speaker], Buffer.concat(frames));
    }
    return files;
  }
}

export class Streams {
  constructor(folder) {
    this.folder = folder;
    this.opened = 0;
    this.latest = new Map();
  }

  open(socket, request) {
    const stream = new Stream(++this.opened, socket, request, this.folder);
    this.latest.set(stream.connectionId, stream);
  }

  speak(connectionId, pieces) {
    for (const piece of pieces) this.latest.get(connectionId).socket.send(createOutboundAudioData(piece));
  }

  stop(connectionId) {
    this.latest.get(connectionId).socket.send(createOutboundStopAudioData());
  }
}
