"""Doubles for the app shell: a service's socket, and the official SDK's client, without network or clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from offhook.kit import Call, Stream, TurnTaking, VoiceApp
from offhook.wire.app_events import IncomingCall
from offhook.wire.streaming import AppAudio, FrameWriter, StopAudio, audio_metadata, dtmf_data, parse_app_message

CALLER = "4:+15550100001"
RATE = 16000
LOUD = b"\x01\x02" * 320
FRAME = FrameWriter(None).build(LOUD, b"2024-11-15T19:16:12.925Z", False).decode()


async def until(holds: Callable[[], Any], what: str = "it") -> None:
    """Let the loop run until `holds`; no clock but a generous end."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)


async def settle(turns: int = 50) -> None:
    """Let everything run that can."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Socket:
    """The app's end of a socket; `say` is the service."""

    def __init__(self, rate: int = RATE, greeting: bool = True) -> None:
        self.incoming: asyncio.Queue[str | None] = asyncio.Queue()
        self.sent: list[Any] = []
        self.code: int | None = None
        if greeting:
            self.say(audio_metadata("id", rate).decode())

    def say(self, text: str | None) -> None:
        self.incoming.put_nowait(text)

    def frames(self, count: int = 1) -> None:
        for _ in range(count):
            self.say(FRAME)

    def keys(self, keys: str) -> None:
        for key in keys:
            self.say(dtmf_data(key).decode())

    def drop(self) -> None:
        self.say(None)

    async def heard(self, count: int) -> None:
        """Let 20 ms pass for the caller so often, and have the app notice."""
        self.frames(count)
        await until(self.incoming.empty)
        await settle()

    @property
    def audio(self) -> bytes:
        """What was sent since the last StopAudio."""
        last = max((index for index, one in enumerate(self.sent) if isinstance(one, StopAudio)), default=-1)
        return b"".join(one.pcm for one in self.sent[last + 1 :] if isinstance(one, AppAudio))

    @property
    def stops(self) -> int:
        return sum(isinstance(one, StopAudio) for one in self.sent)

    async def receive(self) -> str | None:
        if self.code is not None:
            return None
        return await self.incoming.get()

    async def send(self, text: str) -> None:
        if self.code is not None:
            raise ConnectionResetError
        self.sent.append(parse_app_message(text))

    async def close(self, code: int, reason: str) -> None:
        self.code = code
        self.say(None)


class Connection:
    """The SDK's client of one call."""

    def __init__(self, connection_id: str) -> None:
        self.id = connection_id
        self.hung_up = 0
        self.transfers: list[dict[str, Any]] = []
        self.error: Exception | None = None

    async def hang_up(self, is_for_everyone: bool) -> None:
        self.hung_up += 1
        if self.error is not None:
            raise self.error

    async def transfer_call_to_participant(self, target: Any, **options: Any) -> None:
        if self.error is not None:
            raise self.error
        self.transfers.append({"target": target, **options})


class Client:
    """The SDK's client: what it was asked for, and answers; `gate` holds them back."""

    def __init__(self) -> None:
        self.answered: list[dict[str, Any]] = []
        self.created: list[dict[str, Any]] = []
        self.rejected: list[tuple[str, Any]] = []
        self.redirected: list[tuple[str, Any]] = []
        self.connections: dict[str, Connection] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.closed = False

    async def answer_call(self, context: str, callback_url: str, **options: Any) -> Any:
        self.answered.append({"context": context, "callback": callback_url, **options})
        return await self._properties(f"connection-{context}")

    async def create_call(self, target: Any, callback_url: str, **options: Any) -> Any:
        self.created.append({"target": target, "callback": callback_url, **options})
        return await self._properties(f"connection-{len(self.created)}")

    async def _properties(self, connection_id: str) -> Any:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return type("Properties", (), {"call_connection_id": connection_id})

    async def reject_call(self, context: str, *, call_reject_reason: Any) -> None:
        self.rejected.append((context, call_reject_reason))

    async def redirect_call(self, context: str, target: Any) -> None:
        self.redirected.append((context, target))

    def get_call_connection(self, connection_id: str) -> Connection:
        return self.connections.setdefault(connection_id, Connection(connection_id))

    async def close(self) -> None:
        self.closed = True


class Shell:
    """An app on the doubles, and the service's part: it rings, calls back and streams."""

    def __init__(self, **settings: Any) -> None:
        self.client = Client()
        given: dict[str, Any] = {"public_url": "https://app.example/voice", "token_check": None, "blocking_ms": None}
        self.app = VoiceApp(client=self.client, **{**given, **settings})  # type: ignore[arg-type]
        self.tasks: list[asyncio.Task[None]] = []

    async def ring(self, context: str = "c", **data: Any) -> int:
        """IncomingCall; the status."""
        call = {"incomingCallContext": context, "from": {"rawId": CALLER}, "to": {"rawId": "4:+15550100002"}, **data}
        event = {"eventType": "Microsoft.Communication.IncomingCall", "data": call}
        return (await self.app.take_incoming(json.dumps([event]).encode())).status

    async def rung(self, context: str = "c", **data: Any) -> str:
        """As `ring`; the secret of the call that was answered."""
        assert await self.ring(context, **data) == 200
        await until(lambda: any(one["context"] == context for one in self.client.answered))
        return self.secret(context)

    def secret(self, context: str = "c") -> str:
        (one,) = [one for one in self.client.answered if one["context"] == context]
        return str(one["callback"]).rpartition("/")[2]

    def connection(self, context: str = "c") -> Connection:
        return self.client.get_call_connection(f"connection-{context}")

    async def callback(self, secret: str, name: str, context: str | None = None, **data: Any) -> int:
        if context is not None:
            data["operationContext"] = context
        body = json.dumps([{"type": f"Microsoft.Communication.{name}", "data": data}]).encode()
        status = (await self.app.take_callback(secret, {}, body)).status
        await settle()
        return status

    def dial(self, secret: str, connection_id: str | None = None, **options: Any) -> Socket:
        """The service dials a stream."""
        socket = Socket(**options)
        headers = {"x-ms-call-connection-id": connection_id} if connection_id else {}
        self.tasks.append(asyncio.create_task(self.app.take_stream(secret, Stream(socket, headers))))
        return socket

    async def close(self) -> None:
        await self.app.close()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=5)


def a_call(turn_taking: TurnTaking | None = None, incoming: IncomingCall | None = None) -> tuple[Call, Connection]:
    """A call without an app."""
    connection = Connection("connection-1")
    turns = turn_taking or TurnTaking(barge_in=False, rewind_ms=0)
    return Call(connection, "connection-1", incoming, turns), connection  # type: ignore[arg-type]


async def opened(call: Call, socket: Socket | None = None) -> tuple[Socket, asyncio.Task[None]]:
    """The call's stream, open, and the task that reads it."""
    socket = socket or Socket()
    task = asyncio.create_task(call.run(Stream(socket, {})))
    await until(call.opened.is_set)
    return socket, task


class Agent:
    """Records its calls, and stays until it is let go."""

    def __init__(self, app: VoiceApp) -> None:
        self.calls: list[Call] = []
        self.left: list[str] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None
        app.on_call(self)

    async def __call__(self, call: Call) -> None:
        self.calls.append(call)
        try:
            await self.go.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.left.append(call.id)


async def open_call(shell: Shell, agent: Agent, context: str = "c") -> tuple[Call, str, Socket]:
    before = len(agent.calls)
    secret = await shell.rung(context)
    socket = shell.dial(secret, f"connection-{context}")
    await until(lambda: len(agent.calls) > before)
    return agent.calls[-1], secret, socket
