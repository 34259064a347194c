"""Turns that an app tells a node of: kept, bounded, and never at the cost of the stream (protocol.md §9 row 67)."""

from __future__ import annotations

import json

from tests.live import until
from tests.raw_socket import TEXT, RawSocket, raw_app
from tests.service.stream_bench import AUDIO, Bench, bench

from offhook.service.call_facts import turn_note
from offhook.service.streaming import TURNS_AT_ONCE
from offhook.wire.turns import TurnReport, write_turn

REPORT = TurnReport(3, "answer", "heard", 1000, 1620, 1700, 1702, 1740, 5740, 4000, 2, 1, 23)


async def said(*texts: str) -> Bench:
    """What a stream has of an app that says these, and one frame of sound behind them."""

    async def speak(socket: RawSocket) -> None:
        for text in (*texts, json.dumps(AUDIO)):
            socket.send(text.encode(), TEXT)
        await socket.reader.read()

    async with raw_app(speak) as url, bench(url) as one:
        await one.until_told()

        def heard() -> bool:
            one.batch.read()
            return one.port.counters.messages_in == 1

        await until(heard, "the sound behind them")
        return one


async def test_a_turn_is_told_to_the_owner() -> None:
    one = await said(write_turn(REPORT))
    assert one.owner.turns == [REPORT]
    assert (one.port.counters.bad_messages, one.port.counters.ignored_messages) == (0, 0)


async def test_a_flood_is_bounded_said_once_and_costs_no_sound() -> None:
    one = await said(*[write_turn(REPORT)] * 100)
    assert len(one.owner.turns) == TURNS_AT_ONCE
    assert one.port.counters.bad_messages == 100 - TURNS_AT_ONCE
    (problem,) = one.owner.problems()
    assert "more than 2 reports of turns a second" in str(problem)
    one.clock.advance(1.0)
    for _ in range(5):
        one.stream.receive(write_turn(REPORT).encode())
    assert len(one.owner.turns) == TURNS_AT_ONCE + 2, "two more a second"


async def test_bad_ones_are_counted_noted_and_cost_nothing() -> None:
    bad = '{"kind":"OffhookTurn","offhookTurn":{"number":"one"}}'
    one = await said(bad, bad, '{"kind":"OffhookTurn"}', write_turn(REPORT))
    assert one.owner.turns == [REPORT]
    assert one.port.counters.bad_messages == 3
    assert ["offhookTurn" in str(problem) for problem in one.owner.problems()] == [True, True]
    assert one.owner.kinds == ["opened"]


async def test_a_stream_that_is_dialled_again_goes_on_counting() -> None:
    one = await said()
    one.stream.first_frame = one.clock.monotonic()
    one.clock.advance(2.5)
    one.port.connect(lambda kind, message: None)
    one.stream.down()
    one.clock.advance(1.0)
    one.stream.down()
    assert one.stream.carried == 2.5, "while there is no socket the app counts nothing"


def test_the_note_is_on_the_axis_of_the_call() -> None:
    note = turn_note(REPORT, -12.34, dropped=2)
    assert note["spans"] == {"detection": 620, "answer": 80, "sending": 2, "playout": 38}
    assert note["responseMs"] == 740
    assert (note["stoppedMs"], note["firstHeardMs"], note["endedMs"]) == (987.7, 1727.7, 5727.7)
    assert note["errorMs"] == 63, "each frame that was not sent is missing in the app's count"
    silent = turn_note(TurnReport(1, "answer", "unanswered", 5, 6, None, None, None, 9, 0, 0, 0, 1), 0.0, 0)
    assert silent["responseMs"] is None and silent["firstHeardMs"] is None and silent["spans"] == {"detection": 1}
