// An app on the official JavaScript SDK: webhook, callbacks and stream socket on one port (PORT), steered by JSON lines
// on stdin and reporting JSON lines on stdout. It ends when stdin does, so that it cannot outlive its test.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { CallAutomationClient, parseCallAutomationEvent } from "@azure/communication-call-automation";
import { WebSocketServer } from "ws";
import { describe, say } from "./report.mjs";
import { Streams } from "./streams.mjs";

const streams = new Streams(process.env.APP_FOLDER);
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const insecure = { allowInsecureConnection: true };
const clients = {
  tls: new CallAutomationClient(process.env.ACS_CONNECTION_STRING),
  http: new CallAutomationClient(process.env.APP_HTTP_CONNECTION_STRING, insecure),
  stranger: new CallAutomationClient(process.env.APP_STRANGER_CONNECTION_STRING),
};

function onGridEvents(text) {
  for (const event of JSON.parse(text)) {
    if (event.eventType === "Microsoft.EventGrid.SubscriptionValidationEvent") {
      say("validation", {});
      return { validationResponse: event.data.validationCode };
    }
    const recorded = event.eventType === "Microsoft.Communication.RecordingFileStatusUpdated";
    say(recorded ? "recorded" : "incoming", { type: event.eventType, data: event.data });
  }
  return undefined;
}

// Both forms that apps use: the text of the body, and what a JSON middleware made of it.
function onCallback(text, path) {
  const body = JSON.parse(text);
  const fields = { type: body[0].type, path, connectionId: body[0].data.callConnectionId, version: body[0].data.version };
  try {
    const parsed = parseCallAutomationEvent(text);
    const again = parseCallAutomationEvent(body);
    say("callback", { ...fields, parsed, same: JSON.stringify(parsed) === JSON.stringify(again) });
  } catch (error) {
    say("callback", { ...fields, error: describe(error) });
  }
}

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const text = Buffer.concat(parts).toString("utf8");
    const answer = request.url === "/events" ? onGridEvents(text) : onCallback(text, request.url);
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(answer === undefined ? "" : JSON.stringify(answer));
  });
});
server.on("upgrade", (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (opened) => streams.open(opened, request));
});

const call = (asked) => clients[asked.client ?? "tls"].getCallConnection(asked.connectionId);
const recording = (asked) => clients[asked.client ?? "tls"].getCallRecording();
const media = (asked) => call(asked).getCallMedia();

const ACTIONS = {
  answerCall: async (a) =>
    (await clients[a.client ?? "tls"].answerCall(a.context, a.callback, a.options)).callConnectionProperties,
  createCall: async (a) =>
    (await clients[a.client ?? "tls"].createCall(a.invite, a.callback, a.options)).callConnectionProperties,
  createGroupCall: async (a) =>
    (await clients[a.client ?? "tls"].createGroupCall(a.targets, a.callback, a.options)).callConnectionProperties,
  rejectCall: (a) => clients.tls.rejectCall(a.context, a.options),
  redirectCall: (a) => clients.tls.redirectCall(a.context, a.invite),
  connectCall: async (a) => (await clients.tls.connectCall(a.locator, a.callback, a.options)).callConnectionProperties,
  getCallConnectionProperties: (a) => call(a).getCallConnectionProperties(),
  listParticipants: (a) => call(a).listParticipants(),
  getParticipant: (a) => call(a).getParticipant(a.participant),
  addParticipant: (a) => call(a).addParticipant(a.invite, a.options),
  cancelAddParticipant: (a) => call(a).cancelAddParticipantOperation(a.invitation, a.options),
  removeParticipant: (a) => call(a).removeParticipant(a.participant, a.options),
  muteParticipant: (a) => call(a).muteParticipant(a.participant, a.options),
  moveParticipants: (a) => call(a).moveParticipants(a.targets, a.fromCall, a.options),
  transferCallToParticipant: (a) => call(a).transferCallToParticipant(a.participant, a.options),
  hangUp: (a) => call(a).hangUp(a.forEveryone),
  startMediaStreaming: (a) => media(a).startMediaStreaming(a.options),
  stopMediaStreaming: (a) => media(a).stopMediaStreaming(a.options),
  startTranscription: (a) => media(a).startTranscription(a.options),
  stopTranscription: (a) => media(a).stopTranscription(a.options),
  updateTranscription: (a) => media(a).updateTranscription(a.locale, a.options),
  playToAll: (a) => media(a).playToAll(a.sources, a.options),
  play: (a) => media(a).play(a.sources, a.targets, a.options),
  cancelAllOperations: (a) => media(a).cancelAllOperations(),
  sendDtmfTones: (a) => media(a).sendDtmfTones(a.tones, a.participant, a.options),
  startContinuousDtmfRecognition: (a) => media(a).startContinuousDtmfRecognition(a.participant, a.options),
  stopContinuousDtmfRecognition: (a) => media(a).stopContinuousDtmfRecognition(a.participant, a.options),
  hold: (a) => media(a).hold(a.participant, a.options),
  unhold: (a) => media(a).unhold(a.participant, a.options),
  startRecognizing: (a) => media(a).startRecognizing(a.participant, a.options),
  startRecording: (a) => recording(a).start(a.options),
  getRecordingState: (a) => recording(a).getState(a.recordingId),
  pauseRecording: (a) => recording(a).pause(a.recordingId),
  resumeRecording: (a) => recording(a).resume(a.recordingId),
  stopRecording: (a) => recording(a).stop(a.recordingId),
  speak: (a) => streams.speak(a.connectionId, a.pieces),
  stopAudio: (a) => streams.stop(a.connectionId),
};

async function act(asked) {
  try {
    say("reply", { id: asked.id, value: (await ACTIONS[asked.action](asked)) ?? null });
  } catch (error) {
    say("reply", { id: asked.id, error: describe(error) });
  }
}

const commands = createInterface({ input: process.stdin });
commands.on("line", (line) => void act(JSON.parse(line)));
commands.on("close", () => process.exit(0));
server.listen(Number(process.env.PORT), "127.0.0.1", () => say("listening", {}));
