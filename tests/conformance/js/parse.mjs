// Feeds texts to the SDK's parsers: stdin is {"events": [text...], "messages": [text...]}, stdout the same lists with
// what each parser made of each text, or how it threw.

import { StreamingData, parseCallAutomationEvent } from "@azure/communication-call-automation";
import { describe } from "./report.mjs";

function attempt(parse, text) {
  try {
    return { parsed: parse(text) };
  } catch (error) {
    return { error: describe(error) };
  }
}

function message(text) {
  const parsed = StreamingData.parse(text);
  const again = StreamingData.parse(new TextEncoder().encode(text).buffer);
  if (JSON.stringify(parsed) !== JSON.stringify(again)) throw new Error("text and bytes are parsed differently");
  return { kind: StreamingData.getStreamingKind(), ...parsed };
}

let input = "";
for await (const part of process.stdin.setEncoding("utf8")) input += part;
const given = JSON.parse(input);
const answer = {
  events: given.events.map((text) => attempt(parseCallAutomationEvent, text)),
  messages: given.messages.map((text) => attempt(message, text)),
};
process.stdout.write(JSON.stringify(answer));
