"""The tick alone: N simulated calls through LiveCall, Bridge and lanes with sockets stubbed; CPU us per call and tick.

Every call hears a tone and says a tone; the app's side is a stub that takes the built message and hands a parsed
one back. The figure counts building the outgoing message and reading the incoming one, not the kernel.
Aim: 12 us a call and tick at 300 calls. The bound taken in the same run is json + base64 for the same messages.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import os
import statistics
import sys
import time

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from offhook.calls.actions import OpenStream, OpenTranscription
from offhook.legs.simulated import Hooks, Script, SimulatedLeg
from offhook.service.clock import ManualClock
from offhook.service.eventgrid import IncomingPost
from offhook.service.live import LiveCall
from offhook.service.node import Node
from offhook.service.outside import NodeIdentity
from offhook.service.stream_port import StreamPort
from offhook.service.streaming import MediaStream
from offhook.service.transcription import Transcript, TranscriptStream
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.models import AnswerCallRequest, MediaStreamingOptions
from offhook.wire.streaming import AppAudio, parse_app_message

APP_MESSAGE = json.dumps(
    {"kind": "AudioData", "audioData": {"data": base64.b64encode(bytes(640)).decode()}, "stopAudio": None}
).encode()


STAMP = "2024-11-15T19:16:12.925Z"


class StubStream(MediaStream):
    """A stream whose socket is a list's end: each message built is answered by one parsed."""

    def __init__(self, action: OpenStream, port: StreamPort, read: bool) -> None:
        self.connection_id, self.subscription_id = action.connection_id, action.subscription_id
        self.url, self.port, self.dtmf_tones = "ws://stub", port, False
        self._read = read

    def open(self) -> None:
        self.port.connect(self._exchange)

    def close(self) -> None:
        self.port.disconnect()

    def _exchange(self, kind: object, message: bytes) -> None:
        if self._read:
            answer = parse_app_message(APP_MESSAGE)
            if type(answer) is AppAudio:
                self.port.accept(answer)


class StubOutside:
    """A network that takes everything."""

    def __init__(self, read: bool) -> None:
        self.contexts: list[str] = []
        self._read = read

    def deliver(self, connection_id: str, uri: str, body: bytes, event_type: str, event_id: str) -> None:
        pass

    def finish(self, connection_id: str) -> None:
        pass

    def announce(self, post: IncomingPost) -> int:
        self.contexts.append(json.loads(post.body)[0]["data"]["incomingCallContext"])
        return 1

    def stream(self, live: LiveCall, action: OpenStream, port: StreamPort) -> MediaStream:
        return StubStream(action, port, self._read)

    def transcript(self, live: LiveCall, action: OpenTranscription, owner: Transcript) -> TranscriptStream:
        raise NotImplementedError


def build(calls: int, leg_rate: int | None, mixed: bool, read: bool) -> tuple[Node, ManualClock]:
    """A node with `calls` answered calls and its clock."""
    node, clock = empty(read)
    fill(node, calls, leg_rate, mixed)
    return node, clock


def empty(read: bool = True) -> tuple[Node, ManualClock]:
    """A node without a call, and its clock."""
    clock = ManualClock()
    return Node(clock, NodeIdentity(1, bytes(32), "r"), StubOutside(read), tell=lambda event: None, restart_ms=0), clock


def fill(node: Node, calls: int, leg_rate: int | None = None, mixed: bool = True) -> None:
    """Add answered calls."""
    outside = node.outside
    assert isinstance(outside, StubOutside)
    options = MediaStreamingOptions(
        audio_channel_type="mixed" if mixed else "unmixed", transport_url="ws://stub", start=True, bidirectional=True
    )
    for _ in range(calls):
        node.place(
            parse_raw_id("4:+15550100001"),
            parse_raw_id("4:+15550100002"),
            "",
            lambda leg, event: SimulatedLeg(
                leg, Script(lead=0, tone=440, rate=leg_rate), Hooks(event=event, pace=node.pace)
            ),
        )
        request = AnswerCallRequest(
            incoming_call_context=outside.contexts.pop(), callback_uri="http://stub", media_streaming_options=options
        )
        node.answer(request, "2026-03-12")


def measure(calls: int, ticks: int, *, leg_rate: int | None = None, mixed: bool = True, read: bool = True) -> float:
    """CPU us per call and tick."""
    node, clock = build(calls, leg_rate, mixed, read)
    clock.advance(0.2)
    gc.collect()
    gc.freeze()
    before = node.media.ticks
    began = time.process_time()
    for _ in range(ticks):
        clock.advance(0.02)
    spent = time.process_time() - began
    done = node.media.ticks - before
    heard = [leg.figures.heard for live in node.calls.values() for leg in live.legs.values()]  # type: ignore[attr-defined]
    assert not read or min(heard) >= ticks - 2, "the calls did not carry audio"
    node.shut_down()
    return spent / (done * calls) * 1e6


def peer(rounds: int = 3000) -> float:
    """The plain way to do the wire's part alone: json + base64, one message built and one parsed; us."""
    pcm = os.urandom(640)
    began = time.process_time()
    for _ in range(rounds):
        data = base64.b64encode(pcm).decode("ascii")
        json.dumps({"kind": "AudioData", "audioData": {"timestamp": STAMP, "data": data, "silent": False}})
        base64.b64decode(json.loads(APP_MESSAGE)["audioData"]["data"])
    return (time.process_time() - began) / rounds * 1e6


def main() -> int:
    """Print the table; exit 1 above the aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--ticks", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, dict[str, object]] = {
        "mixed, both ways": {},
        "mixed, app silent": {"read": False},
        "unmixed, both ways": {"mixed": False},
        "caller at 8 kHz (lanes)": {"leg_rate": 8000},
    }
    figures: dict[str, list[float]] = {name: [] for name in [*rows, "json + base64 alone"]}
    for _ in range(options.rounds):
        for name, settings in rows.items():
            figures[name].append(measure(options.calls, options.ticks, **settings))  # type: ignore[arg-type]
        figures["json + base64 alone"].append(peer())
    medians = {name: round(statistics.median(values), 2) for name, values in figures.items()}
    if options.json:
        print(json.dumps({"calls": options.calls, "usPerCallAndTick": medians}))
    else:
        print(f"{options.calls} calls, CPU us per call and tick, median of {options.rounds} rounds [min]")
        for name, values in figures.items():
            print(f"  {name:28s} {medians[name]:7.2f}  [{min(values):.2f}]")
    return 0 if medians["mixed, both ways"] <= 12 else 1


if __name__ == "__main__":
    sys.exit(main())
