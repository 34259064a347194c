"""Turns as records of spans that add up; and what of it is logged, handed to the app, and sent, to whom."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.shell import LOUD, a_call
from tests.kit.shell import Socket as ShellSocket
from tests.kit.shell import until as shell_until

from offhook.kit import Interrupted, Resumed, SpeechEnded, SpeechStarted, Stream, VoiceApp
from offhook.kit.playback import Playback, PlayQueue
from offhook.kit.telemetry import GAP_MS, LONGEST_REPLY_MS, CallTelemetry, ClockTie, TurnLog, words
from offhook.kit.turns import TurnEvent
from offhook.wire.streaming import AppAudio, FrameWriter, audio_metadata, parse_app_message
from offhook.wire.turns import VERSION_HEADER, TurnReport, write_turn

FRAME = FrameWriter(None).build(bytes(640), b"2024-11-15T19:16:12.925Z", False).decode()
OFFSET = 5000.0
"""Seconds of the monotonic clock at the stream's beginning."""
DELAY = 0.004


class Story:
    """A call of frames: what the log is told is written down in frames and milliseconds."""

    def __init__(self) -> None:
        self.turns: list[TurnReport] = []
        self.log = TurnLog(self.turns.append)
        self.at = 0
        self.heard = 0.0

    @property
    def now(self) -> float:
        return OFFSET + self.at / 1000 + DELAY

    def run(self, ms: int, *, heard: bool = False, busy: bool | None = None) -> Story:
        """So much time; with `heard` the caller hears the app all the while."""
        for _ in range(ms // 20):
            self.at += 20
            self.heard += 20 * heard
            self.log.frame(self.at, self.now, self.heard, heard if busy is None else busy)
        return self

    def turn(self, silence: int = 600) -> Story:
        """The caller says something for a second, and it is noticed after so much silence."""
        self.log.speech_started()
        self.run(1000 + silence)
        self.log.caller_stopped(self.at - silence, self.now)
        return self

    def answer(self, ms: int, after: float = 0.0) -> Story:
        """Sound that is sent `after` seconds later, and heard from the frame after on."""
        self.log.sound(self.now)
        self.log.sent(self.now + after)
        return self.run(20, busy=True).run(ms, heard=True)

    def only(self) -> TurnReport:
        (turn,) = self.turns
        return turn


def test_a_turn_is_split_into_spans_that_add_up() -> None:
    turn = Story().run(100).turn(600).run(300).answer(2000, after=0.002).run(GAP_MS + 40).only()
    assert (turn.kind, turn.outcome, turn.playbacks, turn.resumed) == ("answer", "heard", 1, 0)
    assert turn.stopped_ms == 1100
    assert turn.spans == {"detection": 600, "answer": 300, "sending": 2, "playout": 18}
    assert turn.response_ms == 920 == turn.first_heard_ms - turn.stopped_ms  # type: ignore[operator]
    assert (turn.heard_ms, turn.ended_ms, turn.error_ms) == (2000, 1100 + 920 + 2000, 20)
    assert words(turn) == (
        "turn 1 (answer) heard, response 920 ms = detection 600 + answer 300 + sending 2 + playout 18 (±20), "
        "2000 ms heard"
    )


def test_a_greeting_has_no_caller_before_it_and_what_comes_later_is_more() -> None:
    story = Story().run(100).answer(1000).run(GAP_MS + 40)
    greeting = story.only()
    assert (greeting.kind, greeting.outcome, greeting.stopped_ms) == ("greeting", "heard", None)
    assert greeting.spans == {"sending": 0, "playout": 20} and greeting.response_ms == 20
    story.turn().answer(500).run(GAP_MS + 40).answer(700).run(GAP_MS + 40)
    assert [(turn.kind, turn.heard_ms) for turn in story.turns[1:]] == [("answer", 500), ("more", 700)]
    assert [turn.number for turn in story.turns] == [1, 2, 3]


def test_several_playbacks_with_short_pauses_are_one_answer() -> None:
    turn = Story().turn().answer(500).run(400).answer(300).run(GAP_MS + 40).only()
    assert (turn.playbacks, turn.heard_ms, turn.outcome) == (2, 800, "heard")
    assert turn.ended_ms - turn.first_heard_ms == 800 + 400 + 20  # type: ignore[operator]


def test_a_source_that_is_slow_keeps_its_answer_open() -> None:
    turn = Story().turn().answer(500).run(3 * GAP_MS, busy=True).answer(300).run(GAP_MS + 40).only()
    assert (turn.playbacks, turn.heard_ms) == (2, 800)


def test_an_interrupted_answer_ends_with_what_was_heard_and_the_words_are_the_next_turn() -> None:
    story = Story().turn().answer(1500)
    story.log.speech_started()
    story.run(160, heard=True)
    story.log.cut("interrupted", story.heard)
    first = story.only()
    assert (first.outcome, first.heard_ms) == ("interrupted", 1660)
    story.run(1600)
    story.log.caller_stopped(story.at - 600, story.now)
    story.run(200).answer(400).run(GAP_MS + 40)
    assert (story.turns[1].kind, story.turns[1].spans["detection"], story.turns[1].outcome) == ("answer", 600, "heard")


def test_a_cough_resumes_the_same_answer() -> None:
    story = Story().turn().answer(1000)
    story.log.speech_started()
    story.run(400, busy=True)  # held
    story.log.resumed()
    story.run(500, heard=True)
    story.log.caller_stopped(story.at - 700, story.now)
    story.run(500, heard=True).run(GAP_MS + 40)
    turn = story.only()
    assert (turn.outcome, turn.resumed, turn.heard_ms) == ("heard", 1, 2000)
    assert "resumed 1x" in words(turn)


def test_an_answer_that_the_caller_spoke_on_before_is_abandoned() -> None:
    story = Story().turn().run(200).turn().run(200).answer(500).run(GAP_MS + 40)
    assert [turn.outcome for turn in story.turns] == ["abandoned", "heard"]
    assert story.turns[0].spans == {"detection": 600} and story.turns[0].response_ms is None
    assert story.turns[1].spans["detection"] == 600


def test_no_answer_in_time_is_said_and_what_comes_then_is_more() -> None:
    story = Story().turn().run(LONGEST_REPLY_MS)
    turn = story.only()
    assert (turn.outcome, turn.audio_ms, turn.first_heard_ms, turn.heard_ms) == ("unanswered", None, None, 0)
    assert words(turn) == "turn 1 (answer) unanswered, detection 600 ms (±20), 0 ms heard"
    assert story.answer(500).run(GAP_MS + 40).turns[1].kind == "more"


def test_the_end_of_the_call_ends_what_is_open() -> None:
    for story, outcome in (
        (Story().turn().run(100), "ended"),
        (Story().turn().answer(300), "ended"),
        (Story().turn().answer(300).run(40), "heard"),
    ):
        story.log.end()
        story.log.end()
        assert story.only().outcome == outcome


def test_the_app_stops_itself() -> None:
    story = Story().turn().answer(300)
    story.log.cut("stopped", story.heard + 20)
    story.log.cut("interrupted", story.heard + 20)  # and the caller's speech finds nothing any more
    assert (story.only().outcome, story.only().heard_ms) == ("stopped", 320)


def test_words_into_the_apps_own_are_no_turn() -> None:
    story = Story().turn().answer(500)
    story.log.speech_started()
    story.run(600, heard=True)
    story.log.caller_stopped(story.at - 300, story.now)
    story.run(500, heard=True).run(GAP_MS + 40)
    assert story.only().heard_ms == 1600


def test_a_model_that_is_quicker_than_the_kit_answers_the_turn_all_the_same() -> None:
    story = Story().run(100)
    story.log.speech_started()
    story.run(1400)  # of which the last 400 are silence
    story.log.sound(story.now)
    story.log.sent(story.now)
    story.run(20, busy=True).run(180, heard=True)
    story.log.caller_stopped(1100, story.now)
    story.log.caller_stopped(1100, story.now)  # told twice: by the model's service and by the kit
    turn = story.run(1000, heard=True).run(GAP_MS + 40).only()
    assert (turn.kind, turn.stopped_ms, turn.detected_ms, turn.audio_ms) == ("answer", 1100, 1500, 1500)
    assert turn.spans == {"detection": 400, "answer": 0, "sending": 0, "playout": 20}


def test_a_service_that_notices_first_is_who_detects() -> None:
    for late in (False, True):  # whether the answer comes before the kit has noticed by itself
        story = Story().run(100)
        story.log.speech_started()
        story.run(1300)  # of which the last 300 are silence
        story.log.noticed(story.now)
        story.run(200)
        if not late:
            story.log.caller_stopped(1100, story.now)
        story.run(100)
        story.answer(500)
        if late:
            story.log.caller_stopped(1100, story.now)
        turn = story.run(GAP_MS + 40).only()
        assert turn.spans == {"detection": 300, "answer": 300, "sending": 0, "playout": 20}, late


def test_an_app_that_stops_while_the_caller_speaks_was_interrupted() -> None:
    story = Story().turn().answer(300)
    story.log.speech_started()
    story.run(100, heard=True)
    story.log.cut("stopped", story.heard)
    assert story.only().outcome == "interrupted"


@given(st.lists(st.tuples(st.sampled_from("fhtsncpirxed"), st.integers(1, 40)), max_size=80))
def test_in_any_order_records_are_whole(steps: list[tuple[str, int]]) -> None:
    story = Story()
    doing: dict[str, Any] = {
        "f": lambda n: story.run(20 * n),
        "h": lambda n: story.run(20 * n, heard=True),
        "t": lambda n: story.run(20 * n, busy=True),
        "s": lambda n: story.log.speech_started(),
        "n": lambda n: story.log.caller_stopped(max(0, story.at - 20 * n), story.now),
        "c": lambda n: story.log.cut("stopped", story.heard),
        "p": lambda n: story.log.sound(story.now),
        "i": lambda n: story.log.cut("interrupted", story.heard),
        "r": lambda n: story.log.resumed(),
        "x": lambda n: story.log.sent(story.now + n / 100),
        "e": lambda n: story.log.end(),
        "d": lambda n: story.log.noticed(story.now),
    }
    for step, size in steps:
        doing[step](size)
    story.log.end()
    assert [turn.number for turn in story.turns] == list(range(1, len(story.turns) + 1))
    for turn in story.turns:
        known = [moment for moment in turn.moments if moment is not None]
        assert known == sorted(known) and known[-1] == turn.ended_ms
        assert all(ms >= 0 for ms in turn.spans.values())
        if None not in turn.moments:
            assert sum(turn.spans.values()) == turn.first_heard_ms - turn.stopped_ms  # type: ignore[operator]
        assert parse_app_message(write_turn(turn)) == turn


# the clocks ---------------------------------------------------------------------------------------------------------


def test_the_least_delay_ties_the_clocks_and_the_error_says_how_well() -> None:
    tie = ClockTie()
    assert tie.stream_ms(OFFSET) == 0
    for n in range(1, 501):
        late = 0.003 + (0.05 if n % 7 else 0.0)
        tie.frame(n * 20, OFFSET + n * 0.02 + late)
    assert tie.stream_ms(OFFSET + 10 + 0.003) == pytest.approx(10_000, abs=0.01)
    assert tie.error_ms in (20, 21)


def test_a_service_whose_clock_stood_still_is_an_error_that_is_stated_until_the_tie_is_new() -> None:
    tie = ClockTie()
    for n in range(1, 1201):
        tie.frame(n * 20, OFFSET + n * 0.02 + (0.2 if n > 500 else 0.0))
        if n == 700:
            assert 219 <= tie.error_ms <= 222
    assert tie.error_ms in (20, 21)
    assert tie.stream_ms(OFFSET + 24.2) == pytest.approx(24_000, abs=0.01)


# in a call ----------------------------------------------------------------------------------------------------------


class Socket:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def receive(self) -> str | None:
        return None

    async def send(self, text: str) -> None:
        self.sent.append(text)

    async def close(self, code: int, reason: str) -> None:
        pass


class Quick(Socket):
    """One that sends without waiting."""

    def post(self, data: bytes) -> bool:
        self.sent.append(data.decode())
        return True

    async def drained(self) -> None:
        pass


async def conversation(headers: dict[str, str], *, share: bool) -> tuple[list[str], list[TurnReport]]:
    """A greeting, a turn that is answered and interrupted, and the end; gives what was sent, and the turns."""
    socket = Socket()
    stream = Stream(socket, headers)
    session = stream.session
    session.receive(audio_metadata("id", 16000))
    queue = PlayQueue(session)
    told: list[TurnReport] = []
    clock = [OFFSET]
    telemetry = CallTelemetry("call-1", queue, lambda: clock[0], share=share, told=told.append, send=lambda: None)
    telemetry.attach(stream)

    async def frames(count: int) -> None:
        for _ in range(count):
            clock[0] += 0.02
            session.receive(FRAME)
            queue.advance()
            telemetry.frame()
            await stream.flush()

    def play(ms: int) -> None:
        playback = Playback()
        queue.add(playback)
        queue.put(playback, bytes(ms * 32))
        queue.end(playback)

    def change(*events: TurnEvent) -> None:
        for event in events:
            telemetry.event(event)

    await frames(5)
    play(400)
    await frames(50)
    change(SpeechStarted(1000.0))
    await frames(60)
    change(SpeechEnded(session.stream_ms - 600, b""))
    play(5000)
    await frames(100)
    change(SpeechStarted(session.stream_ms), Resumed(1900.0))
    queue.cut()
    change(Interrupted(2000.0))
    await frames(10)
    telemetry.end()
    await stream.flush()
    return socket.sent, told


async def test_turns_are_logged_and_handed_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "offhook.kit.turns"):
        _, told = await conversation({}, share=False)
    assert [(turn.kind, turn.outcome, turn.resumed) for turn in told] == [
        ("greeting", "heard", 0),
        ("answer", "interrupted", 1),
    ]
    assert [turn.heard_ms for turn in told] == [400, pytest.approx(2000, abs=25)]
    assert told[1].spans["detection"] == 600
    lines = [record.getMessage() for record in caplog.records if record.name == "offhook.kit.turns"]
    assert lines == [f"call call-1: {words(turn)}" for turn in told]


async def test_a_node_that_says_so_is_told_and_nobody_else_gets_one_byte_more() -> None:
    plain, _ = await conversation({}, share=False)
    azure, _ = await conversation({"x-ms-call-connection-id": "connection-1"}, share=True)
    unasked, _ = await conversation({VERSION_HEADER: "0.1.0"}, share=False)
    assert plain == azure == unasked
    assert not [text for text in plain if "Offhook" in text]
    offhook, told = await conversation({VERSION_HEADER: "0.1.0"}, share=True)
    assert [parse_app_message(text) for text in offhook if "Offhook" in text] == told
    assert [text for text in offhook if "Offhook" not in text] == plain


@pytest.mark.parametrize("kind", [Socket, Quick])
async def test_a_bounded_number_waits_and_only_for_offhook(kind: type[Socket]) -> None:
    turn = Story().turn().answer(300).run(GAP_MS + 40).only()
    for headers, count in (({VERSION_HEADER: "0.1.0"}, 16), ({}, 0)):
        socket = kind()
        stream = Stream(socket, headers)
        for number in range(100):
            stream.tell(msgspec.structs.replace(turn, number=number))
        stream.session.play(bytes(640))
        await stream.flush()
        told = [parse_app_message(text) for text in socket.sent]
        assert [one.number for one in told if isinstance(one, TurnReport)] == list(range(100 - count, 100))
        assert told[count:] == [AppAudio(bytes(640))]


async def test_a_call_tells_what_is_open_when_it_is_hung_up() -> None:
    call, connection = a_call()
    call.shares_turns = True
    turns: list[TurnReport] = []
    call.on_turn = turns.append
    socket = ShellSocket()
    running = asyncio.create_task(call.run(Stream(socket, {VERSION_HEADER: "0.1.0"})))
    await shell_until(call.opened.is_set)
    call.play(LOUD * 10)
    await shell_until(lambda: socket.audio)
    await socket.heard(5)
    await call.hang_up()
    await shell_until(lambda: [one for one in socket.sent if isinstance(one, TurnReport)])
    assert connection.hung_up == 1
    assert [(turn.kind, turn.outcome) for turn in turns] == [("greeting", "ended")]
    await call.hang_up()
    running.cancel()
    assert len(turns) == 1


@pytest.mark.parametrize(
    ("setting", "variable", "wanted"),
    [(None, None, False), (None, "1", True), (None, "0", False), (False, "1", False), (True, None, True)],
)
def test_telemetry_is_asked_for(
    setting: bool | None, variable: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OFFHOOK_TELEMETRY", raising=False)
    if variable is not None:
        monkeypatch.setenv("OFFHOOK_TELEMETRY", variable)
    assert VoiceApp(telemetry=setting).telemetry is wanted
