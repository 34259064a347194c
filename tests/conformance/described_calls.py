"""Calls that requests made up from the description are sent to: they are set up anew as fast as those end them."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import ClientSession
from tests.conformance.described import Made
from tests.console_leg import Leg, caller, phone
from tests.live import CALLER, CONNECTIONS, LiveNode, TestApp, rest, streaming_options, until
from yarl import URL

from offhook.wire.signing import http_date, sign_hmac

PEOPLE = tuple(f"+1555010010{n}" for n in range(4))
STRANGER = "+15550100999"
CALLS, MOST, RINGING = 2, 8, 2


def person(number: str) -> dict[str, Any]:
    """An identifier of a request."""
    return {"rawId": f"4:{number}", "phoneNumber": {"value": number}}


class Calls:
    """What runs on a node: connections, the contexts of calls that ring, and what answers have given since."""

    def __init__(self, node: LiveNode, app: TestApp, sounds: str, session: ClientSession) -> None:
        self._node, self._app, self._sounds, self._session = node, app, sounds, session
        self._legs: dict[asyncio.Task[None], None] = {}
        self._over = asyncio.Event()
        self._set_up = 0
        self.connections: list[str] = []
        self.contexts: list[str] = []
        self.server_calls: list[str] = []
        self.invitations: list[str] = []
        self.recordings: list[str] = []
        self.answers: dict[tuple[str, int], int] = {}

    # what runs (Living) -----------------------------------------------------------------------------------------

    def known(self, name: str, chance: random.Random) -> Any:
        """See `Living`."""
        here: dict[str, Any] = {
            "callConnectionId": self.connections,
            "fromCall": self.connections,
            "incomingCallContext": self.contexts,
            "invitationId": self.invitations,
            "recordingId": self.recordings,
            "serverCallId": self.server_calls,
            "groupCallId": ["29228d3e-040e-4656-a70e-890ab4e173e5"],
            "participantRawId": [f"4:{CALLER}", f"4:{PEOPLE[0]}"],
            "callbackUri": [self._app.callback],
            "operationCallbackUri": [f"{self._app.url}/other"],
            "recordingStateCallbackUri": [f"{self._app.url}/other"],
            "recordingDestinationContainerUrl": ["http://127.0.0.1:9/container"],
            "transportUrl": [self._app.socket],
            "uri": [self._sounds, "http://127.0.0.1:9/none.wav"],
            "locale": ["en-US", "de-DE"],
            "operationContext": ["a context", None],
            "tones": [["one", "pound"]],
            "playSources": [[self._source(chance)], [self._source(chance), self._source(chance)]],
            "playPrompt": [self._source(chance)],
            "playPrompts": [[self._source(chance)]],
            "playSourceInfo": [self._source(chance)],
            "callLocator": [{"kind": "serverCallLocator", "serverCallId": self._one(self.server_calls, chance)}],
        }
        if name in here:
            return self._one(here[name], chance)
        if name in ("targets", "targetParticipants", "playTo", "audioChannelParticipantOrdering"):
            return [self._person(chance) for _ in range(chance.randrange(1, 3))]
        if name in ("target", "participantToAdd", "participantToRemove", "targetParticipant", "transferee"):
            return self._person(chance)
        return None

    def _one(self, values: list[Any], chance: random.Random) -> Any:
        return chance.choice(values) if values else None

    def _person(self, chance: random.Random) -> dict[str, Any]:
        return person(CALLER if chance.random() < 0.6 else chance.choice((*PEOPLE, STRANGER)))

    def _source(self, chance: random.Random) -> dict[str, Any]:
        file = {"kind": "file", "file": {"uri": self._sounds}}
        text = {"kind": "text", "text": {"text": "Good day.", "voiceName": "any"}}
        return chance.choice((file, file, text, {"kind": "ssml", "ssml": {"ssmlText": "<speak>Good day.</speak>"}}))

    # one request ------------------------------------------------------------------------------------------------

    async def send(self, made: Made) -> tuple[int, dict[str, str], bytes]:
        """Sign it over what goes out, send it, remember what its answer gives."""
        node, method = self._node, made.case.method.upper()
        date, host = http_date(time.time()), urlsplit(node.http).netloc
        signed = sign_hmac(method, made.target, host, date, made.body, base64.b64decode(node.key))
        async with self._session.request(
            method,
            URL(node.http + made.target, encoded=True),
            data=io.BytesIO(made.body) if made.body else None,
            headers={"Content-Type": "application/json", **made.headers, **signed},
        ) as response:
            body = await response.read()
            got = response.status, dict(response.headers), body
            if response.status < 300:
                self.contexts = [one for one in self.contexts if one.encode() not in made.body]
                self._learn(await response.json() if body else {})
        if b"Call not found." in body or (made.name in ("HangupCall", "TerminateCall") and got[0] == 204):
            self.connections = [one for one in self.connections if one not in made.target]
        if got[0] == 404 or (made.name == "StopRecording" and got[0] == 204):
            self.recordings = [one for one in self.recordings if quote(one, safe="") not in made.target]
        count = (made.name, got[0])
        self.answers[count] = self.answers.get(count, 0) + 1
        return got

    def _learn(self, answered: dict[str, Any]) -> None:
        if "callConnectionId" in answered and answered["callConnectionId"] not in self.connections:
            self.connections.append(answered["callConnectionId"])
        for field, kept in (("invitationId", self.invitations), ("recordingId", self.recordings)):
            if field in answered:
                kept.append(answered[field])
                del kept[:-4]

    # set up and end ---------------------------------------------------------------------------------------------

    async def renew(self, chance: random.Random) -> None:
        """Forget what is over; then enough calls that run, enough that ring, and none too many."""
        over = {e["data"]["callConnectionId"] for e in self._app.events if e["type"].endswith("CallDisconnected")}
        over |= {e["data"]["callConnectionId"] for e in self._app.events if e["type"].endswith("CallFailed")}
        self.connections = [one for one in self.connections if one not in over]
        self._app.events.clear()
        while len(self.connections) > MOST:
            await rest(self._node, "POST", f"{CONNECTIONS}/{self.connections.pop(0)}:terminate")
        while len(self.connections) < CALLS:
            context, server_call = await self._ring()
            connection = await self._answered(context)
            await until(partial(self._connected, connection), "CallConnected")
            self.connections.append(connection)
            self.server_calls = [*self.server_calls[-2:], server_call]
        if not self.recordings:
            await self._record(chance)

    async def _answered(self, context: str) -> str:
        """The connection; calls are set up in different ways, one after the other."""
        self._set_up += 1
        odd, third = self._set_up % 2 == 1, self._set_up % 3 == 0
        words = {"transportType": "websocket", "transportUrl": self._app.socket, "locale": "en-US"}
        body = {
            "incomingCallContext": context,
            "callbackUri": self._app.callback,
            "mediaStreamingOptions": streaming_options(self._app.socket, start=odd, mixed=third),
            **({"transcriptionOptions": {**words, "startTranscription": third}} if odd else {}),
        }
        status, properties = await rest(self._node, "POST", f"{CONNECTIONS}:answer", body)
        assert status == 200, properties
        return str(properties["callConnectionId"])

    async def _record(self, chance: random.Random) -> None:
        """One of the calls is recorded."""
        body = {"callConnectionId": chance.choice(self.connections)}
        status, started = await rest(self._node, "POST", "/calling/recordings", body)
        if status == 200:
            self._learn(started)

    def _connected(self, connection_id: str) -> bool:
        return any(e["data"]["callConnectionId"] == connection_id for e in self._app.named("CallConnected"))

    async def ringing(self) -> None:
        """Contexts of calls that ring now: what was answered, redirected or rejected is replaced."""
        while len(self.contexts) < RINGING:
            self.contexts.append((await self._ring())[0])

    async def _ring(self) -> tuple[str, str]:
        before = len(self._app.incoming)
        placed = asyncio.Event()
        task = asyncio.create_task(self._call(placed))
        self._legs[task] = None
        task.add_done_callback(lambda done: self._legs.pop(done, None))
        await asyncio.wait_for(placed.wait(), 10)
        await until(lambda: len(self._app.incoming) > before, "IncomingCall")
        data = self._app.incoming[-1]["data"]
        return data["incomingCallContext"], data["serverCallId"]

    async def _call(self, placed: asyncio.Event) -> None:
        """A caller until either side ends it."""
        async with caller(self._node, tone=440) as leg:
            placed.set()
            await _over(leg, self._over)

    async def end(self) -> None:
        """End everything."""
        for connection_id in self.connections:
            await rest(self._node, "POST", f"{CONNECTIONS}/{connection_id}:terminate")
        self._over.set()
        await asyncio.gather(*self._legs)


async def _over(leg: Leg, stop: asyncio.Event) -> None:
    while not stop.is_set() and not any(said["kind"] == "ended" for said in leg.said):
        await asyncio.sleep(0.05)


@asynccontextmanager
async def running_calls(node: LiveNode, app: TestApp, sounds: str) -> AsyncIterator[Calls]:
    """Calls on a node, and phones that answer."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())
        for number in PEOPLE:
            await stack.enter_async_context(phone(node, number, tone=700))
        calls = Calls(node, app, sounds, session)
        yield calls
        await calls.end()
