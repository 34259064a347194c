"""StreamPort on a bridge: what the app is sent, message for message, and what becomes of what it sends."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.bridge import Bridge, Member
from offhook.audio.buffers import PlayedMark
from offhook.audio.pcm import Frame
from offhook.audio.tones import ToneSource
from offhook.service.stream_port import Batch, StreamPort
from offhook.wire.streaming import AppAudio, Mark

STAMP = b"2024-11-15T19:16:12.925Z"
KIND = object()


class Speaker:
    """A participant that says one frame over and over, or nothing, and keeps what it hears."""

    def __init__(self, frame: Frame | None) -> None:
        self.frame = frame
        self.heard: list[Frame | None] = []

    def read(self) -> Frame | None:
        return self.frame

    def write(self, mix: Frame | None, heard: Any) -> None:
        self.heard.append(None if mix is None else mix.copy())


class Bench:
    """A bridge with an app's port; `tick` gives back the messages of one tick, decoded."""

    def __init__(self, rate: int = 16000, *, mixed: bool = True, bidirectional: bool = True) -> None:
        self.batch = Batch(KIND)
        self.port = StreamPort(rate, mixed=mixed, bidirectional=bidirectional, batch=self.batch, restart_ms=0)
        self.failures: list[Exception] = []
        self.bridge = Bridge(rate, lambda port, error: self.failures.append(error))
        self.raw: list[bytes] = []
        self.bridge.add(self.port)

    def connect(self) -> Bench:
        self.port.connect(self._push)
        return self

    def _push(self, kind: object, message: bytes) -> None:
        assert kind is KIND
        self.raw.append(message)

    def speaker(self, name: str, frame: Frame | None) -> tuple[Speaker, Member]:
        speaker = Speaker(frame)
        return speaker, self.bridge.add(speaker, name)

    def tick(self) -> list[dict[str, Any]]:
        self.raw.clear()
        self.batch.stamp = STAMP
        self.batch.read()
        self.bridge.tick()
        self.batch.flush()
        assert not self.failures, self.failures
        return [json.loads(message)["audioData"] for message in self.raw]


def level(value: int, rate: int = 16000) -> npt.NDArray[np.int16]:
    return np.full(rate // 50, value, np.int16)


def pcm(message: dict[str, Any]) -> npt.NDArray[np.int16]:
    return np.frombuffer(base64.b64decode(message["data"]), "<i2")


# service to app -----------------------------------------------------------------------------------------------------


def test_a_mixed_message_is_written_exactly() -> None:
    bench = Bench().connect()
    bench.speaker("4:+15550001", level(258))
    bench.tick()
    data = base64.b64encode(level(258).tobytes())
    assert bench.raw == [
        b'{"kind":"AudioData","audioData":{"timestamp":"2024-11-15T19:16:12.925Z","data":"'
        + data
        + b'","silent":false}}'
    ]


def test_an_unmixed_message_names_its_speaker() -> None:
    bench = Bench(mixed=False).connect()
    bench.speaker("4:+15550001", level(258))
    bench.tick()
    data = base64.b64encode(level(258).tobytes())
    assert bench.raw == [
        b'{"kind":"AudioData","audioData":{"timestamp":"2024-11-15T19:16:12.925Z","participantRawID":"4:+15550001",'
        b'"data":"' + data + b'","silent":false}}'
    ]


@pytest.mark.parametrize("rate", [16000, 24000])
def test_frames_are_always_of_full_length(rate: int) -> None:
    bench = Bench(rate).connect()
    (message,) = bench.tick()
    assert pcm(message).size == rate // 50


def test_mixed_is_the_sum_of_all_people() -> None:
    bench = Bench().connect()
    bench.speaker("a", level(1000))
    bench.speaker("b", level(234))
    (message,) = bench.tick()
    assert np.array_equal(pcm(message), level(1234))


def test_silent_only_when_no_source_is_there() -> None:
    bench = Bench().connect()
    assert bench.tick()[0]["silent"] is True, "nobody is there"
    one, seat = bench.speaker("a", level(0))
    assert bench.tick()[0]["silent"] is False, "a pause in speech is not an absence"
    bench.bridge.mute(seat, True)
    assert bench.tick()[0]["silent"] is True
    bench.bridge.mute(seat, False)
    bench.bridge.hold(seat, True)
    assert bench.tick()[0]["silent"] is True
    bench.bridge.hold(seat, False)
    one.frame = None
    (message,) = bench.tick()
    assert message["silent"] is True
    assert not pcm(message).any()


def test_unmixed_keeps_a_stream_for_one_who_is_muted() -> None:
    bench = Bench(mixed=False).connect()
    bench.speaker("a", level(5))
    _, seat = bench.speaker("b", level(7))
    bench.bridge.mute(seat, True)
    told = {m["participantRawID"]: (m["silent"], int(pcm(m)[0])) for m in bench.tick()}
    assert told == {"a": (False, 5), "b": (True, 0)}


def test_own_audio_never_comes_back() -> None:
    for mixed in (True, False):
        bench = Bench(mixed=mixed).connect()
        speaker, _ = bench.speaker("a", level(3))
        bench.port.accept(AppAudio(level(9000).tobytes()))
        (message,) = bench.tick()
        assert np.array_equal(pcm(message), level(3))
        assert speaker.heard[0] is not None and np.array_equal(speaker.heard[0], level(9000))


def test_the_audio_of_another_app_is_in_the_mix_but_is_no_participant() -> None:
    for mixed in (True, False):
        bench = Bench(mixed=mixed).connect()
        bench.speaker("a", level(3))
        bench.bridge.add(Speaker(level(100)))
        (message,) = bench.tick()
        assert int(pcm(message)[0]) == (103 if mixed else 3)


def test_at_most_four_dominant_speakers_in_order_of_joining() -> None:
    bench = Bench(mixed=False).connect()
    for name, loud in (("a", 100), ("b", 9000), ("c", 50), ("d", 8000), ("e", 7000), ("f", 6000)):
        bench.speaker(name, level(loud))
    for _ in range(3):
        assert [m["participantRawID"] for m in bench.tick()] == ["b", "d", "e", "f"]


def test_a_dominant_speaker_keeps_its_place_through_a_short_pause() -> None:
    bench = Bench(mixed=False).connect()
    people = {name: bench.speaker(name, level(4000))[0] for name in "abcd"}
    people["e"] = bench.speaker("e", level(10))[0]
    bench.tick()
    people["a"].frame = level(0)
    assert [m["participantRawID"] for m in bench.tick()] == list("abcd")
    people["e"].frame = level(4000)
    names: list[str] = []
    for _ in range(200):
        names = [m["participantRawID"] for m in bench.tick()]
        assert len(names) == 4
    assert names == list("bcde")


def test_without_a_socket_nothing_is_built_and_what_is_queued_plays_on() -> None:
    bench = Bench()
    speaker, _ = bench.speaker("a", level(3))
    bench.port.accept(AppAudio(level(50).tobytes() * 3))
    assert not bench.port.connected
    assert bench.tick() == []
    bench.connect()
    assert bench.port.connected
    assert len(bench.tick()) == 1
    bench.port.has_room = lambda size: False
    bench.port.disconnect()
    assert bench.tick() == []
    assert bench.port.has_room is None, "the next socket starts afresh"
    assert [None if frame is None else int(frame[0]) for frame in speaker.heard] == [50, 50, 50]


@pytest.mark.parametrize("mixed", [True, False])
def test_a_socket_without_room_drops_the_newest_and_counts(mixed: bool) -> None:
    bench = Bench(mixed=mixed).connect()
    bench.speaker("a", level(1))
    sizes: list[int] = []
    room = iter([True, False, False, True])

    def has_room(size: int) -> bool:
        sizes.append(size)
        return next(room)

    bench.tick()
    bench.port.has_room = has_room
    sent = [len(bench.tick()) for _ in range(4)]
    assert sent == [1, 0, 0, 1]
    assert (bench.port.counters.sent, bench.port.counters.dropped) == (3, 2)
    assert set(sizes) == {len(bench.raw[0])}


def test_a_socket_that_fails_costs_only_its_own_message() -> None:
    bench = Bench().connect()
    other = StreamPort(16000, mixed=True, bidirectional=True, batch=bench.batch, restart_ms=0)
    bench.bridge.add(other)

    def broken(kind: object, message: bytes) -> None:
        raise ConnectionError("gone")

    other.connect(broken)
    for _ in range(3):
        assert len(bench.tick()) == 1


# app to service -----------------------------------------------------------------------------------------------------


def test_audio_in_any_pieces_is_heard_frame_by_frame() -> None:
    bench = Bench()
    speaker, _ = bench.speaker("a", None)
    samples = (np.arange(960) + 1).astype("<i2")
    for piece in (samples[:1], samples[1:500], samples[500:]):
        bench.port.accept(AppAudio(piece.tobytes()))
    for _ in range(4):
        bench.tick()
    heard = speaker.heard
    assert heard[3] is None
    assert np.array_equal(np.concatenate([frame for frame in heard[:3] if frame is not None]), samples)


def test_not_bidirectional_audio_is_counted_and_ignored() -> None:
    bench = Bench(bidirectional=False)
    speaker, _ = bench.speaker("a", None)
    bench.port.accept(AppAudio(level(50).tobytes(), Mark("m", 1)))
    bench.tick()
    assert speaker.heard == [None]
    assert bench.port.counters.messages_in == 1


def test_stop_leaves_one_ramp_and_says_what_was_heard() -> None:
    bench = Bench()
    speaker, _ = bench.speaker("a", None)
    bench.port.accept(AppAudio(level(1000).tobytes() * 10))
    for _ in range(3):
        bench.tick()
    cut = bench.port.stop()
    assert (cut.played, cut.cut, cut.ramp) == (3 * 320 + 80, 7 * 320 - 80, 80)
    for _ in range(2):
        bench.tick()
    tail = speaker.heard[3]
    assert tail is not None
    assert tail[0] == 1000 and not tail[79:].any()
    assert all(a >= b for a, b in zip(tail[:79], tail[1:80], strict=True))
    assert speaker.heard[4] is None


def test_marks_come_back_when_they_are_heard_or_cut() -> None:
    bench, told = Bench(), list[PlayedMark]()
    bench.port.on_marks(told.extend)
    bench.port.accept(AppAudio(level(1).tobytes() * 2, Mark("first", 1)))
    bench.port.accept(AppAudio(level(1).tobytes() * 2, Mark("second", 2)))
    bench.tick()
    assert told == []
    bench.tick()
    assert told == [PlayedMark("first", True)]
    bench.port.stop()
    bench.tick()
    assert told[1:] == [PlayedMark("second", False)]


def test_people_who_come_and_go_leave_nothing_behind() -> None:
    bench = Bench(mixed=False).connect()
    for n in range(50):
        speaker, _ = bench.speaker(f"4:+1555{n}", level(2))
        assert [message["participantRawID"] for message in bench.tick()] == [f"4:+1555{n}"]
        bench.bridge.remove(speaker)
    assert len(bench.port._speakers) == 1


# the batch ----------------------------------------------------------------------------------------------------------


def test_messages_that_came_are_read_in_order_at_the_next_tick() -> None:
    batch, seen = Batch(KIND), list[tuple[str, bytes]]()

    def again(message: bytes) -> None:
        seen.append(("a", message))
        batch.came.append((lambda m: seen.append(("later", m)), b"x"))

    batch.came += [(again, b"1"), (lambda m: seen.append(("b", m)), b"2")]
    batch.read()
    assert seen == [("a", b"1"), ("b", b"2")]
    batch.read()
    assert seen[2:] == [("later", b"x")]
    batch.read()
    assert len(seen) == 3


def test_a_message_that_fails_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    batch, seen = Batch(KIND), list[bytes]()

    def broken(message: bytes) -> None:
        raise BrokenPipeError("nobody reads what the node prints")

    batch.came += [(broken, b"1"), (seen.append, b"2")]
    batch.read()
    assert seen == [b"2"]
    assert "could not be read" in caplog.text


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("say"), st.integers(0, 900)),
            st.tuples(st.just("stop"), st.just(0)),
            st.tuples(st.just("tick"), st.integers(1, 4)),
            st.tuples(st.just("socket"), st.integers(0, 1)),
        ),
        max_size=60,
    )
)
def test_every_sample_is_heard_once_or_told_as_cut(steps: list[tuple[str, int]]) -> None:
    bench = Bench()
    speaker, _ = bench.speaker("a", level(2))
    said = told_ramp = told_cut = 0
    for step, size in steps:
        if step == "say":
            bench.port.accept(AppAudio(np.full(size, 77, "<i2").tobytes()))
            said += size
        elif step == "stop":
            cut = bench.port.stop()
            told_cut += cut.cut
            told_ramp += cut.ramp
        elif step == "tick":
            for _ in range(size):
                bench.tick()
        elif size:
            bench.connect()
        else:
            bench.port.disconnect()
    for _ in range(100):
        bench.tick()
    assert bench.port.playout.queued_samples == 0
    whole = sum(int((frame == 77).sum()) for frame in speaker.heard if frame is not None)
    # A ramp fades, so that its samples are told as heard without standing in the recording as they were.
    assert said - told_cut - told_ramp <= whole <= said - told_cut


@pytest.mark.parametrize("rates", [(24000, 16000), (16000, 24000)])
def test_an_app_in_another_format_than_its_call(rates: tuple[int, int]) -> None:
    """Tones come through both ways at the other rate, 20 ms for 20 ms."""
    rate, bridge_rate = rates
    port = StreamPort(rate, mixed=True, bidirectional=True, batch=Batch(None), restart_ms=0, bridge_rate=bridge_rate)
    sent: list[bytes] = []
    port.connect(lambda kind, message: sent.append(message))
    said, heard = ToneSource(500.0, rate), ToneSource(700.0, bridge_rate)
    port.accept(AppAudio(b"".join(said.next().tobytes() for _ in range(50))))
    frames = []
    for _ in range(50):
        frame = port.read()
        assert frame is not None and len(frame) == bridge_rate // 50
        frames.append(np.copy(frame))
        port.write(heard.next(), ())
        port.batch.flush()
    got = np.frombuffer(b"".join(base64.b64decode(json.loads(one)["audioData"]["data"]) for one in sent), "<i2")
    for samples, at, hertz in ((np.concatenate(frames), bridge_rate, 500), (got, rate, 700)):
        assert samples.size == at
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(at)))
        rest = np.delete(spectrum, slice(hertz - 3, hertz + 4))
        assert np.argmax(spectrum) == hertz and spectrum[hertz] > 20 * rest.max()
    assert port.read() is None, "nothing queued is not silence"
    port.write(None, ())
    port.batch.flush()
    assert json.loads(sent[-1])["audioData"]["silent"]
