"""StreamSession: events in order, audio cut into messages, stop, and the heard-so-far estimate."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from offhook.kit import (
    Audio,
    Dtmf,
    Event,
    MarkReached,
    Opened,
    OutStreamingData,
    PlayQueueFull,
    StreamSession,
    Transcript,
    Unreadable,
)
from offhook.wire.streaming import (
    AppAudio,
    FrameWriter,
    StopAudio,
    audio_metadata,
    dtmf_data,
    mark_data,
    parse_app_message,
)

MIX = FrameWriter(None)


def frame(rate: int = 16000, writer: FrameWriter = MIX) -> bytes:
    return writer.build(bytes(rate // 25), b"2024-11-15T19:16:12.925Z", False)


def opened(rate: int = 16000, **settings_: int) -> StreamSession:
    session = StreamSession(**settings_)
    session.receive(audio_metadata("id", rate))
    return session


def sent(session: StreamSession) -> bytes:
    """All audio that is to be sent; a stop empties what came before."""
    heard = b""
    for text in session.drain():
        message = parse_app_message(text)
        if isinstance(message, StopAudio):
            heard = b""
        else:
            assert isinstance(message, AppAudio)
            heard += message.pcm
    return heard


def test_messages_become_events() -> None:
    session = StreamSession()
    assert session.sample_rate == 16000
    (event,) = session.receive(audio_metadata("id", 24000))
    assert isinstance(event, Opened)
    assert event.metadata == session.metadata
    assert session.sample_rate == 24000
    (event,) = session.receive(frame(24000))
    assert isinstance(event, Audio)
    assert event.pcm == bytes(960)
    (event,) = session.receive(dtmf_data("#"))
    assert isinstance(event, Dtmf)
    assert event.tone == "#"
    (event,) = session.receive(mark_data("m", "Completed"))
    assert isinstance(event, MarkReached)
    text = '{"kind":"TranscriptionMetadata","transcriptionMetadata":{"subscriptionId":"","locale":"en-us",'
    (event,) = session.receive(text + '"callConnectionId":"","correlationId":""}}')
    assert isinstance(event, Transcript)


@pytest.mark.parametrize("text", ["", "{}", '{"kind":"New"}', b"\xff", '{"kind":"AudioData","audioData":{}}'])
def test_what_cannot_be_used_is_an_event(text: str | bytes) -> None:
    (event,) = StreamSession().receive(text)
    assert isinstance(event, Unreadable)
    assert event.reason


@pytest.mark.parametrize("rate", [0, -1, 10**12])
def test_an_impossible_rate_is_not_taken(rate: int) -> None:
    session = StreamSession()
    text = audio_metadata("id", 16000).replace(b"16000", str(rate).encode())
    assert isinstance(session.receive(text)[0], Unreadable)
    assert session.sample_rate == 16000


@given(st.lists(st.binary(max_size=9000), max_size=8), st.sampled_from([16000, 24000]), st.booleans())
def test_any_chunking_is_played_whole(chunks: list[bytes], rate: int, drain_between: bool) -> None:
    session = opened(rate)
    heard = b""
    for chunk in chunks:
        session.play(chunk)
        if drain_between:
            heard += sent(session)
    heard += sent(session)
    whole = b"".join(chunks)
    assert heard == whole[: len(whole) & ~1]


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=6), st.sampled_from([16000, 24000]))
def test_messages_hold_200_ms_at_most(chunks: list[int], rate: int) -> None:
    session = opened(rate)
    for chunk in chunks:
        session.play(bytes(chunk))
    sizes = []
    for text in session.drain():
        message = parse_app_message(text)
        assert isinstance(message, AppAudio)
        sizes.append(len(message.pcm))
    assert all(size == rate // 5 * 2 for size in sizes[:-1])
    assert all(0 < size <= rate // 5 * 2 for size in sizes)


def test_a_frame_is_one_message() -> None:
    session = opened()
    session.play(bytes(range(256)) * 2)
    assert session.drain() == [OutStreamingData.get_audio_data_for_outbound(bytes(range(256)) * 2)]
    assert session.drain() == []


def test_a_buffer_may_be_reused_after_play() -> None:
    session = opened()
    buffer = bytearray(b"\x01\x02" * 320)
    session.play(buffer)
    buffer[:] = bytes(640)
    assert sent(session) == b"\x01\x02" * 320


def test_stop_drops_what_waits_and_goes_first() -> None:
    session = opened()
    session.play(b"ab" * 5000 + b"x")
    session.stop()
    session.play(b"cd")
    texts = session.drain()
    assert texts[0] == OutStreamingData.get_stop_audio_for_outbound()
    assert [parse_app_message(text) for text in texts[1:]] == [AppAudio(b"cd")]


def test_heard_follows_the_frames() -> None:
    session = opened()
    session.play(bytes(32000))  # one second
    assert (session.played_ms, session.heard_ms) == (1000, 0)
    heard = []
    for _ in range(60):
        session.receive(frame())
        heard.append(session.heard_ms)
    assert heard[:3] == [0, 20, 40]  # one tick passes before the first sample is heard
    assert heard[24] == 480
    assert heard[-1] == 1000
    assert session.stream_ms == 1200


def test_heard_does_not_grow_while_nothing_is_queued() -> None:
    session = opened()
    session.play(bytes(640))
    for _ in range(50):
        session.receive(frame())
    assert session.heard_ms == 20
    session.play(bytes(1280))  # more of the same utterance, after a pause
    assert session.heard_ms == 20
    for _ in range(50):
        session.receive(frame())
    assert session.heard_ms == 60


def test_stop_says_what_was_heard_and_starts_the_count_again() -> None:
    session = opened()
    session.play(bytes(32000))
    for _ in range(11):
        session.receive(frame())
    assert session.heard_ms == 200
    assert session.stop() == 225  # the frame that has left, and the ramp after it
    assert (session.heard_ms, session.played_ms) == (0, 0)
    session.play(bytes(32000))
    for _ in range(2):
        session.receive(frame())
    assert session.heard_ms == 20


@pytest.mark.parametrize(("frames", "heard_ms"), [(0, 0), (1, 25), (2, 45), (5, 100), (9, 100)])
def test_stop_counts_what_it_cannot_take_back(frames: int, heard_ms: int) -> None:
    session = opened()
    session.play(bytes(3200))  # 100 ms, heard from the next frame on
    for _ in range(frames):
        session.receive(frame())
    assert session.stop() == heard_ms


def test_begin_counts_the_next_utterance_behind_the_queue() -> None:
    session = opened(delay_ms=0)
    session.play(bytes(3200))  # 100 ms
    session.begin()
    session.play(bytes(3200))
    for _ in range(5):
        session.receive(frame())
    assert session.heard_ms == 0
    session.receive(frame())
    assert session.heard_ms == 20
    for _ in range(50):
        session.receive(frame())
    assert session.heard_ms == session.played_ms == 100


def test_unmixed_speakers_count_one_tick_together() -> None:
    session = opened()
    writers = [FrameWriter(f"4:+1555{n}") for n in range(4)]
    for tick in range(50):
        for writer in writers if tick < 25 else writers[1:3]:  # two of them leave
            session.receive(frame(16000, writer))
    assert session.stream_ms == pytest.approx(1000, abs=40)


def test_a_frame_without_data_counts_its_20_ms() -> None:
    session = opened()
    session.receive(MIX.build(b"", b"t", True))
    assert session.stream_ms == 20


def test_the_queue_is_bounded() -> None:
    session = opened(max_ahead_ms=1000)
    session.play(bytes(32000))
    session.drain()
    with pytest.raises(PlayQueueFull, match="1000 ms"):
        session.play(bytes(2))
    for _ in range(10):
        session.receive(frame())
    session.play(bytes(3200))
    session.stop()
    session.play(bytes(31000))


def test_what_is_never_drained_is_bounded_too() -> None:
    session = opened(max_ahead_ms=1000)
    session.play(bytes(32000))
    for _ in range(1000):
        session.receive(frame())
    with pytest.raises(PlayQueueFull):
        session.play(bytes(2))


@given(
    st.lists(st.tuples(st.sampled_from([None, "", "4:+1", "4:+2"]), st.sampled_from([0, 640])), max_size=40),
    st.integers(0, 40),
)
def test_a_fed_session_counts_as_one_that_is_read(frames: list[tuple[str | None, int]], play_at: int) -> None:
    read, fed = opened(), opened()
    events: list[Event] = []
    give = fed.feed(events.append)
    for at, (speaker, size) in enumerate(frames):
        audio = {"data": b64encode(bytes(size)).decode(), "participantRawID": speaker, "silent": not size}
        text = json.dumps({"kind": "AudioData", "audioData": audio})
        if at == play_at:
            read.play(bytes(640))
            assert fed.play_now(bytes(640)) is not None
        give(text)
        assert [events[-1]] == read.receive(text)
        assert (fed.stream_ms, fed.heard_ms, fed.played_ms) == (read.stream_ms, read.heard_ms, read.played_ms)
    give("{}")
    assert isinstance(events[-1], Unreadable)


@pytest.mark.parametrize("pcm", [b"", b"\1", bytes(642), bytearray(640)])
def test_what_is_not_one_frame_is_not_played_now(pcm: bytes) -> None:
    session = opened()
    assert session.play_now(pcm) is None and session.played_ms == 0
    assert session.play_now(bytes(640)) is not None
    session.play(b"\1\2\3")
    session.drain()
    assert session.play_now(bytes(640)) is None
    session.stop()
    assert session.play_now(bytes(640)) is None
    session.drain()
    assert session.play_now(bytes(640)) is not None


def test_what_is_played_now_has_the_same_limit() -> None:
    assert opened(max_ahead_ms=10).play_now(bytes(640)) is None
    session = opened(max_ahead_ms=100)
    assert [session.play_now(bytes(640)) is not None for _ in range(6)] == [True] * 4 + [False] * 2
    with pytest.raises(PlayQueueFull):
        session.play(bytes(640))


class Sessions(RuleBasedStateMachine):
    """Whatever order: nothing raises but PlayQueueFull, heard <= played, order and content hold."""

    def __init__(self) -> None:
        super().__init__()
        self.session = opened(max_ahead_ms=2000)
        self.given = b""
        self.taken = b""
        self.before = 0.0

    @rule(pcm=st.binary(max_size=9000))
    def play(self, pcm: bytes) -> None:
        try:
            self.session.play(pcm)
        except PlayQueueFull:
            return
        self.given += pcm

    @rule(pcm=st.binary(min_size=639, max_size=641))
    def play_now(self, pcm: bytes) -> None:
        before, waits = self.session.played_ms, self.session.has_more
        message = self.session.play_now(pcm)
        if message is None:
            assert self.session.played_ms == before
            return
        taken = parse_app_message(message)
        assert isinstance(taken, AppAudio) and taken.pcm == pcm and not waits and not len(self.given) & 1
        self.given += pcm
        self.taken += pcm

    @rule(ticks=st.integers(1, 30))
    def frames(self, ticks: int) -> None:
        for _ in range(ticks):
            before = self.session.heard_ms
            self.session.receive(frame())
            assert before <= self.session.heard_ms <= before + 20

    @rule()
    def drain(self) -> None:
        for text in self.session.drain():
            message = parse_app_message(text)
            if isinstance(message, AppAudio):
                self.taken += message.pcm
        assert self.taken == self.given[: len(self.given) & ~1]

    @precondition(lambda self: self.given)
    @rule()
    def stop(self) -> None:
        assert self.session.stop() <= len(self.given) / 32
        self.given = self.taken = b""
        assert self.session.heard_ms == 0

    @invariant()
    def heard_is_part_of_played(self) -> None:
        assert 0 <= self.session.heard_ms <= self.session.played_ms <= len(self.given) / 32


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
