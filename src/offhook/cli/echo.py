"""`offhook echo`: a sample app. It answers, echoes the caller, and stops on DTMF `#`.

Calls are controlled with the official async SDK, the stream is served by the kit.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import OrderedDict
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import typer

from offhook.errors import ConfigError, WireError

if TYPE_CHECKING:
    from aiohttp import web
    from azure.communication.callautomation.aio import CallAutomationClient

    from offhook.kit import Stream, TokenCheck
    from offhook.wire.app_events import CallbackEvent, IncomingCall

INCOMING: Final = "/api/incomingCall"
CALLBACKS: Final = "/api/callbacks"
SOCKET: Final = "/ws"
HANG_UP_TONE: Final = "#"
_CONTEXTS_KEPT: Final = 256
_RATES: Final = {16000: "pcm16KMono", 24000: "pcm24KMono"}


def echo(
    port: int = typer.Option(8000, "--port", min=0, max=65535, help="Port to listen on; 0 picks a free one."),
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on."),
    rate: int = typer.Option(16000, "--rate", help="Sample rate of the stream: 24000 or 16000."),
    unmixed: bool = typer.Option(False, "--unmixed", help="One stream of frames a participant, not the mix."),
    public: str | None = typer.Option(
        None,
        "--public",
        metavar="URL",
        help="Base URL that the service reaches this app at.  [default: http://HOST:PORT]",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
) -> None:
    """Run the sample app: it answers, echoes the caller, and hangs up on DTMF #.

    Written on the official async SDK and the kit. Needs ACS_CONNECTION_STRING and ACS_RESOURCE_ID, as set by
    `offhook exec` (or those of a real resource).

    \b
    Example:
      offhook dev --incoming http://127.0.0.1:8000/api/incomingCall
      offhook exec -- offhook echo
    """
    if rate not in _RATES:
        raise ConfigError(f"--rate is 24000 or 16000, not {rate}")
    if public is not None and (urlsplit(public).scheme not in ("http", "https") or not urlsplit(public).netloc):
        raise ConfigError(f"--public is a base URL such as https://my.host, not {public!r}")
    connection = os.environ.get("ACS_CONNECTION_STRING")
    if not connection:
        raise ConfigError("ACS_CONNECTION_STRING is not set: run it as  offhook exec -- offhook echo")
    app = EchoApp(connection, rate, unmixed, as_json)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(app.run(host, port, public))


def _loop_factory() -> Any:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


class EchoApp:
    """The sample app: one web server with the two webhooks and the stream's socket."""

    def __init__(self, connection: str, rate: int, unmixed: bool, as_json: bool) -> None:
        self._connection = connection
        self._rate = rate
        self._unmixed = unmixed
        self._as_json = as_json
        self._base = ""
        self._client: CallAutomationClient | None = None
        self._tokens: TokenCheck | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: set[Stream] = set()
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def run(self, host: str, port: int, public: str | None) -> None:
        """Serve until SIGTERM or SIGINT. ConfigError when the port or the connection string cannot be used."""
        from aiohttp import web
        from azure.communication.callautomation.aio import CallAutomationClient

        from offhook.kit import TokenCheck, stream_handler

        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            self._client = CallAutomationClient.from_connection_string(self._connection)
        except ValueError as error:
            raise ConfigError(f"ACS_CONNECTION_STRING cannot be used: {error}") from None
        self._tokens = TokenCheck()
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post(INCOMING, self._on_grid_post)
        app.router.add_post(CALLBACKS, self._on_callback_post)
        app.router.add_get(SOCKET, stream_handler(self._on_stream, token_check=self._tokens))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
            local = f"http://{_dialled(host)}:{runner.addresses[0][1]}"
            self._base = (public or local).rstrip("/")
            self._tell_listening(local)
            await stop.wait()
        finally:
            await self._close(runner)

    async def _close(self, runner: web.AppRunner) -> None:
        for stream in list(self._streams):
            await stream.close()
        for task in list(self._tasks):
            task.cancel()
        await runner.cleanup()
        if self._client is not None:
            await self._client.close()

    # ------------------------------------------------------------------ webhooks

    async def _on_grid_post(self, request: web.Request) -> web.Response:
        from aiohttp import web

        from offhook.wire.app_events import IncomingCall, SubscriptionValidation, read_grid_events

        try:
            events = read_grid_events(await request.read())
        except WireError as error:
            return web.Response(status=400, text=f"{error}\n")
        for event in events:
            if isinstance(event, SubscriptionValidation):
                self._tell("validated", "Event Grid checked this webhook")
                return web.Response(body=event.answer, content_type="application/json")
            if isinstance(event, IncomingCall) and self._is_new(event.incoming_call_context):
                self._start(self._answer(event))
        return web.Response()

    async def _on_callback_post(self, request: web.Request) -> web.Response:
        import time

        from aiohttp import web

        from offhook.kit import TokenError
        from offhook.wire.app_events import read_callbacks

        try:
            assert self._tokens is not None
            await self._tokens.verify(request.headers.get("Authorization"), time.time())
            events = read_callbacks(await request.read())
        except TokenError as error:
            self._tell("refused", f"callback refused: {error}", reason=str(error))
            return web.Response(status=401, text=f"{error}\n")
        except WireError as error:
            return web.Response(status=400, text=f"{error}\n")
        for event in events:
            self._tell_callback(event)
        return web.Response()

    # ------------------------------------------------------------------ the call

    async def _answer(self, call: IncomingCall) -> None:
        from azure.communication.callautomation import (
            AudioFormat,
            MediaStreamingAudioChannelType,
            MediaStreamingContentType,
            MediaStreamingOptions,
            StreamingTransportType,
        )
        from azure.core.exceptions import AzureError

        channel = MediaStreamingAudioChannelType
        options = MediaStreamingOptions(
            transport_url=f"ws{self._base.removeprefix('http')}{SOCKET}",
            transport_type=StreamingTransportType.WEBSOCKET,
            content_type=MediaStreamingContentType.AUDIO,
            audio_channel_type=channel.UNMIXED if self._unmixed else channel.MIXED,
            start_media_streaming=True,
            enable_bidirectional=True,
            audio_format=AudioFormat(_RATES[self._rate]),
            enable_dtmf_tones=True,
        )
        caller = call.caller.raw_id
        self._tell("incoming", f"call from {caller or 'unknown'}", **{"from": caller})
        assert self._client is not None
        try:
            answered = await self._client.answer_call(
                call.incoming_call_context, f"{self._base}{CALLBACKS}", media_streaming=options
            )
        except AzureError as error:
            self._tell("answerFailed", f"the call could not be answered: {error.message}", message=error.message)
            return
        connection = answered.call_connection_id
        self._tell("answered", f"answered, connection {connection}", callConnectionId=connection)

    async def _on_stream(self, stream: Stream) -> None:
        from offhook.kit import Audio, Dtmf, Opened

        self._streams.add(stream)
        frames = 0
        try:
            async for event in stream:
                if isinstance(event, Audio):
                    frames += 1
                    await stream.play(event.frame.data)
                elif isinstance(event, Opened):
                    self._tell_stream("streamOpened", stream, rate=event.metadata.sample_rate)
                elif isinstance(event, Dtmf):
                    self._tell_stream("dtmf", stream, tone=event.tone)
                    if event.tone == HANG_UP_TONE:
                        await stream.stop()
                        self._start(self._hang_up(stream.call_connection_id))
                        break
            async for _ in stream:
                continue  # nothing is echoed after the stop, while the call ends
        finally:
            self._streams.discard(stream)
            self._tell_stream("streamClosed", stream, frames=frames)

    async def _hang_up(self, call_connection_id: str | None) -> None:
        from azure.core.exceptions import AzureError

        assert self._client is not None
        try:
            await self._client.get_call_connection(call_connection_id or "").hang_up(is_for_everyone=True)
        except AzureError as error:
            self._tell("hangUpFailed", f"the call could not be ended: {error.message}", message=error.message)

    # ------------------------------------------------------------------ small things

    def _is_new(self, context: str) -> bool:
        # Event Grid may deliver an event twice (protocol.md 6.1); a call is answered once.
        if context in self._seen:
            return False
        self._seen[context] = None
        if len(self._seen) > _CONTEXTS_KEPT:
            self._seen.popitem(last=False)
        return True

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, event: str, text: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}) if self._as_json else text, flush=True)

    def _tell_stream(self, event: str, stream: Stream, **fields: Any) -> None:
        details = " ".join(f"{name} {value}" for name, value in fields.items())
        words = {"streamOpened": "stream opened", "streamClosed": "stream closed", "dtmf": "DTMF"}
        self._tell(event, f"{words[event]}: {details}", callConnectionId=stream.call_connection_id, **fields)

    def _tell_callback(self, event: CallbackEvent) -> None:
        outcome = f" {event.code}/{event.sub_code} {event.message}" if event.code is not None else ""
        self._tell(
            "callback",
            f"{event.type}{outcome}",
            type=event.type,
            callConnectionId=event.call_connection_id,
            code=event.code,
            subCode=event.sub_code,
            message=event.message,
        )

    def _tell_listening(self, local: str) -> None:
        incoming = f"{self._base}{INCOMING}"
        text = (
            f"The echo app listens on {local}\n\n"
            f"Send it incoming calls by starting the node so:\n  offhook dev --incoming {incoming}\n\n"
            "then place one:\n  offhook call --to +15550100002 --tone 440\n"
        )
        self._tell("listening", text, incoming=incoming, callbacks=f"{self._base}{CALLBACKS}", url=local)


def _dialled(host: str) -> str:
    """The address to dial for one that was listened on."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
