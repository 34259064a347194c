"""A node on a manual clock with everything round it played by the test: callers, phones, an app and its sockets.

Times are seconds of the clock, audio is PCM16; nothing here opens a socket or waits.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from offhook.audio.pcm import Frame, samples_per_frame
from offhook.calls.actions import DialLeg, OpenStream, OpenTranscription
from offhook.errors import LegError
from offhook.legs.leg import Answered, LegEnd, LegEvent, Refused, Ringing
from offhook.legs.simulated import Figures, Hooks, Script, SimulatedLeg
from offhook.service.clock import PTIME, ManualClock
from offhook.service.eventgrid import IncomingPost
from offhook.service.live import LiveCall
from offhook.service.node import Node
from offhook.service.operations import Asked
from offhook.service.outside import NodeIdentity
from offhook.service.stream_port import StreamPort
from offhook.service.streaming import MediaStream
from offhook.service.targets import Targets
from offhook.service.transcription import Transcript, TranscriptStream
from offhook.wire.identifiers import Identifier, parse_raw_id
from offhook.wire.models import (
    AnswerCallRequest,
    CreateCallRequest,
    MediaStreamingOptions,
    RedirectCallRequest,
    RejectCallRequest,
)

CALLER = parse_raw_id("4:+15550100001")
CALLEE = parse_raw_id("4:+15550100002")
OTHER = parse_raw_id("4:+15550100003")
CALLBACK = "http://app.test/callbacks"
SOCKET = "ws://app.test/ws"
VERSION = "2026-03-12"
TLS = ssl.create_default_context()


def asked(connection: str) -> Asked:
    """A request that names a connection, for the functions behind the rows of the operations table."""
    return Asked({"callConnectionId": connection}, VERSION, b"")


class Stream(MediaStream):
    """The app's socket without a socket: opens `delay` after it is asked to, and hands messages over at once."""

    def __init__(self, stage: Stage, live: LiveCall, action: OpenStream, port: StreamPort) -> None:
        super().__init__(
            action.connection_id,
            action.subscription_id,
            action.options.transport_url or "",
            port,
            headers=dict,
            tls=TLS,
            targets=Targets(private=True),
            clock=stage.clock,
            owner=live,
            dtmf_tones=False,
        )
        self.messages: list[dict[str, Any]] = []
        self.closed_at: float | None = None
        self._stage = stage
        self._live = live

    def open(self) -> None:
        self._stage.clock.call_at(self._stage.clock.monotonic() + self._stage.dial_time, self._dialled)

    def close(self) -> None:
        self.port.disconnect()
        self.closed_at = self._stage.clock.monotonic()

    def _dialled(self) -> None:
        if self.closed_at is not None:
            return
        refusal = self._stage.refuse_sockets
        if refusal:
            self._live.stream_failed(self, refusal, "the test's app refuses")
            return
        self.port.connect(self._taken)
        self._live.stream_opened(self)

    def _taken(self, kind: object, message: bytes) -> None:
        self.messages.append(json.loads(message))
        if self._stage.on_frame is not None:
            self._stage.on_frame(self, self.messages[-1]["audioData"])

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [message["audioData"] for message in self.messages]

    def pcm(self) -> Frame:
        """All that the app was sent, in a row."""
        return np.frombuffer(b"".join(base64.b64decode(frame["data"]) for frame in self.frames), "<i2")

    def say(self, pcm: bytes) -> None:
        """The app sends audio; it arrives with the next tick."""
        self.send({"kind": "AudioData", "audioData": {"data": base64.b64encode(pcm).decode()}, "stopAudio": None})

    def stop(self) -> None:
        """The app sends StopAudio."""
        self.send({"Kind": "StopAudio", "AudioData": None, "StopAudio": {}})

    def send(self, message: dict[str, Any]) -> None:
        self.port.batch.came.append((self.receive, json.dumps(message).encode()))

    def hang(self) -> None:
        """The app closes the socket in the ordinary way."""
        self.closed_at = self._stage.clock.monotonic()
        self._live.stream_closed_by_app(self)


class Transcribed(TranscriptStream):
    """The app's transcription socket without a socket, as `Stream`."""

    def __init__(self, stage: Stage, action: OpenTranscription, owner: Transcript) -> None:
        super().__init__(
            action.connection_id,
            action.subscription_id,
            action.options.transport_url or "",
            locale=action.locale,
            correlation_id="correlation",
            headers=dict,
            tls=TLS,
            targets=Targets(private=True),
            clock=stage.clock,
            owner=owner,
        )
        self.owner = owner
        self.messages: list[dict[str, Any]] = []
        self.ended = False
        self._stage = stage

    def open(self) -> None:
        self._stage.clock.call_at(self._stage.clock.monotonic() + self._stage.dial_time, self._dialled)

    def close(self) -> None:
        self.ended = True

    def send(self, message: bytes) -> None:
        self.messages.append(json.loads(message)["transcriptionData"])

    def _dialled(self) -> None:
        if self.ended:
            return
        if refusal := self._stage.refuse_sockets:
            self.owner.stream_failed(self, refusal, "the test's app refuses")
        else:
            self.owner.stream_opened(self)


@dataclass
class Party:
    """A caller or a called phone: its leg, what it heard frame by frame, and how it ended."""

    leg: SimulatedLeg
    live: LiveCall
    heard: list[Frame | None] = field(default_factory=list)
    end: LegEnd | None = None
    figures: Figures | None = None

    def pcm(self, rate: int = 16000) -> Frame:
        """What it heard since the answer, silence as zeros."""
        quiet = np.zeros(samples_per_frame(rate), "<i2")
        return np.concatenate([quiet if frame is None else np.asarray(frame) for frame in self.heard] or [quiet])


@dataclass
class Phone:
    """A registered phone: rings, then answers after `answers` seconds or refuses; None: rings for ever."""

    stage: Stage
    answers: float | None = 1.0
    refuses: str = ""
    script: Script = field(default_factory=Script)
    parties: list[Party] = field(default_factory=list)

    def ring(self, action: DialLeg, call_id: str) -> SimulatedLeg:
        stage, leg_id = self.stage, action.leg_id
        if self.refuses == "busy":
            raise LegError("busy", "in another call")
        party = stage.party(stage.node.calls[call_id], leg_id, self.script)
        self.parties.append(party)

        def event(what: LegEvent) -> Callable[[], None]:
            return lambda: stage.node.leg_event(party.live, leg_id, what)

        now = stage.clock.monotonic()
        stage.clock.call_at(now, event(Ringing()))
        if self.refuses:
            stage.clock.call_at(now + 1.0, event(Refused(self.refuses)))
        elif self.answers is not None:
            stage.clock.call_at(now + self.answers, event(Answered()))
        return party.leg


class Stage:
    """The node, its clock, and what the network saw of it."""

    def __init__(self, *, restart_ms: int = 0) -> None:
        self.clock = ManualClock()
        self.told: list[dict[str, Any]] = []
        self.callbacks: list[dict[str, Any]] = []
        self.posts: list[IncomingPost] = []
        self.streams: list[Stream] = []
        self.transcripts: list[Transcribed] = []
        self.finished: list[str] = []
        self.subscriptions = 1
        self.dial_time = 0.0
        self.refuse_sockets = ""
        self.on_frame: Callable[[Stream, dict[str, Any]], None] | None = None
        seeds = iter(range(1, 10**9))
        self.node = Node(
            self.clock,
            NodeIdentity(1, bytes(32), "00000000-0000-0000-0000-000000000001"),
            self,
            tell=self.told.append,
            randomness=lambda size: next(seeds).to_bytes(size, "big"),
            restart_ms=restart_ms,
        )

    # the network (Outside) --------------------------------------------------------------------------------------

    def deliver(self, connection_id: str, uri: str, body: bytes, event_type: str, event_id: str) -> None:
        (event,) = json.loads(body)
        self.callbacks.append({**event, "uri": uri, "at": self.clock.monotonic()})

    def finish(self, connection_id: str) -> None:
        self.finished.append(connection_id)

    def announce(self, post: IncomingPost) -> int:
        self.posts.append(post)
        return self.subscriptions

    def stream(self, live: LiveCall, action: OpenStream, port: StreamPort) -> MediaStream:
        self.streams.append(Stream(self, live, action, port))
        return self.streams[-1]

    def transcript(self, live: LiveCall, action: OpenTranscription, owner: Transcript) -> TranscriptStream:
        self.transcripts.append(Transcribed(self, action, owner))
        return self.transcripts[-1]

    # what a test does -------------------------------------------------------------------------------------------

    def party(self, live: LiveCall | None, leg_id: str, script: Script) -> Party:
        """A simulated endpoint that keeps what it hears."""

        def event(leg: str, what: LegEvent) -> None:
            self.node.leg_event(party.live, leg, what)

        def ended(end: LegEnd, figures: Figures) -> None:
            party.end, party.figures = end, figures

        def hear(index: int, frame: Frame | None) -> None:
            party.heard.append(None if frame is None else np.copy(frame))  # valid in its tick only

        hooks = Hooks(event=event, hear=hear, ended=ended, pace=self.node.pace)
        party = Party(SimulatedLeg(leg_id, script, hooks), live)  # type: ignore[arg-type]
        return party

    def call(self, *, to: Identifier = CALLEE, **script: Any) -> Party:
        """A caller calls; its script starts at the answer."""
        parties: list[Party] = []

        def make(leg_id: str, event: Callable[[str, LegEvent], None]) -> SimulatedLeg:
            parties.append(self.party(None, leg_id, Script(**{"lead": 0.0, **script})))
            return parties[0].leg

        live = self.node.place(CALLER, to, "Ann", make)
        parties[0].live = live
        return parties[0]

    @property
    def context(self) -> str:
        """The newest `incomingCallContext`."""
        return str(json.loads(self.posts[-1].body)[0]["data"]["incomingCallContext"])

    def answer(self, *, rate: int = 16000, stream: bool = True, context: str = "", **options: Any) -> str:
        """The app answers the newest call; its call connection id."""
        settings = {"start": True, "bidirectional": True, "audio_channel_type": "mixed", **options}
        streaming = MediaStreamingOptions(transport_url=SOCKET, sample_rate=rate, **settings) if stream else None
        request = AnswerCallRequest(
            incoming_call_context=context or self.context,
            callback_uri=CALLBACK,
            operation_context="ctx",
            media_streaming_options=streaming,
        )
        return str(self.node.answer(request, VERSION).call_connection_id)

    def create(self, *targets: Identifier) -> str:
        """The app calls out; its call connection id."""
        options = MediaStreamingOptions(
            transport_url=SOCKET, audio_channel_type="mixed", start=True, bidirectional=True
        )
        request = CreateCallRequest(targets=targets, callback_uri=CALLBACK, media_streaming_options=options)
        return str(self.node.create(request, VERSION).call_connection_id)

    def reject(self, reason: str) -> None:
        self.node.reject(RejectCallRequest(incoming_call_context=self.context, call_reject_reason=reason))

    def redirect(self, target: Identifier) -> None:
        self.node.redirect(RedirectCallRequest(incoming_call_context=self.context, target=target))

    def phone(self, identity: Identifier, **settings: Any) -> Phone:
        """Register a phone."""
        phone = Phone(self, **settings)
        self.node.phones[identity.raw_id] = phone
        return phone

    def run(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        for _ in range(round(seconds / PTIME)):
            self.clock.advance(PTIME)

    def echo(self) -> None:
        """From now on the app sends back every frame it is sent."""
        self.on_frame = lambda stream, audio: stream.say(base64.b64decode(audio["data"]))

    # what a test asks -------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[str]:
        """Names of the callbacks so far."""
        return [event["type"].removeprefix("Microsoft.Communication.") for event in self.callbacks]

    def event(self, name: str) -> dict[str, Any]:
        """The data of the newest callback of that name."""
        found = [e for e in self.callbacks if e["type"] == f"Microsoft.Communication.{name}"]
        assert found, f"no {name} among {self.events}"
        return dict(found[-1]["data"])

    def result(self, name: str) -> tuple[int, int]:
        """(code, sub-code) of the newest callback of that name."""
        information = self.event(name)["resultInformation"]
        return information["code"], information["subCode"]

    def empty(self) -> bool:
        """Whether nothing of any call is left: no call, no connection, no tick, no row of a lane."""
        node = self.node
        lanes = [*node.lanes._up.values(), *node.lanes._down.values()]
        return (
            not node.calls
            and not node._bridged
            and not node.media.running
            and not len(node._connections)
            and not node.lanes._ports
            and not any(lane.rows for lane in lanes)
        )
