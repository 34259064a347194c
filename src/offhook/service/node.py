"""Node: owns every call and the tick, and answers what the REST interface asks (architecture.md)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from picows import WSMsgType

from offhook.audio.bridge import Port
from offhook.audio.lanes import Lanes
from offhook.calls.actions import AnnounceCall, DialLeg, Notify, OpenStream, OpenTranscription, ReferLeg
from offhook.calls.call import Call
from offhook.errors import CallError, LegError, SignatureError
from offhook.legs.leg import Ended, Leg, LegEvent, Pace
from offhook.service import connecting, moving
from offhook.service.call_facts import about
from offhook.service.capturing import Captures
from offhook.service.clock import Clock, Handle, MediaClock
from offhook.service.directory import LocalDirectory
from offhook.service.eventgrid import IncomingPost
from offhook.service.exchange import Exchange, call_of
from offhook.service.live import LiveCall
from offhook.service.masking import Body, plain
from offhook.service.outside import MediaNetwork, NodeIdentity, Outside, Phone
from offhook.service.participants import AskCall
from offhook.service.recordings import Recorders
from offhook.service.sounds import Loader, Sounds
from offhook.service.speech import Speech
from offhook.service.stream_port import Batch, StreamPort
from offhook.service.streaming import MediaStream
from offhook.service.trace import CallTrace, Traces
from offhook.service.transcription import Transcript, TranscriptStream
from offhook.wire.events import CallDisconnected, CallParticipant, encode_callback, event_time, grid_time, incoming_call
from offhook.wire.identifiers import COMMUNICATION_USER, Identifier
from offhook.wire.ids import mint_id, server_call_id
from offhook.wire.models import (
    AnswerCallRequest,
    CallConnectionProperties,
    CreateCallRequest,
    MediaStreamingOptions,
    RedirectCallRequest,
    RejectCallRequest,
)
from offhook.wire.signing import open_context, seal_context
from offhook.wire.streaming import timestamp

log = logging.getLogger("offhook.node")

DEFAULT_RATE = 16000
CONTEXT_LIFE = 300.0
WATCH_EVERY = 0.1
ABANDON_AFTER = 20.0
"""Seconds without a sign of an app that could not be reached, after which it has left its calls."""
NO_WEBHOOK = "give the app's event route: offhook dev --incoming URL, or a [[webhook]] of offhook serve that fits"
FULL_TICK = 0.016  # mean seconds of a tick above which new calls are refused


class Node:
    """All live calls of a process. Everything runs on one loop; `tick` never awaits."""

    def __init__(
        self,
        clock: Clock,
        identity: NodeIdentity,
        outside: Outside,
        *,
        tell: Callable[[dict[str, Any]], None],
        randomness: Callable[[int], bytes] = os.urandom,
        restart_ms: int = 40,
        most_calls: int = 0,
    ) -> None:
        """`most_calls` at once; 0: as many as the clock has room for."""
        self.clock = clock
        self.identity = identity
        self.outside = outside
        self.batch = Batch(WSMsgType.TEXT)
        self.pace = Pace()
        self.media = MediaClock(clock, self._tick, self.pace)
        self.lanes = Lanes(self._lane_failed)
        for rate in (DEFAULT_RATE, 24000):
            self.lanes.prepare(8000, rate)
        self.traces = Traces(clock, self._tell_note)
        self.phones: dict[str, Phone] = {}
        self.find_phone: Callable[[str], Phone | None] = lambda raw_id: None
        self.find_app: Callable[[DialLeg], Phone | None] = lambda action: None
        """An app that takes the calls to a user whom nobody else can be rung as."""
        self.announces: Callable[[str], bool] = lambda raw_id: False
        """Whether a call that is redirected to an identifier is announced to apps, and nobody is rung."""
        self.refer: Callable[[Leg, ReferLeg], bool] = lambda leg, action: False
        """Asks an endpoint to call somebody itself; False when it cannot be asked."""
        self.captures: Captures | None = None
        """What keeps the sound of calls, and their figures over time."""
        self.recordings: Recorders | None = None
        self.sounds: Loader = Sounds()
        """Where prompts come from."""
        self.speech = Speech(clock=clock)
        self.networks: list[MediaNetwork] = []
        """Where legs' audio comes and goes, beside the legs of this process."""
        self.calls: dict[str, LiveCall] = {}
        self.groups: dict[str, LiveCall] = {}
        """Calls by the id of their group; some may be over."""
        self.moved: dict[str, LiveCall] = {}
        """Where legs are that are not in the call that they began in."""
        self.stopping = False
        self.draining = False
        """Whether live calls go on and new ones are refused."""
        self.calls_taken = 0
        self._tell = tell
        self._random = randomness
        self._restart_ms = restart_ms
        self._most_calls = most_calls
        self._connections: LocalDirectory[LiveCall] = LocalDirectory()
        self._bridged: list[LiveCall] = []
        self._events: list[tuple[LiveCall, str, LegEvent]] = []
        self._busy = False
        self._watch: Handle | None = None
        self._tick_mean = 0.0

    # the tick ---------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """20 ms of every call: gather, mix, scatter; then what the legs did."""
        began = self.clock.monotonic()
        self._busy = True
        self.batch.stamp = timestamp(self.clock.wall())
        lanes = self.lanes
        for network in self.networks:
            network.receive(began)
        self.batch.read()
        lanes.gather()
        for live in self._bridged:
            live.tick()
        if self.captures is not None:
            self.captures.tick()
        lanes.scatter()
        for network in self.networks:
            network.flush()
        self.batch.flush()
        self._busy = False
        self._tick_mean += 0.05 * (self.clock.monotonic() - began - self._tick_mean)
        if self._events:
            self._drain_events()

    @property
    def overloaded(self) -> bool:
        """Whether new calls would harm live ones."""
        return self.media.running and self._tick_mean > FULL_TICK

    def leg_event(self, live: LiveCall, leg_id: str, event: LegEvent) -> None:
        """What an endpoint did; acted on at once, or after the tick that is running. `live`: where its leg began."""
        self._events.append((live, leg_id, event))
        if not self._busy:
            self._drain_events()

    def _drain_events(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                live, leg_id, event = self._events.pop(0)
                live = self.moved.get(leg_id, live)  # what came before may have moved it
                try:
                    live.leg_event(leg_id, event)
                except Exception:
                    # A mistake of ours in one call must not stop the clock of all others.
                    log.exception("call %s: %s of leg %s failed", live.call.call_id, event, leg_id)
        finally:
            self._busy = False

    def _watch_deadlines(self) -> None:
        """Advance the machines whose time has come; runs while there are calls."""
        self._watch = None
        now = self.clock.monotonic()
        for live in list(self.calls.values()):
            try:
                deadline = live.call.next_deadline()
                if deadline is not None and deadline <= now:
                    live.call.advance(now)
                    live.settle()
            except Exception:
                log.exception("call %s: what was due failed", live.call.call_id)  # as in `_drain_events`
        if self.captures is not None:
            self.captures.look(now)
        self._keep_watch()

    def _keep_watch(self) -> None:
        if self.calls and self._watch is None:
            self._watch = self.clock.call_at(self.clock.monotonic() + WATCH_EVERY, self._watch_deadlines)

    # calls in ---------------------------------------------------------------------------------------------------

    def mint(self) -> str:
        """A fresh id that carries the node's number."""
        return mint_id(self.identity.number, self._random(16))

    def place(
        self,
        caller: Identifier,
        callee: Identifier,
        display_name: str,
        make_leg: Callable[[str, Callable[[str, LegEvent], None]], Leg],
        sip_headers: Mapping[str, str] | None = None,
        voip_headers: Mapping[str, str] | None = None,
    ) -> LiveCall:
        """Take an inbound call: ring the app. CallError when the node is full or stopping.

        `sip_headers` and `voip_headers` go to the app as the call's custom context.

        Whatever `make_leg` raises is raised, and nothing of the call is left.
        """
        self.admit()
        call_id, leg_id, now = self.mint(), self.mint(), self.clock.monotonic()
        call = Call.incoming(
            call_id=call_id,
            server_call_id=server_call_id(self.identity.number, call_id),
            correlation_id=self.mint(),
            caller=caller,
            callee=callee,
            leg_id=leg_id,
            display_name=display_name,
            now=now,
        )
        live = self.begin(call_id, call)
        if sip_headers or voip_headers:
            live.custom_context = {"sipHeaders": dict(sip_headers or {}), "voipHeaders": dict(voip_headers or {})}
        try:
            leg = make_leg(leg_id, lambda leg, event: self.leg_event(live, leg, event))
        except Exception as error:
            # An endpoint that cannot be talked to: the trace says why, and nothing else is left.
            self.traces.leg(live.trace, leg_id, caller.raw_id, name=display_name)
            live.note("leg", "failed", leg=leg_id, reason=str(error))
            live.end("leg_failed")
            raise
        live.add_leg(leg, caller, name=display_name)
        live.note("leg", "placed", leg=leg_id, caller=caller.raw_id, callee=callee.raw_id)
        live.settle()
        return live

    def begin(self, call_id: str, call: Call, rate: int = DEFAULT_RATE) -> LiveCall:
        """Let a call live."""
        live = LiveCall(call, self, rate, self.traces.begin(call_id, about(call)))
        self.calls[call_id] = live
        self.calls_taken += 1
        self._keep_watch()
        return live

    def admit(self) -> None:
        """Refuse a new call where there is no room for it. CallError `throttled`, `service_unavailable`."""
        if self.stopping or self.draining:
            raise CallError("service_unavailable")
        if self._most_calls and len(self.calls) >= self._most_calls:
            raise CallError("throttled", f"the node takes {self._most_calls} calls at once (most_calls)")
        if self.overloaded:
            raise CallError("throttled", "the media clock has no room for another call")

    # what live calls ask (CallHost) -----------------------------------------------------------------------------

    def announce(self, live: LiveCall, action: AnnounceCall) -> None:
        """Post IncomingCall with a fresh sealed context; nobody to tell: the call cannot be reached."""
        live.hop += 1
        hop, call = live.hop, live.call
        now = self.clock.wall()
        payload = {"call": call.call_id, "hop": hop, "exp": now + CONTEXT_LIFE}
        event_id = self.mint()
        body = incoming_call(
            event_id=event_id,
            topic=self.identity.topic,
            time=grid_time(now),
            to=action.callee,
            from_=action.caller,
            server_call_id=call.server_call_id,
            display_name=action.display_name,
            context=seal_context(payload, self.identity.context_key, self._random(12)),
            correlation_id=call.correlation_id,
            custom_context=live.custom_context,
        )
        ringing = IncomingPost(
            call.call_id,
            event_id,
            body,
            lambda: call.ringing and live.hop == hop,
            action.callee.raw_id,
            action.caller.raw_id,
        )
        told = self.outside.announce(ringing)
        more = {"eventId": event_id, "from": action.caller.raw_id, "body": Body.of(body)}
        live.note("callback", "IncomingCall", more=more, to=action.callee.raw_id, subscriptions=told)
        if not told:
            live.note("call", "nobody to tell", fix=NO_WEBHOOK)
            self.clock.call_at(self.clock.monotonic(), lambda: self._unreachable(live, hop))

    def _unreachable(self, live: LiveCall, hop: int) -> None:
        """Nobody could be told; the caller has heard that its call is placed before it hears this."""
        if live.call.ringing and live.hop == hop:
            for leg_id in list(live.legs):
                self.leg_event(live, leg_id, Ended("unreachable"))

    def notify(self, live: LiveCall, action: Notify) -> None:
        """Post an event to the app's callback URI."""
        event, event_id = action.event, self.mint()
        body = encode_callback(
            event, event_id=event_id, time=event_time(self.clock.wall()), api_version=action.api_version
        )
        info = event.result_information
        figures = {} if info is None else {"code": info.code, "subCode": info.sub_code, "message": info.message}
        more = {"eventId": event_id, "type": event.type, "body": Body.of(body)}
        live.note(
            "callback", event.name, more=more, connection=event.call_connection_id, uri=action.callback_uri, **figures
        )
        self.outside.deliver(event.call_connection_id, action.callback_uri, body, event.type, event_id)
        if isinstance(event, CallDisconnected):
            self._let_go(live, event.call_connection_id)

    def phone(self, raw_id: str) -> Phone | None:
        """Who can be rung under an identifier: a simulated phone, or one that has registered."""
        return self.phones.get(raw_id) or self.find_phone(raw_id)

    def dial(self, live: LiveCall, action: DialLeg) -> Leg:
        """Ring a phone, or else an app that watches the user.

        LegError `unreachable` names the fix, `throttled` says what is full.
        """
        if self.overloaded and live.call.state == "connected":
            raise LegError("throttled", "the media clock has no room for another leg")
        target = action.target
        phone = self.phone(target.raw_id) or self.find_app(action)
        if phone is None:
            or_app = f", or {NO_WEBHOOK}" if target.kind == COMMUNICATION_USER else ""
            raise LegError(
                "unreachable",
                f"no phone is registered as {target.raw_id}: register a SIP phone, "
                f"or run `offhook phone --number {target.value}`{or_app}",
            )
        if live.custom_context is not None and live.call.state == "redirecting":
            # What the caller sent along goes on with the call that is redirected.
            sip, voip = (tuple(live.custom_context[kind].items()) for kind in ("sipHeaders", "voipHeaders"))
            action = replace(action, sip_headers=sip, voip_headers=voip)
        leg = phone.ring(action, live.call.call_id)
        live.note("leg", "dialled", leg=action.leg_id, target=action.target.raw_id)
        return leg

    def open_stream(self, live: LiveCall, action: OpenStream) -> MediaStream:
        """The app's port, and the stream behind it."""
        options = action.options
        port = StreamPort(
            options.sample_rate,
            bridge_rate=live.rate,
            mixed=options.audio_channel_type == "mixed",
            bidirectional=options.bidirectional,
            batch=self.batch,
            restart_ms=self._restart_ms,
        )
        return self.outside.stream(live, action, port)

    def open_transcript(self, live: LiveCall, action: OpenTranscription, owner: Transcript) -> TranscriptStream:
        """The socket of a transcription."""
        return self.outside.transcript(live, action, owner)

    def stream_cut(self, live: LiveCall, event: dict[str, Any]) -> None:
        """Tell who watches the node what a StopAudio cut."""
        self._tell({"event": "stopAudio", **event})

    def bridged(self, live: LiveCall) -> None:
        """Tick this call from now on."""
        if live not in self._bridged:
            self._bridged = [*self._bridged, live]
        if not self.media.running:
            for network in self.networks:
                network.discard()
            self.media.start()

    def call_over(self, live: LiveCall) -> None:
        """Forget a call; without any the clock rests."""
        self._bridged = [other for other in self._bridged if other is not live]
        self.calls.pop(live.call.call_id, None)
        for connection_id in live.trace.connection_ids:
            self._let_go(live, connection_id)
        if not self._bridged:
            self.media.stop()

    # what apps ask (CallControl) --------------------------------------------------------------------------------

    def create(self, request: CreateCallRequest, api_version: str) -> CallConnectionProperties:
        """Place an outbound call to each target."""
        self.admit()
        call_id, connection_id = self.mint(), self.mint()
        call = Call.create(
            call_id=call_id,
            server_call_id=server_call_id(self.identity.number, call_id),
            correlation_id=self.mint(),
            connection_id=connection_id,
            subscription_id=self.mint(),
            request=request,
            leg_ids=[self.mint() for _ in request.targets],
            api_version=api_version,
            now=self.clock.monotonic(),
        )
        live = self.begin(call_id, call, _rate_of(request.media_streaming_options))
        self.claim(live, connection_id)
        properties = call.properties(connection_id)
        live.settle()
        return properties

    def answer(self, request: AnswerCallRequest, api_version: str) -> CallConnectionProperties:
        """Take an incoming call; the loser of a second answer gets `context_spent` (409/8519)."""
        live = self._ringing(request.incoming_call_context)
        live.choose_rate(_rate_of(request.media_streaming_options))
        connection_id = self.mint()
        live.call.answer(connection_id, self.mint(), request, api_version, self.clock.monotonic())
        self.claim(live, connection_id)
        properties = live.call.properties(connection_id)
        live.settle()
        return properties

    def reject(self, request: RejectCallRequest) -> None:
        """Refuse an incoming call."""
        live = self._ringing(request.incoming_call_context)
        live.call.reject(request.call_reject_reason, self.clock.monotonic())
        live.settle()

    def redirect(self, request: RedirectCallRequest) -> None:
        """Ring a phone instead, or tell the apps anew with the other target."""
        live = self._ringing(request.incoming_call_context)
        now = self.clock.monotonic()
        target = request.target.raw_id
        rings = target in self.phones or (self.phone(target) is not None and not self.announces(target))
        if rings:
            live.call.redirect(request.target, self.mint(), now)
        else:
            live.call.reannounce(request.target, now)
        live.settle()

    connect = connecting.connect
    move, move_leg, split = moving.move, moving.move_leg, moving.split

    def properties(self, connection_id: str) -> CallConnectionProperties:
        """The connection as of now."""
        return self.find(connection_id).call.properties(connection_id)

    def participants(self, connection_id: str) -> list[CallParticipant]:
        """The roster."""
        return list(self.find(connection_id).call.participants(connection_id))

    def participant(self, connection_id: str, raw_id: str) -> CallParticipant:
        """One of the roster."""
        return self.find(connection_id).call.participant(connection_id, raw_id)

    def hang_up(self, connection_id: str) -> None:
        """The app leaves; a call of two ends."""
        live = self.find(connection_id)
        live.call.hang_up(connection_id, self.clock.monotonic())
        live.settle()

    def terminate(self, connection_id: str) -> None:
        """End the call for all."""
        live = self.find(connection_id)
        live.call.terminate(connection_id, self.clock.monotonic())
        live.settle()

    def ask(self, connection_id: str, request: AskCall) -> None:
        """Give a request to the call of a connection, and carry out what follows from it."""
        live = self.find(connection_id)
        request(live.call, self.clock.monotonic())
        live.settle()

    def app_heard(self, connection_id: str) -> None:
        """The app of a connection has given a sign of life: it asked for something, or took a callback."""
        live = self._connections.find(connection_id)
        if live is not None:
            live.app_heard[connection_id] = self.clock.monotonic()

    def app_unreachable(self, connection_id: str) -> None:
        """Nobody was there to take a callback. Without a sign until `ABANDON_AFTER`, the app has left the call."""
        since = self.clock.monotonic()

        def look() -> None:
            live = self._connections.find(connection_id)
            if live is None or connection_id in live.streams or connection_id in live.transcripts:
                return
            if live.app_heard.get(connection_id, 0.0) > since:
                return
            live.note("call", "abandoned", connection=connection_id, reason="the app cannot be reached any more")
            log.warning("call %s: the app cannot be reached any more and leaves", live.call.call_id)
            self.hang_up(connection_id)

        if self._connections.find(connection_id) is not None:
            self.clock.call_at(since + ABANDON_AFTER, look)

    def note_request(
        self,
        connection_id: str | None,
        operation: str,
        status: int,
        detail: dict[str, Any],
        exchange: Exchange | None = None,
    ) -> None:
        """A REST request, for the trace of its call."""
        if connection_id and (exchange is None or exchange.trusted):
            self.app_heard(connection_id)
        trace = call_of(self, connection_id, exchange)
        if trace is not None:
            more = {"connection": connection_id, **({} if exchange is None else exchange.kept())}
            self.traces.note(trace, "rest", operation, more=more, status=status, **detail)

    def shut_down(self) -> None:
        """Take no more calls, and end those that are."""
        self.stopping = True
        for live in list(self.calls.values()):
            live.call.shut_down(self.clock.monotonic())
            live.settle()
        self.media.stop()
        if self._watch is not None:
            self._watch.cancel()

    # inside -----------------------------------------------------------------------------------------------------

    def claim(self, live: LiveCall, connection_id: str) -> None:
        """A connection is a hold on this call."""
        self._connections.claim(connection_id, live)
        self.traces.connect(live.trace, connection_id)

    def known(self, connection_id: str) -> LiveCall | None:
        """The call that a connection is or was a hold on."""
        return self._connections.find(connection_id)

    def find(self, connection_id: str) -> LiveCall:
        """The same. CallError `call_not_found` for none."""
        live = self.known(connection_id)
        if live is None:
            raise CallError("call_not_found")
        return live

    def _let_go(self, live: LiveCall, connection_id: str) -> None:
        """Forget a connection: an app has left, and its call may go on for long."""
        if self.known(connection_id) is live:
            self._connections.release(connection_id)
            self.outside.finish(connection_id)
            live.app_heard.pop(connection_id, None)

    def _ringing(self, context: str) -> LiveCall:
        """The incoming call of a sealed context."""
        try:
            payload = open_context(context, self.identity.context_key, self.clock.wall())
        except SignatureError as error:
            expired = "expired" in error.message
            raise CallError("context_expired" if expired else "invalid_argument", error.message) from None
        live = self.calls.get(str(payload.get("call")))
        if live is None:
            raise CallError("call_not_found", "The caller gave up, or the call is over.")
        if payload.get("hop") != live.hop:
            raise CallError("context_spent")
        return live

    def _lane_failed(self, port: Port, error: Exception) -> None:
        """A port raised in a lane: whoever has it on its bridge takes it off."""
        for live in self._bridged:
            if live.lane_failed(port, error):
                return
        log.error("a port of no call failed in its lane and was taken out", exc_info=error)

    def _tell_note(self, trace: CallTrace, kind: str, name: str, detail: dict[str, Any]) -> None:
        if kind != "stopAudio":
            self._tell({"event": kind, "name": name, "callId": trace.call_id, **plain(detail)})


def _rate_of(options: MediaStreamingOptions | None) -> int:
    """A call runs at the rate of the stream that it is answered with."""
    return DEFAULT_RATE if options is None else options.sample_rate
