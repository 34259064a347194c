"""LiveCall: performs what a pure `Call` asks for, and owns its bridge, legs and streams (architecture.md).

It only dispatches: inputs go to the machine, the machine's drained actions are carried out in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from offhook.audio.bridge import Bridge, Member, Port
from offhook.audio.buffers import Cut
from offhook.audio.lanes import Lanes
from offhook.audio.pcm import FRAMES_PER_SECOND
from offhook.calls.actions import (
    AnnounceCall,
    AnswerLeg,
    CallEnded,
    CloseStream,
    CloseTranscription,
    DialLeg,
    DropKeys,
    DropPrompt,
    HangUpLeg,
    HoldLeg,
    LegJoined,
    LegLeft,
    LoadPrompt,
    MoveLeg,
    MuteLeg,
    Notify,
    OpenStream,
    OpenTranscription,
    Record,
    ReferLeg,
    RejectLeg,
    SendKey,
    SplitCall,
    StartHearing,
    StartPrompt,
    StopHearing,
    UpdateTranscription,
)
from offhook.calls.call import Call
from offhook.calls.holding import place_of
from offhook.calls.transcribing import Fact
from offhook.errors import CallError, LegError, PromptError
from offhook.legs.leg import (
    Answered,
    Dtmf,
    Ended,
    KeySent,
    Leg,
    LegEnd,
    LegEvent,
    RateChanged,
    Referred,
    Refused,
    Ringing,
)
from offhook.legs.rtp import RtpPort
from offhook.service.call_facts import ENDED_BY, leg_kind, leg_note, media_note, turn_note
from offhook.service.capturing import Captures
from offhook.service.clock import Clock, MediaClock
from offhook.service.hearings import Hearings
from offhook.service.listening import Listening
from offhook.service.prompts import Prompts
from offhook.service.recordings import Recorders
from offhook.service.sounds import Loader
from offhook.service.speech import Speech
from offhook.service.stream_port import Batch
from offhook.service.streaming import MediaStream
from offhook.service.trace import CallTrace, Traces
from offhook.service.transcription import Transcript, Transcriptions, TranscriptStream
from offhook.wire.events import CallDisconnected, CreateCallFailed
from offhook.wire.identifiers import Identifier
from offhook.wire.results import RESULTS, ResultInformation
from offhook.wire.turns import TurnReport

log = logging.getLogger("offhook.call")


class CallHost(Protocol):
    """What a live call needs of its node."""

    clock: Clock
    lanes: Lanes
    batch: Batch
    captures: Captures | None
    media: MediaClock
    recordings: Recorders | None
    sounds: Loader
    speech: Speech
    traces: Traces
    moved: dict[str, LiveCall]
    refer: Callable[[Leg, ReferLeg], bool]
    stopping: bool

    def announce(self, live: LiveCall, action: AnnounceCall) -> None:
        """Tell the apps that watch the called number."""

    def notify(self, live: LiveCall, action: Notify) -> None:
        """Post an event to an app."""

    def dial(self, live: LiveCall, action: DialLeg) -> Leg:
        """Place an outbound leg; LegError when the target cannot be reached."""

    def move_leg(self, live: LiveCall, leg_id: str, call_id: str) -> None:
        """A leg goes on in another call."""

    def split(self, live: LiveCall, action: SplitCall) -> None:
        """Two legs go on in a call of their own."""

    def open_stream(self, live: LiveCall, action: OpenStream) -> MediaStream:
        """Build the stream to an app; the live call opens it."""

    def open_transcript(self, live: LiveCall, action: OpenTranscription, owner: Transcript) -> TranscriptStream:
        """Build the socket that carries a transcription to an app; its owner opens it."""

    def stream_cut(self, live: LiveCall, event: dict[str, Any]) -> None:
        """An app sent StopAudio; figures of what was heard."""

    def bridged(self, live: LiveCall) -> None:
        """The call has ports now: tick it."""

    def call_over(self, live: LiveCall) -> None:
        """Nothing of the call is left."""


class LiveCall:
    """A running call. All methods run on the node's loop, outside ticks, but for `tick`."""

    def __init__(self, call: Call, host: CallHost, rate: int, trace: CallTrace) -> None:
        self.call = call
        self.rate = rate
        self.trace = trace
        self.legs: dict[str, Leg] = {}
        self.streams: dict[str, MediaStream] = {}
        self.hop = 0
        self.custom_context: dict[str, dict[str, str]] | None = None
        """What the caller sent along for the app."""
        self.app_heard: dict[str, float] = {}
        """When each connection's app last gave a sign of life, by connection id."""
        self._first_tick = 0  # of the media clock, with somebody on the bridge
        self.bridge = Bridge(rate, self._port_failed)
        self.tick = self.bridge.tick
        self._host = host
        self._capture = None if host.captures is None else host.captures.begin(self)
        self._prompts = Prompts(self.bridge, host.clock, self)
        self._ports: dict[str, Port] = {}
        self._seats: dict[str, Member] = {}
        self.hearings = Hearings(self.bridge, self._seats, host.clock, lambda: host.speech)
        self._listening = Listening(self, self.hearings, host.clock, lambda: host.speech)
        self.transcripts = Transcriptions(self, self.hearings, self._seats, host.clock, lambda: host.speech)
        self._names: dict[str, Identifier] = {}
        self._leaving: dict[str, str] = {}
        self._inbound: set[str] = set()
        self._last_result: ResultInformation | None = None
        self._settling = False
        self._over = False

    # inputs -----------------------------------------------------------------------------------------------------

    def add_leg(self, leg: Leg, identifier: Identifier, inbound: bool = True, name: str = "") -> None:
        """Know a leg that was not dialled from here before the machine asks for it. `name`: as it shows itself."""
        self.legs[leg.leg_id] = leg
        self._names[leg.leg_id] = identifier
        self._host.traces.leg(self.trace, leg.leg_id, identifier.raw_id, leg_kind(leg), name)
        if inbound:
            self._inbound.add(leg.leg_id)

    def name(self, leg_id: str) -> Identifier:
        """Whom a leg reaches."""
        return self._names[leg_id]

    def give(self, leg_id: str) -> tuple[Leg, Identifier, bool]:
        """Let go of a leg that lives on elsewhere: what `add_leg` wants there."""
        self._part(leg_id)
        leg = self.legs.pop(leg_id)
        leg.drop_keys()  # those that were to be heard are of this call
        return leg, self._names.pop(leg_id), leg_id in self._inbound

    def choose_rate(self, rate: int) -> None:
        """The bridge's rate, chosen when the call is answered; fixed once a port is on it."""
        if not self.bridge.members:
            self.rate = self.bridge.rate = rate

    def leg_event(self, leg_id: str, event: LegEvent) -> None:
        """Feed what an endpoint did into the machine."""
        leg = self.legs.get(leg_id)
        if leg is None or self._over:
            return
        now = self._host.clock.monotonic()
        kind, name, facts = leg_note(event)
        self.note(kind, name, leg=leg_id, participant=self._names[leg_id].raw_id, **facts)
        self._last_result = None
        match event:
            case Ringing():
                self.call.leg_ringing(leg_id, now)
            case Answered():
                leg.answer(self.rate)
                self.call.leg_answered(leg_id, now)
            case Refused(outcome, detail):
                self.call.leg_failed(leg_id, outcome, now, detail)
            case Dtmf(tone, in_sound):
                self._dtmf(leg_id, tone, in_sound)
            case KeySent():
                self.call.key_sent(leg_id, now)
            case Referred(outcome, refused, detail):
                self.call.leg_referred(leg_id, outcome, refused, detail, now)
            case RateChanged():
                if leg_id in self._ports:
                    self._part(leg_id)
                    self._join(leg_id)
            case Ended(outcome):
                self._leaving[leg_id] = outcome
                self.call.leg_ended(leg_id, outcome, now)
        self.settle()
        if isinstance(event, Ended | Refused):
            self._dismiss(leg_id, leg, event.outcome if isinstance(event, Refused) else "")

    def settle(self) -> None:
        """Carry out what the machine wants, in order, until it wants no more."""
        if self._settling:
            return
        self._settling = True
        try:
            self._host.batch.read()  # what apps sent before this counts before it, a StopAudio above all
            while batch := self.call.drain():
                for action in batch:
                    self._perform(action)
        finally:
            self._settling = False

    def note(self, kind: str, name: str, *, more: Any = None, **detail: Any) -> None:
        """Add to the call's trace; see `Traces.note`."""
        self._host.traces.note(self.trace, kind, name, more=more, **detail)

    # stream owner -----------------------------------------------------------------------------------------------

    def stream_opened(self, stream: MediaStream) -> None:
        """See `StreamOwner`."""
        stream.first_frame = self._host.media.next_tick
        self.note("stream", "opened", connection=stream.connection_id, url=stream.url)
        self.call.stream_opened(stream.connection_id, self._host.clock.monotonic())
        self.settle()

    def stream_reestablished(self, stream: MediaStream) -> None:
        """See `StreamOwner`."""
        stream.first_frame = self._host.media.next_tick - stream.carried
        self.note("stream", "reestablished", connection=stream.connection_id, url=stream.url)
        self.call.stream_reestablished(stream.connection_id, self._host.clock.monotonic())
        self.settle()

    def stream_failed(self, stream: MediaStream, outcome: str, detail: str) -> None:
        """See `StreamOwner`."""
        connection = stream.connection_id
        self.note("stream", "failed", connection=connection, url=stream.url, outcome=outcome, reason=detail)
        self._unseat(stream)
        self.call.stream_failed(stream.connection_id, outcome, detail, self._host.clock.monotonic())
        self.settle()

    def stream_closed_by_app(self, stream: MediaStream) -> None:
        """See `StreamOwner`."""
        self.note("stream", "closed by the app", connection=stream.connection_id, url=stream.url)
        self._unseat(stream)
        self.call.stream_closed_by_app(stream.connection_id, self._host.clock.monotonic())
        self.settle()

    def stream_cut(self, stream: MediaStream, cut: Cut) -> None:
        """See `StreamOwner`; figures are in milliseconds and samples of the call's rate, from the answer."""
        scale = 1000 / stream.port.rate
        read = (self._host.media.place - self._first_tick) * self.rate // FRAMES_PER_SECOND
        event = {
            "callConnectionId": stream.connection_id,
            "playedMs": round(cut.played * scale, 3),
            "cutMs": round(cut.cut * scale, 3),
            "atSample": read + cut.ramp * self.rate // stream.port.rate,
        }
        told = {name: value for name, value in event.items() if name != "callConnectionId"}
        more = {"connection": stream.connection_id, "leg": next(iter(self._ports), None), "readAtSample": read}
        self.note("stopAudio", "StopAudio", more=more, **told)
        self._host.stream_cut(self, event)

    def stream_mark(self, stream: MediaStream, mark: str, *, completed: bool) -> None:
        """See `StreamOwner`."""
        self.note("mark", "heard" if completed else "cut", connection=stream.connection_id, mark=mark)

    def stream_turn(self, stream: MediaStream, report: TurnReport) -> None:
        """See `MediaOwner`."""
        begin = stream.first_frame - (self.trace.answered or self.trace.began)
        more = {"connection": stream.connection_id, **turn_note(report, begin * 1000, stream.port.counters.dropped)}
        told = {name: more.pop(name) for name in ("turn", "responseMs", "heardMs")}
        self.note("turn", report.outcome, more=more, **told)

    def stream_note(self, stream: MediaStream, name: str, detail: dict[str, Any]) -> None:
        """See `StreamOwner`."""
        self.note("stream", name, connection=stream.connection_id, **detail)

    # prompt owner -----------------------------------------------------------------------------------------------

    def prompt_ready(self, connection_id: str, prompt_id: str) -> None:
        """See `PromptOwner`."""
        self.note("media", "loaded", connection=connection_id, prompt=prompt_id)
        self.call.prompt_ready(connection_id, prompt_id, self._host.clock.monotonic())
        self.settle()

    def prompt_failed(self, connection_id: str, prompt_id: str, error: PromptError) -> None:
        """See `PromptOwner`."""
        now, reason = self._host.clock.monotonic(), error.detail or error.outcome
        self.note("media", "play failed", connection=connection_id, prompt=prompt_id, reason=reason)
        self.call.prompt_failed(connection_id, prompt_id, error.outcome, error.detail, error.index, now)
        self.settle()

    def prompt_ended(self, connection_id: str, prompt_id: str) -> None:
        """See `PromptOwner`."""
        self.note("media", "play ended", connection=connection_id, prompt=prompt_id)
        self.call.prompt_ended(connection_id, prompt_id, self._host.clock.monotonic())
        self.settle()

    # scene of transcriptions ------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """See `Scene`."""
        return self._host.stopping

    def dial_transcript(self, action: OpenTranscription, owner: Transcript) -> TranscriptStream:
        """See `Scene`."""
        return self._host.open_transcript(self, action, owner)

    def transcription(self, connection_id: str, fact: Fact, outcome: str = "", detail: str = "") -> None:
        """See `Scene`."""
        self.call.transcription(connection_id, fact, self._host.clock.monotonic(), outcome, detail)
        self.settle()

    # actions ----------------------------------------------------------------------------------------------------

    def _perform(self, action: object) -> None:
        host = self._host
        if (noted := media_note(action)) is not None:
            self.note("media", noted[0], **noted[1])
        match action:
            case Notify():
                if isinstance(action.event, CallDisconnected | CreateCallFailed):
                    self._last_result = action.event.result_information
                host.notify(self, action)
            case AnnounceCall():
                host.announce(self, action)
            case AnswerLeg(leg_id):
                self._answer(leg_id)
            case RejectLeg(leg_id, outcome) | HangUpLeg(leg_id, outcome):
                self._hang_up(leg_id, outcome)
            case DialLeg():
                self._dial(action)
            case OpenStream():
                stream = self.streams[action.connection_id] = host.open_stream(self, action)
                self.bridge.add(stream.port)
                host.bridged(self)
                stream.open()
            case CloseStream(connection_id):
                self._close_stream(connection_id)
            case OpenTranscription():
                self.transcripts.open(action)
            case UpdateTranscription():
                self.transcripts.update(action)
            case CloseTranscription(connection_id):
                self.transcripts.close(connection_id)
                self.call.transcription(connection_id, "closed", host.clock.monotonic())
            case LoadPrompt():
                self._prompts.load(action, host.sounds)
            case StartPrompt():
                self._prompts.start(action)
                host.bridged(self)  # a group call plays to its end though nobody is in it
            case DropPrompt():
                self._prompts.drop(action)
            case HoldLeg(leg_id, held):
                self._hold(leg_id, held)
            case LegJoined(leg_id):
                self._join(leg_id)
                self.transcripts.reseat()
            case LegLeft(leg_id):
                self._part(leg_id)
                self.transcripts.reseat()
            case MoveLeg(leg_id, call_id):
                host.move_leg(self, leg_id, call_id)
            case ReferLeg(leg_id):
                leg = self.legs.get(leg_id)
                if leg is None or not host.refer(leg, action):
                    self.call.leg_referred(leg_id, "", True, "", host.clock.monotonic())
            case SplitCall():
                host.split(self, action)
            case MuteLeg(leg_id, muted):
                self._mute(leg_id, muted)
            case SendKey(leg_id, key):
                if leg_id in self.legs:
                    self.legs[leg_id].send_key(key)
            case DropKeys(leg_id):
                if leg_id in self.legs:
                    self.legs[leg_id].drop_keys()
            case Record():
                if host.recordings is not None:
                    host.recordings.perform(self, action)
            case StartHearing():
                self._listening.start(action)
            case StopHearing(hearing_id):
                self._listening.stop(hearing_id)
            case CallEnded(outcome):
                self.end(outcome)
            case _:
                raise AssertionError(f"no such action: {action!r}")

    def _answer(self, leg_id: str) -> None:
        leg, now = self.legs.get(leg_id), self._host.clock.monotonic()
        if leg is None:
            self.call.leg_ended(leg_id, "gave_up", now)
            return
        leg.answer(self.rate)
        self.call.leg_answered(leg_id, now)

    def _dial(self, action: DialLeg) -> None:
        self._names[action.leg_id] = action.target
        self._host.traces.leg(self.trace, action.leg_id, action.target.raw_id)
        try:
            leg = self.legs[action.leg_id] = self._host.dial(self, action)
            self._host.traces.leg(self.trace, action.leg_id, action.target.raw_id, leg_kind(leg))
        except LegError as error:
            del self._names[action.leg_id]
            self.note("leg", "failed", leg=action.leg_id, reason=error.detail or error.outcome)
            self.call.leg_failed(action.leg_id, error.outcome, self._host.clock.monotonic(), error.detail)

    def _join(self, leg_id: str) -> None:
        leg = self.legs.get(leg_id)
        if leg is None:
            return
        if self.trace.answered is None:
            self._first_tick = self._host.media.place
            for stream in self.streams.values():
                stream.first_frame = self._host.media.next_tick
        self._host.traces.joined(self.trace, leg_id, self.rate)
        port = self._host.lanes.rated(leg.port, leg.rate or self.rate, self.rate)
        self._ports[leg_id] = port
        self._seats[leg_id] = self.bridge.add(port, self._names[leg_id].raw_id)
        if (known := self.call.legs.get(leg_id)) is not None and known.muted:
            self._mute(leg_id, True)  # it takes its seat anew, with another codec
        if known is not None and self.call.media.of(place_of(known)):
            self._hold(leg_id, True)
        if self._capture is not None:
            self._capture.join(leg_id, self._seats[leg_id])
        self._prompts.reseat()
        self._host.bridged(self)

    def _hold(self, leg_id: str, held: bool) -> None:
        if leg_id in self._seats:
            self.bridge.hold(self._seats[leg_id], held)
            self._prompts.reseat()

    def _mute(self, leg_id: str, muted: bool) -> None:
        if leg_id in self._seats:
            self.bridge.mute(self._seats[leg_id], muted)

    def _part(self, leg_id: str) -> None:
        port = self._ports.pop(leg_id, None)
        self._seats.pop(leg_id, None)
        if self._capture is not None:
            self._capture.part(leg_id)
        if port is not None:
            self.bridge.remove(port)
            self._host.lanes.release(port)
            self._host.traces.left(self.trace, leg_id)

    def _hang_up(self, leg_id: str, outcome: str) -> None:
        """The other side ends a leg; one that left by itself is told its end in `_dismiss`."""
        if leg_id in self._leaving:
            return
        leg = self.legs.pop(leg_id, None)
        self._host.moved.pop(leg_id, None)
        self._names.pop(leg_id, None)
        self._part(leg_id)
        if leg is not None:
            self._note_media(leg_id, leg)
            row = RESULTS[outcome]
            ended_by = ENDED_BY.get(outcome, "callee")
            self.note("leg", "hung up", leg=leg_id, code=row.code, subCode=row.sub_code, endedBy=ended_by)
            self._tell_end(leg, LegEnd(row.code, row.sub_code, row.message, ended_by))

    def _note_media(self, leg_id: str, leg: Leg) -> None:
        """The figures of a leg's audio, if it came over a network."""
        if isinstance(leg.port, RtpPort):
            self.note("leg", "figures", leg=leg_id, **leg.port.describe())

    def _dismiss(self, leg_id: str, leg: Leg, refused: str) -> None:
        """The endpoint left or refused: tell it how the call stands, with the figures of its CallDisconnected."""
        outcome = self._leaving.pop(leg_id, "") or "ended_normally"
        self.legs.pop(leg_id, None)
        self._host.moved.pop(leg_id, None)
        self._names.pop(leg_id, None)
        self._part(leg_id)
        self._note_media(leg_id, leg)
        known = self._last_result or RESULTS[refused or outcome].information()
        ended_by = ENDED_BY.get(outcome) or ("caller" if leg_id in self._inbound else "callee")
        self._tell_end(leg, LegEnd(known.code, known.sub_code, known.message, ended_by))

    def _tell_end(self, leg: Leg, end: LegEnd) -> None:
        self._host.traces.over(self.trace, end.ended_by, end.code, end.sub_code, end.message)
        leg.hang_up(end)

    def _close_stream(self, connection_id: str) -> None:
        stream = self.streams.get(connection_id)
        if stream is not None:
            self._unseat(stream)
            stream.close()
            self.note("stream", "closed", connection=connection_id, url=stream.url)
        self.call.stream_closed(connection_id, self._host.clock.monotonic())

    def _unseat(self, stream: MediaStream) -> None:
        self._host.batch.read()
        self.bridge.remove(stream.port)
        stream.port.close()
        if self.streams.get(stream.connection_id) is stream:
            del self.streams[stream.connection_id]
        counters = stream.port.counters
        self.note(
            "stream",
            "figures",
            connection=stream.connection_id,
            sent=counters.sent,
            dropped=counters.dropped,
            messagesIn=counters.messages_in,
            badMessages=counters.bad_messages,
            refusedMs=round(stream.port.playout.refused * 1000 / stream.port.rate),
        )

    def end(self, outcome: str) -> None:
        """The call is over: nothing of it is left."""
        if self._over:
            return
        self._over = True
        for leg_id in list(self.legs):
            if leg_id not in self._leaving:
                self._hang_up(leg_id, "ended_normally")
        for stream in list(self.streams.values()):
            self._unseat(stream)
            stream.close()
        self.transcripts.close_all()
        self._listening.close()
        self.hearings.close()
        self._prompts.close()
        if self._capture is not None:
            self._capture.close()
        if self.trace.result is None:
            row = RESULTS.get(outcome) or RESULTS["leg_failed"]
            ended_by = ENDED_BY.get(outcome, "service")
            self._host.traces.over(self.trace, ended_by, row.code, row.sub_code, row.message)
        self.note("call", "ended")
        self._host.traces.end(self.trace)
        self.bridge.close()
        self._host.call_over(self)

    # inside -----------------------------------------------------------------------------------------------------

    def _dtmf(self, leg_id: str, tone: str, in_sound: bool) -> None:
        try:
            self.call.leg_dtmf(leg_id, tone, self._host.clock.monotonic(), in_sound)
        except CallError as error:
            self.note("leg", "tone ignored", leg=leg_id, tone=tone, reason=str(error))
            return
        for stream in self.streams.values():
            stream.send_dtmf(tone, self._host.batch.stamp, self._names[leg_id].raw_id)

    def lane_failed(self, port: Port, error: Exception) -> bool:
        """A port raised in its lane, if it is one of ours: it comes off the bridge."""
        if not any(port is ours for ours in self._ports.values()):
            return False
        self.bridge.remove(port)
        self._port_failed(port, error)
        return True

    def _port_failed(self, port: Port, error: Exception) -> None:
        """A port raised inside a tick: it is off the bridge; say so, and keep the call."""
        self._prompts.failed(port, error)
        log.error("a port of call %s failed and was taken off", self.call.call_id, exc_info=error)
        self.note("media", "port failed", port=type(port).__name__, reason=f"{type(error).__name__}: {error}")
