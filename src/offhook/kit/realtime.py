"""A call relayed to a speech model: `await relay(call, model=..., instructions=..., tools=[...])`.

The caller's sound goes to the model as it comes, the model's sound into the call as early as it is there. What the
caller did not hear, because they spoke or `call.stop()` cut it, the model is told to forget: it truncates the item.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from offhook.audio.pcm import PTIME_MS
from offhook.kit import realtime_events as ev
from offhook.kit import realtime_settings as say
from offhook.kit.call import CallEnded
from offhook.kit.feed import Listener
from offhook.kit.realtime_calls import FunctionCalls
from offhook.kit.realtime_floor import Floor
from offhook.kit.realtime_history import History
from offhook.kit.realtime_link import Reconnect, RelayFailed, keep_connected
from offhook.kit.realtime_outgoing import Outgoing
from offhook.kit.realtime_services import Connection, Service, service_from_environment
from offhook.kit.realtime_speech import Heard, Spoken
from offhook.kit.tools import TIMEOUT_S, Tool, ToolFunction, tools_of
from offhook.kit.turns import SpeechEnded, SpeechStarted

if TYPE_CHECKING:
    from offhook.kit.call import Call

log: Final = logging.getLogger("offhook.kit")

OnEvent: TypeAlias = Callable[[ev.RelayEvent], Awaitable[None] | None]

EVENTS_KEPT: Final = 1_000
"""Events that `on_event` may be behind; then the oldest are dropped."""
ANSWER_WAIT_S: Final = 3.0
"""How long the service may take to begin the response that its turn detection promises."""
REQUEST_WAIT_S: Final = 10.0
"""How long it may take to begin, or to refuse, one that it was asked for."""
BEFORE_FRAMES: Final = 100
"""Frames that are kept while nobody speaks: the kit may be sure of speech 2 s after it began."""
LEAD_FRAMES: Final = 10
"""Frames from before the speech began that go to the model too."""
DROPS_TOLD_MS: Final = 1_000
"""The log tells each further second of the caller that is dropped because the model is slow."""
LAST_EVENTS_S: Final = 1.0
"""How long `on_event` may take for what is left when the call is over."""
KEYS_PAUSE_S: Final = 1.5
"""A pause that ends a row of keys; so does #."""

_FATAL: Final = frozenset({"invalid_api_key", "insufficient_quota", "model_not_found", "account_deactivated"})
_HARMLESS: Final = frozenset({"response_cancel_not_active"})
_ROLES: Final[dict[str, say.Role]] = {"caller": "user", "agent": "assistant", "tool": "system"}
_INPUT: Final = "input"  # among what the service has not confirmed: what the caller said
_ACTIVE_ALREADY: Final = "conversation_already_has_active_response"
_ACTIVE_TEXT: Final = "already has an active response"  # of services that give no code


async def relay(
    call: Call,
    *,
    model: str = "gpt-realtime",
    instructions: str = "",
    tools: Iterable[ToolFunction] = (),
    voice: str | None = None,
    greeting: str | None = None,
    service: Service | None = None,
    vad: say.Vad = "server",
    transcribe: bool | str = True,
    keys: bool = False,
    on_event: OnEvent | None = None,
    tool_timeout_s: float = TIMEOUT_S,
    reconnect: Reconnect = Reconnect(),  # noqa: B008
    session: Mapping[str, Any] | None = None,
) -> None:
    """Let the caller talk with a speech model until the call ends.

    `model`: its name; with Azure OpenAI, your deployment's. `service`: OpenAI(), AzureOpenAI() or VoiceLive(); by
    default the one whose environment variables are set. `greeting`: instructions for a first answer before the caller
    has spoken. `tools`: plain functions, see `offhook.kit.tools`; one that takes longer than `tool_timeout_s` is given
    up. `vad`: who notices the caller's turns: the service ("server", "semantic", or its settings as a dict) or this
    kit ("local"). `transcribe`: whether the caller's words are told as text, or by which model. `keys`: tell the model
    the keys that are pressed. `session`: more settings in the service's own words, laid over those made here.
    `on_event`, a function or coroutine function, is told Said, Truncated, ToolCalled, ServiceError and Reconnected.

    Of an unmixed stream the model hears the first speaker. Returns when the call is over. ConfigError for settings that
    are wrong or missing; RelayFailed when the model cannot be had: the call is still there, and yours.
    """
    chosen = service or service_from_environment()
    known = tools_of(tools)
    rules = say.turn_rules(vad, barge_in=call.turn_taking.barge_in, voice_live=chosen.voice_live)
    transcriber = transcribe if isinstance(transcribe, str) else chosen.transcriber(model) if transcribe else None
    settings = say.session_settings(
        chosen,
        instructions=instructions,
        voice=voice,
        tools=[tool.schema for tool in known.values()],
        rules=rules,
        transcriber=transcriber,
        more=session or {},
    )
    running = _Relay(call, chosen, rules, settings, known, tool_timeout_s, on_event)
    await running.run(model, reconnect, greeting, keys)


class _Relay:
    """One relay while it runs."""

    def __init__(
        self,
        call: Call,
        service: Service,
        rules: say.TurnRules,
        settings: say.Event,
        tools: dict[str, Tool],
        tool_timeout_s: float,
        on_event: OnEvent | None,
    ) -> None:
        self._call = call
        self._service = service
        self._rules = rules
        self._settings = settings
        self._calls = FunctionCalls(call, tools, tool_timeout_s)
        self._on_event = on_event
        self._out = Outgoing()
        self._speaking = False  # by the kit's own turns
        self._floor = self._new_floor()
        self._history = History()
        self._spoken: dict[tuple[str, int], Spoken] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: Listener[ev.RelayEvent] = Listener(EVENTS_KEPT)
        self._session = 0  # number of the session that events are meant for: one more when it is lost
        self._lost = ""  # what was lost with the last one
        self._broken_off = False  # that was an answer
        self._up = False  # a session is there
        self._unseen: set[str] = set()  # call ids of outputs, ids of messages that the service has not confirmed
        self._messages = 0
        self._answer_due: asyncio.TimerHandle | None = None
        self._before: deque[bytes] = deque(maxlen=BEFORE_FRAMES)
        self._greeting: Mapping[str, Any] | None = None

    # ------------------------------------------------------------------ running

    async def run(self, model: str, reconnect: Reconnect, greeting: str | None, keys: bool) -> None:
        if greeting is not None:
            self._greeting = {"instructions": greeting}

        async def talk(connection: Connection, tries: int, seconds: float) -> None:
            await self._talk(connection, tries, seconds, tell=reconnect.history)

        ways = [self._hear()]
        if self._rules.local:
            ways.append(self._follow_turns())
        if keys:
            ways.append(self._keys())
        work = [asyncio.ensure_future(way) for way in ways]
        work.append(asyncio.ensure_future(keep_connected(self._service, model, reconnect, talk)))
        ended = asyncio.ensure_future(self._call.ended.wait())
        telling = asyncio.ensure_future(self._tell_app())
        try:
            done, _ = await asyncio.wait({ended, *work}, return_when=asyncio.FIRST_COMPLETED)
            if not self._call.ended.is_set():
                for task in done:
                    task.result()
        except CallEnded:
            return
        finally:
            rest = [ended, *work, *self._tasks]
            for task in rest:
                task.cancel()
            for spoken in self._spoken.values():
                spoken.end()
            self._expect_no_answer()
            self._told.end()
            await asyncio.wait({telling}, timeout=LAST_EVENTS_S)
            telling.cancel()
            await asyncio.gather(telling, *rest, return_exceptions=True)

    async def _talk(self, connection: Connection, tries: int, seconds: float, *, tell: bool) -> None:
        """One connection, until it breaks."""
        self._begin(tries=tries, seconds=seconds, tell=tell)
        reading = asyncio.ensure_future(self._read(connection))
        writing = asyncio.ensure_future(self._write(connection))
        try:
            done, _ = await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda task: task is writing):
                task.result()
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
            self._lose()

    def _begin(self, *, tries: int, seconds: float, tell: bool) -> None:
        """A session is there: its settings, and what the last one knew, go before all that waits."""
        self._up = True
        told = self._history.lines() if tell else []
        lines = [say.message(_ROLES[by], text, preview=self._service.preview) for by, text in told]
        self._out.first([self._settings, *lines])
        if self._session:
            kept = f"{len(told)} lines of the conversation were told anew" if told else "all that was said before"
            self._tell(ev.Reconnected(tries, seconds, f"{self._lost}; {kept}" if told else f"{self._lost}, and {kept}"))
        if told and (self._history.unanswered or self._broken_off):
            self._floor.ask()
        elif self._greeting is not None and not self._history.lines():
            self._floor.ask(self._greeting)
        self._floor.begins()

    def _lose(self) -> None:
        """A session is lost. What happens from now on waits for the next one; what was meant for this one is void."""
        self._session += 1
        self._up = False
        active = self._floor.active
        self._broken_off = active is not None and not self._floor.is_old(active)
        self._lost = "the answer that was being made" if self._broken_off else "what the caller was saying"
        self._expect_no_answer()
        self._out.forget_events()
        self._floor = self._new_floor()
        self._calls.forget()
        self._unseen.clear()
        for spoken in self._spoken.values():
            spoken.end()

    async def _write(self, connection: Connection) -> None:
        send_raw = getattr(connection, "send_raw", None)
        while True:
            event = await self._out.take()
            if send_raw is not None:  # the general release's client; its `send` costs 17 times as much
                await send_raw(msgspec.json.encode(event).decode())
            else:
                await connection.send(event)

    async def _read(self, connection: Connection) -> None:
        while True:
            data = await connection.recv_bytes()
            try:
                event = ev.read_event(data)
            except ValueError as error:
                log.warning("call %s: %s", self._call.id, error)
                continue
            if event is not None:
                await _TAKE[type(event)](self, event)

    def _new_floor(self) -> Floor:
        floor = Floor(self._rules, self._ask, self._out.urgent)
        floor.caller_speaks, floor.waiting = self._speaking, True
        return floor

    def _ask(self, create: say.Event) -> None:
        self._out.event(create)
        self._expect_answer(REQUEST_WAIT_S)

    # ------------------------------------------------------------------ the caller

    async def _hear(self) -> None:
        heard = Heard(self._call.rate)
        told = 0.0
        async for frame in self._call.audio:
            pcm = heard.take(frame)
            if not pcm:
                continue
            if self._rules.local and not self._speaking:
                self._before.append(pcm)
                continue
            self._out.sound(pcm)
            if self._out.dropped_ms >= told + DROPS_TOLD_MS:
                told = self._out.dropped_ms
                log.warning("call %s: the model is too slow: %.1f s of the caller dropped", self._call.id, told / 1000)

    async def _follow_turns(self) -> None:
        """The kit's turns: only speech, with a little from before, goes to the model."""
        async for turn in self._call.turns:
            if isinstance(turn, SpeechStarted):
                self._speaking = True
                waiting = self._call.turn_taking.barge_in and not self._audible(self._floor.active)
                self._floor.speech_started(interrupts=waiting)
                late = round((self._call.stream.session.stream_ms - turn.at_ms) / PTIME_MS)
                for pcm in list(self._before)[-max(0, late) - LEAD_FRAMES :]:
                    self._out.sound(pcm)
                self._before.clear()
            elif isinstance(turn, SpeechEnded) and self._speaking:
                self._speaking = False
                self._unseen.add(_INPUT)
                self._out.event(say.commit())
                self._floor.speech_ended()
                self._floor.ask()

    async def _keys(self) -> None:
        keys = aiter(self._call.dtmf)
        row = ""
        while True:
            try:
                async with asyncio.timeout(KEYS_PAUSE_S if row else None):
                    key = await anext(keys)
            except StopAsyncIteration:
                return
            except TimeoutError:
                key = ""
            row += key
            if key in ("", "#"):
                text = f"(The caller pressed these keys of the telephone: {row})"
                item_id = self._ask_about("user", text)
                if self._up:
                    self._history.add("caller", item_id, text, final=True)
                row = ""

    async def _on_speech(self, event: ev.SpeechChange) -> None:
        if event.type == ev.COMMITTED:
            self._unseen.discard(_INPUT)
            self._history.add("caller", event.item_id, "", final=False)  # its place; its words come later
        if self._rules.local:
            return
        if event.type in (ev.SPEECH_STARTED, ev.SPEECH_STOPPED):
            self._call.noticed(speaking=event.type == ev.SPEECH_STARTED)
        if event.type == ev.SPEECH_STARTED:
            barge_in = self._call.turn_taking.barge_in
            self._floor.speech_started(interrupts=barge_in)
            if barge_in and self._spoken:
                self._call.interrupt()
        elif event.type == ev.SPEECH_STOPPED:
            self._floor.speech_ended()
            if self._rules.answers:
                self._expect_answer(ANSWER_WAIT_S)
        elif not self._rules.answers:
            self._floor.ask()

    def _expect_no_answer(self) -> None:
        if self._answer_due is not None:
            self._answer_due.cancel()

    def _expect_answer(self, seconds: float) -> None:
        self._expect_no_answer()
        self._answer_due = asyncio.get_running_loop().call_later(seconds, self._no_answer_came, seconds)

    def _no_answer_came(self, seconds: float) -> None:
        if self._floor.waits:
            log.info("call %s: the model has not begun to answer within %g s: it is asked", self._call.id, seconds)
            self._floor.no_answer_came()

    # ------------------------------------------------------------------ the model's voice

    async def _on_audio(self, event: ev.AudioDelta) -> None:
        if self._floor.is_old(event.response_id):
            return
        key = (event.item_id, event.content_index)
        spoken = self._spoken.get(key)
        if spoken is None:
            spoken = self._spoken[key] = Spoken(*key, event.response_id, self._call.rate)
            spoken.playback = self._call.play(spoken.pieces())
            self._spawn(self._follow(spoken, self._session))
        spoken.put(event.delta)

    async def _on_audio_done(self, event: ev.AudioDone) -> None:
        spoken = self._spoken.get((event.item_id, event.content_index))
        if spoken is not None:
            spoken.end()

    async def _follow(self, spoken: Spoken, session: int) -> None:
        """Until it was heard to its end, or cut: then the model hears of it."""
        assert spoken.playback is not None
        await spoken.playback
        received, was_whole = spoken.received_ms, spoken.whole
        spoken.end()
        self._spoken.pop((spoken.item_id, spoken.content_index), None)
        if not spoken.playback.cut or self._call.ended.is_set() or (was_whole and spoken.heard_ms >= received):
            return
        heard_ms = spoken.heard_ms
        if session == self._session:
            self._floor.drop(spoken.response_id)
            self._out.urgent(say.truncate(spoken.item_id, spoken.content_index, int(heard_ms)))
        text = spoken.heard_of(self._history.text_of(spoken.item_id))
        self._history.heard(spoken.item_id, text)
        self._tell(ev.Truncated(spoken.item_id, heard_ms, text))

    def _audible(self, response_id: str | None) -> bool:
        return any(spoken.response_id == response_id for spoken in self._spoken.values())

    # ------------------------------------------------------------------ responses and words

    async def _on_response(self, event: ev.ResponseChange) -> None:
        response = event.response
        if event.type == "response.created":
            self._floor.created(response.id, covers=not self._unseen)
            return
        for spoken in self._spoken.values():
            if spoken.response_id == response.id:
                spoken.end()
        if self._calls.over(response.id):
            self._floor.ask()
        self._floor.done(response.id)
        if response.status in ("failed", "incomplete"):
            self._failed(response)

    def _failed(self, response: ev.ResponseRef) -> None:
        details = response.status_details or ev.StatusDetails()
        error = details.error or ev.ErrorBody()
        code = error.code or error.type or details.reason or str(response.status)
        text = error.message or f"the response is {response.status}: {details.reason or 'no reason is given'}"
        self._tell(ev.ServiceError(code, text, code in _FATAL))
        if code in _FATAL:
            raise RelayFailed(f"the service cannot answer: {code}: {text}")
        log.warning("call %s: the service: %s: %s", self._call.id, code, text)

    async def _on_agent_text(self, event: ev.AgentText) -> None:
        text, final = (event.transcript, True) if event.transcript is not None else (event.delta or "", False)
        self._history.add("agent", event.item_id, text, final=final)
        self._tell(ev.Said("agent", text, final, event.item_id))

    async def _on_caller_text(self, event: ev.CallerText) -> None:
        text, final = (event.transcript, True) if event.transcript is not None else (event.delta or "", False)
        if final:
            self._history.add("caller", event.item_id, text, final=True)
        self._tell(ev.Said("caller", text.strip() if final else text, final, event.item_id))

    async def _on_caller_text_failed(self, event: ev.CallerTextFailed) -> None:
        log.warning("call %s: the caller's words were not transcribed: %s", self._call.id, event.error)

    async def _on_error(self, event: ev.ErrorEvent) -> None:
        error = event.error
        code, text = error.code or error.type or "error", error.message or "no message"
        asked = (error.event_id or "").startswith("offhook_create_")
        active = code == _ACTIVE_ALREADY or _ACTIVE_TEXT in text
        if asked:
            self._floor.refused(active=active)
        elif active and not error.event_id:
            self._floor.refused_itself()
        if code in _HARMLESS or active:
            log.debug("call %s: the service: %s: %s", self._call.id, code, text)
            return
        fatal = code in _FATAL or error.event_id == say.SETTINGS_ID
        self._tell(ev.ServiceError(code, text, fatal))
        if error.event_id == say.SETTINGS_ID:
            where = f" ({error.param})" if error.param else ""
            raise RelayFailed(f"the service refused the session's settings{where}: {text}")
        if fatal:
            raise RelayFailed(f"the service ended the session: {code}: {text}")
        log.warning("call %s: the service reported an error: %s: %s", self._call.id, code, text)

    # ------------------------------------------------------------------ tools

    async def _on_item(self, event: ev.ItemDone) -> None:
        item = event.item
        self._unseen.discard((item.call_id if item.type == "function_call_output" else item.id) or "")
        if item.type == "function_call" and event.response_id and item.status != "incomplete":
            self._calls.begin(event.response_id)
            self._spawn(self._run_tool(item, event.response_id, self._session))

    async def _run_tool(self, item: ev.Item, response_id: str, session: int) -> None:
        result = await self._calls.run(item)
        self._tell(result)
        text = f"The tool {result.name} was called with {result.arguments} and gave: {result.output}"
        if session == self._session or self._up:
            self._history.add("tool", item.id, text, final=True)
        if session != self._session:  # the new session has no such call
            self._ask_about("system", text)
            return
        self._unseen.add(item.call_id or "")
        self._out.event(say.tool_output(item.call_id or "", result.output))
        if self._calls.answered(response_id):
            self._floor.ask()

    def _ask_about(self, role: say.Role, text: str) -> str:
        """Tell the model something, to which it is to answer; the id of the message."""
        self._messages += 1
        item_id = f"offhook_{self._messages}"
        self._unseen.add(item_id)
        self._out.event(say.message(role, text, preview=self._service.preview, item_id=item_id))
        self._floor.ask()
        return item_id

    # ------------------------------------------------------------------ small things

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("call %s: the relay", self._call.id, exc_info=error)

    def _tell(self, event: ev.RelayEvent) -> None:
        if self._on_event is not None:
            self._told.put(event)

    async def _tell_app(self) -> None:
        async for event in self._told:
            try:
                if self._on_event is not None and (result := self._on_event(event)) is not None:
                    await result
            except (Exception, asyncio.CancelledError, SystemExit):
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                log.exception("call %s: on_event failed", self._call.id)


_TAKE: Final[dict[type, Callable[[_Relay, Any], Awaitable[None]]]] = {
    ev.SpeechChange: _Relay._on_speech,
    ev.ResponseChange: _Relay._on_response,
    ev.AudioDelta: _Relay._on_audio,
    ev.AudioDone: _Relay._on_audio_done,
    ev.AgentText: _Relay._on_agent_text,
    ev.CallerText: _Relay._on_caller_text,
    ev.CallerTextFailed: _Relay._on_caller_text_failed,
    ev.ItemDone: _Relay._on_item,
    ev.ErrorEvent: _Relay._on_error,
}
