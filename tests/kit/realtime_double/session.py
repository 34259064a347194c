"""One connection to the double: its settings, its conversation, its one response at a time."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.kit.realtime_double.answers import RATE, Do, Say
from tests.kit.realtime_double.vocabulary import Refused, Vocabulary
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from tests.kit.realtime_double.server import RealtimeDouble

FRAME = RATE // 50 * 2
LOUD = 300
FRAMES_TO_START = 3
_ids = count(1)


@dataclass
class Item:
    """One item of the conversation."""

    id: str
    type: str
    role: str = ""
    audio_ms: float = 0.0
    text: str = ""
    truncated_ms: int | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str = ""
    status: str = "completed"


@dataclass
class Response:
    """What is being said."""

    id: str
    items: list[Item] = field(default_factory=list)
    cancelled: bool = False
    task: asyncio.Task[None] | None = None


class Session:
    """A connection."""

    def __init__(self, double: RealtimeDouble, socket: ServerConnection, vocabulary: Vocabulary, model: str) -> None:
        self.double = double
        self.model = model
        self.vocabulary = vocabulary
        self.headers = {name.lower(): value for name, value in socket.request.headers.raw_items()}  # type: ignore[union-attr]
        self.path = socket.request.path  # type: ignore[union-attr]
        self.settings: dict[str, Any] = {}
        self.told: list[dict[str, Any]] = []
        """Client events in order, those with sound left out."""
        self.sound = bytearray()
        """All of the caller, as appended."""
        self.chunks: list[int] = []
        """Bytes of each piece of it."""
        self.items: dict[str, Item] = {}
        self.errors: list[dict[str, Any]] = []
        self.responses: list[Response] = []
        self.active: Response | None = None
        self.most_active = 0
        self._socket = socket
        self._buffer = bytearray()
        self._seen = 0  # bytes that turn detection has looked at
        self._loud = 0
        self._quiet = 0
        self._speech: Item | None = None
        self._take: dict[str, Callable[[dict[str, Any]], Any]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.truncate": self._truncate,
            "conversation.item.delete": self._delete,
            "response.create": self._create_response,
            "response.cancel": self._cancel,
        }

    # ------------------------------------------------------------------ the connection

    async def run(self) -> None:
        """Until the client goes."""
        await self.emit("session.created", session=self._session())
        try:
            async for message in self._socket:
                await self.double.open.wait()
                await self._receive(json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            if self.active is not None and self.active.task is not None:
                self.active.task.cancel()

    def drop(self) -> None:
        """The connection breaks off, without a word."""
        self._socket.transport.abort()

    async def expire(self) -> None:
        """The session has lasted as long as it may."""
        await self._error("session_expired", "Your session hit the maximum duration of 60 minutes.")
        await self._socket.close(1001, "session expired")

    async def emit(self, kind: str, **fields: Any) -> None:
        """One server event, by its name in the general release."""
        name = self.vocabulary.name(kind)
        if not name:
            return
        event = {"type": name, "event_id": f"event_{next(_ids)}", **fields}
        self.vocabulary.check(event)
        try:
            await self._socket.send(json.dumps(event))
        except ConnectionClosed:
            return

    async def _receive(self, event: Any) -> None:
        event_id = event.get("event_id") if isinstance(event, dict) else None
        try:
            read = self.vocabulary.read(event)
            if read["type"] != "input_audio_buffer.append":
                self.told.append(read)
            taker = self._take.get(read["type"])
            if taker is None:
                raise Refused("invalid_value", f"{read['type']} is not for WebSockets", "type")
            await taker(read)
        except Refused as error:
            await self._error(error.code, error.message, error.param, event_id)

    async def _error(self, code: str, message: str, param: str | None = None, event_id: str | None = None) -> None:
        body = {"type": "invalid_request_error", "code": code, "message": message, "param": param, "event_id": event_id}
        self.errors.append(body)
        await self.emit("error", error=body)

    # ------------------------------------------------------------------ settings

    def _session(self) -> dict[str, Any]:
        return {"id": "sess_1", **self.settings} if self.vocabulary.preview else {"type": "realtime", **self.settings}

    async def _update(self, event: dict[str, Any]) -> None:
        if self.double.refuse_settings:
            raise Refused("invalid_value", "Invalid value: 'nobody'. No such voice.", "session.audio.output.voice")
        self.settings |= event["session"]
        if not self.vocabulary.loose:
            await self.emit("session.updated", session=self._session())

    @property
    def detection(self) -> dict[str, Any] | None:
        """`turn_detection` as it stands; the service's default is server VAD."""
        place: dict[str, Any] = self.settings
        if not self.vocabulary.preview:
            place = place.get("audio", {}).get("input", {})
        found: dict[str, Any] | None = place.get("turn_detection", {"type": "server_vad"})
        return found

    # ------------------------------------------------------------------ the caller

    async def _append(self, event: dict[str, Any]) -> None:
        pcm = base64.b64decode(event["audio"])
        self.sound += pcm
        self.chunks.append(len(pcm))
        self._buffer += pcm
        if self.detection is None:
            return
        while self._seen + FRAME <= len(self.sound):
            frame = np.frombuffer(self.sound[self._seen : self._seen + FRAME], np.int16).astype(np.float32)
            self._seen += FRAME
            await self._detect(bool(np.sqrt(np.mean(frame * frame)) > LOUD))

    async def _detect(self, loud: bool) -> None:
        detection = self.detection or {}
        now_ms = self._seen * 1000 // (RATE * 2)
        self._loud = self._loud + 1 if loud else 0
        self._quiet = 0 if loud else self._quiet + 1
        if self._speech is None and self._loud >= FRAMES_TO_START:
            self._speech = Item(f"item_{next(_ids)}", "message", "user")
            at = max(0, now_ms - 20 * FRAMES_TO_START)
            await self.emit("input_audio_buffer.speech_started", audio_start_ms=at, item_id=self._speech.id)
            if self.active is not None and detection.get("interrupt_response", True):
                self.active.cancelled = True
        elif self._speech is not None and self._quiet * 20 >= self.double.silence_ms:
            item, self._speech = self._speech, None
            await self.emit("input_audio_buffer.speech_stopped", audio_end_ms=now_ms, item_id=item.id)
            await self._take_in(item)
            if detection.get("create_response", True):
                await self._answer_by_itself()

    async def _answer_by_itself(self) -> None:
        if self.active is not None and self.active.cancelled and self.active.task is not None:
            await asyncio.wait({self.active.task})
        if self.active is not None:
            await self._error(*_TWO_AT_ONCE)
            return
        await self._respond()

    async def _commit(self, event: dict[str, Any]) -> None:
        if len(self._buffer) < RATE * 2 // 10:
            text = "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio."
            raise Refused("input_audio_buffer_commit_empty", text)
        await self._take_in(Item(f"item_{next(_ids)}", "message", "user"))

    async def _take_in(self, item: Item) -> None:
        """What the buffer has is an item of the conversation."""
        item.audio_ms = len(self._buffer) * 1000 / (RATE * 2)
        item.text = self.double.heard(bytes(self._buffer))
        self._buffer.clear()
        await self.emit("input_audio_buffer.committed", item_id=item.id, previous_item_id=None)
        await self._add(item)
        if not self._wants_transcripts():
            return
        done: dict[str, Any] = {"item_id": item.id, "content_index": 0, "transcript": item.text}
        done["usage"] = {"type": "duration", "seconds": item.audio_ms / 1000}
        await self.emit("conversation.item.input_audio_transcription.completed", **done)

    def _wants_transcripts(self) -> bool:
        if self.vocabulary.preview:
            return bool(self.settings.get("input_audio_transcription"))
        return bool(self.settings.get("audio", {}).get("input", {}).get("transcription"))

    async def _clear(self, event: dict[str, Any]) -> None:
        self._buffer.clear()
        await self.emit("input_audio_buffer.cleared")

    # ------------------------------------------------------------------ the conversation

    async def _add(self, item: Item) -> None:
        self.items[item.id] = item
        await self.emit("conversation.item.added", item=self._shown(item), previous_item_id=None)
        await self.emit("conversation.item.done", item=self._shown(item), previous_item_id=None)

    async def _create_item(self, event: dict[str, Any]) -> None:
        given = event["item"]
        item = Item(given.get("id") or f"item_{next(_ids)}", given["type"], given.get("role", ""))
        if item.type == "message":
            kinds = {"user": "input_text", "system": "input_text"}
            expected = kinds.get(item.role, "text" if self.vocabulary.preview else "output_text")
            for part in given["content"]:
                if part["type"] != expected:
                    raise Refused("invalid_value", f"Invalid value: '{part['type']}'.", "item.content[0].type")
                item.text += part["text"]
        if item.type == "function_call_output":
            item.call_id, item.output = given["call_id"], given["output"]
            if not any(one.type == "function_call" and one.call_id == item.call_id for one in self.items.values()):
                raise Refused("invalid_tool_call_id", f"Tool call ID '{item.call_id}' not found in conversation.")
        await self._add(item)

    def _known(self, item_id: str) -> Item:
        if item_id not in self.items:
            raise Refused("item_not_found", f"Item with item_id not found: {item_id}", "item_id")
        return self.items[item_id]

    async def _truncate(self, event: dict[str, Any]) -> None:
        item, end = self._known(event["item_id"]), event["audio_end_ms"]
        if item.role != "assistant":
            raise Refused("invalid_value", "Only model output audio messages can be truncated.", "item_id")
        if not 0 <= end <= item.audio_ms:
            text = f"Audio content of {item.audio_ms:g}ms is already shorter than {end}ms"
            raise Refused("invalid_value", text, "audio_end_ms")
        item.truncated_ms = end
        await self.emit("conversation.item.truncated", item_id=item.id, audio_end_ms=end, content_index=0)

    async def _delete(self, event: dict[str, Any]) -> None:
        del self.items[self._known(event["item_id"]).id]
        await self.emit("conversation.item.deleted", item_id=event["item_id"])

    def _shown(self, item: Item) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": item.id, "type": item.type, "object": "realtime.item", "status": item.status}
        if item.type == "function_call":
            return {**shown, "call_id": item.call_id, "name": item.name, "arguments": item.arguments}
        if item.type == "function_call_output":
            return {**shown, "call_id": item.call_id, "output": item.output}
        kind = "input_text" if item.role != "assistant" else "text" if self.vocabulary.preview else "output_text"
        return {**shown, "role": item.role, "content": [{"type": kind, "text": item.text}] if item.text else []}

    # ------------------------------------------------------------------ responses

    async def _create_response(self, event: dict[str, Any]) -> None:
        if self.active is not None:
            raise Refused(*_TWO_AT_ONCE)
        await self._respond()

    async def _cancel(self, event: dict[str, Any]) -> None:
        if self.active is None or event.get("response_id") not in (None, self.active.id):
            raise Refused("response_cancel_not_active", "Cancellation failed: no active response found")
        self.active.cancelled = True

    async def _respond(self) -> None:
        response = Response(f"resp_{next(_ids)}")
        self.responses.append(response)
        self.active = response
        await self.emit("response.created", response=self._state(response, "in_progress"))
        response.task = asyncio.ensure_future(self._say(response, deque(self.double.answer(self))))

    async def _say(self, response: Response, parts: deque[Say | Do]) -> None:
        await asyncio.sleep(self.double.think_s)
        if self.double.fail_with is not None:
            self.active = None
            details = {"type": "failed", "error": {"type": "service", "code": self.double.fail_with}}
            await self.emit("response.done", response={**self._state(response, "failed"), "status_details": details})
            return
        while parts and not response.cancelled:
            part = parts.popleft()
            index = len(response.items)
            if isinstance(part, Say):
                item = Item(f"item_{next(_ids)}", "message", "assistant", status="in_progress")
            else:
                item = Item(f"item_{next(_ids)}", "function_call", call_id=f"call_{next(_ids)}", status="in_progress")
                item.name = part.name
            response.items.append(item)
            self.items[item.id] = item
            at = {"response_id": response.id, "output_index": index}
            await self.emit("response.output_item.added", item=self._shown(item), **at)
            if isinstance(part, Say):
                await self._speak(response, item, part, {**at, "item_id": item.id})
            else:
                await self._call(item, part, {**at, "item_id": item.id})
            item.status = "incomplete" if response.cancelled else "completed"
            await self.emit("conversation.item.done", item=self._shown(item), previous_item_id=None)
            await self.emit("response.output_item.done", item=self._shown(item), **at)
        self.active = None
        await self.emit(
            "response.done", response=self._state(response, "cancelled" if response.cancelled else "completed")
        )

    async def _speak(self, response: Response, item: Item, part: Say, at: dict[str, Any]) -> None:
        at = {**at, "content_index": 0}
        await self.emit("response.content_part.added", part={"type": "audio", "transcript": ""}, **at)
        words = part.text.split(" ")
        size = self.double.delta_bytes
        deltas = [part.pcm[start : start + size] for start in range(0, len(part.pcm), size)]
        late = self.double.late_deltas
        for index, delta in enumerate(deltas):
            if response.cancelled:
                late -= 1
                if late < 0:
                    break
            mine = words[index * len(words) // len(deltas) : (index + 1) * len(words) // len(deltas)]
            if mine:
                text = (" " if item.text else "") + " ".join(mine)
                item.text += text
                await self.emit("response.output_audio_transcript.delta", delta=text, **at)
            item.audio_ms += len(delta) * 500 / RATE
            await self.emit("response.output_audio.delta", delta=base64.b64encode(delta).decode(), **at)
            await asyncio.sleep(self.double.pace_s)
        await self.emit("response.output_audio.done", **at)
        await self.emit("response.output_audio_transcript.done", transcript=item.text, **at)
        shown = {"type": "audio", "transcript": item.text}
        await self.emit("response.content_part.done", part=shown, **at)

    async def _call(self, item: Item, part: Do, at: dict[str, Any]) -> None:
        item.arguments = part.json
        named = {} if self.vocabulary.preview else {"name": part.name}
        delta = {"call_id": item.call_id, "delta": part.json}
        await self.emit("response.function_call_arguments.delta", **delta, **at)
        done = {"call_id": item.call_id, "arguments": part.json, **named}
        await self.emit("response.function_call_arguments.done", **done, **at)

    def _state(self, response: Response, status: str) -> dict[str, Any]:
        return {
            "id": response.id,
            "object": "realtime.response",
            "status": status,
            "output": [self._shown(item) for item in response.items] if status != "in_progress" else [],
        }


_TWO_AT_ONCE = (
    "conversation_already_has_active_response",
    "Conversation already has an active response in progress. Wait until the response is finished.",
)
