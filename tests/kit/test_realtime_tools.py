"""Functions that the model calls while a caller is on the line."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.kit.realtime_double import Answer, Do, Say, tone
from tests.kit.realtime_double.session import Item
from tests.kit.simulated_call import noise
from tests.kit.talking import Talk, talking

from offhook.kit import Said, ToolCalled, TurnTaking

PATIENT = TurnTaking(end_silence_ms=10_000)


def outputs(talk: Talk) -> list[str]:
    return [event["item"]["output"] for event in talk.sent("conversation.item.create")]


def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


@pytest.mark.parametrize("preview", [False, True])
async def test_a_function_is_called_and_the_model_goes_on(preview: bool) -> None:
    answers: list[Answer] = [[Say(tone(0.5)), Do("weather", {"city": "Leeds"})], [Say(tone(0.7, 880))]]
    async with talking(answers, preview=preview, greeting="Hi", tools=[weather]) as talk:
        await talk.said(tone(0.7, 880))
        assert outputs(talk) == ["rain in Leeds"]
        assert talk.caller.played == tone(0.5) + tone(0.7, 880)
        assert len(talk.sent("response.create")) == 2
        (told,) = talk.told.of(ToolCalled)
        assert (told.name, told.output, told.failed) == ("weather", "rain in Leeds", False)


async def test_parallel_calls_run_at_once_and_are_answered_together() -> None:
    """Neither ends before the other has begun; one response.create, after both outputs."""
    met = asyncio.Barrier(2)

    async def one() -> str:
        await met.wait()
        return "1"

    async def two() -> str:
        await met.wait()
        await asyncio.sleep(0.05)
        return "2"

    async with talking([[Do("one"), Do("two")], [Say(tone(0.5))]], greeting="Hi", tools=[one, two]) as talk:
        await talk.said(tone(0.5))
        assert outputs(talk) == ["1", "2"]
        kinds = [event["type"] for event in talk.double.session.told]
        assert kinds == ["session.update", "response.create", *["conversation.item.create"] * 2, "response.create"]


async def test_a_slow_function_holds_up_neither_sound_nor_the_response() -> None:
    """While a function blocks its thread, the caller goes on to hear, and to be heard."""
    release = threading.Event()

    def slow() -> str:
        release.wait(5)
        return "done at last"

    answers: list[Answer] = [[Do("slow"), Say(tone(1))], [Say(tone(0.5, 880))]]
    async with talking(answers, greeting="Hi", tools=[slow]) as talk:
        await talk.until(lambda: talk.caller.played == tone(1))
        await talk.caller.hears(400)
        await talk.until(lambda: len(talk.double.session.sound) > 200 * 48)
        assert outputs(talk) == []
        release.set()
        await talk.said(tone(0.5, 880))
        assert outputs(talk) == ["done at last"]


async def test_what_fails_is_told_to_the_model() -> None:
    def broken() -> None:
        raise ValueError("no database")

    answers: list[Answer] = [
        [Do("broken"), Do("weather", {"town": "Leeds"}), Do("unknown"), Do("weather", "{")],
        [Say(tone(0.5))],
    ]
    async with talking(answers, greeting="Hi", tools=[broken, weather]) as talk:
        await talk.said(tone(0.5))
        told = {event.name + event.arguments: event.output for event in talk.told.of(ToolCalled)}
        assert told["broken{}"] == "error: broken failed: ValueError: no database"
        assert "town" in told['weather{"town": "Leeds"}'] and "truncated" in told["weather{"]
        assert told["unknown{}"] == "error: no tool named unknown; there are: broken, weather"
        assert len(talk.sent("response.create")) == 2 and all(event.failed for event in talk.told.of(ToolCalled))


async def test_a_function_that_takes_too_long_is_given_up() -> None:
    async def endless() -> None:
        await asyncio.sleep(60)

    answers: list[Answer] = [[Do("endless")], [Say(tone(0.5))]]
    async with talking(answers, greeting="Hi", tools=[endless], tool_timeout_s=0.05) as talk:
        await talk.said(tone(0.5))
        assert outputs(talk) == ["error: endless did not finish within 0.05 s"]


async def test_functions_are_cancelled_when_the_call_ends() -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async with talking([[Do("endless")]], greeting="Hi", tools=[endless]) as talk:
        await asyncio.wait_for(began.wait(), 5)
        await talk.until(lambda: not talk.double.session.active)
        await talk.caller.end()
        await asyncio.wait_for(talk.running, 5)
        assert cancelled.is_set()


async def test_a_result_that_comes_while_the_caller_speaks_waits_for_their_turn() -> None:
    """The function ends in mid-speech: the answer to what the caller says has its output; nobody asks for another."""
    release = asyncio.Event()

    async def look_up() -> str:
        await release.wait()
        return "found"

    answers: list[Answer] = [[Do("look_up")], [Say(tone(0.5))], [Say(tone(0.5, 990))]]
    async with talking(answers, greeting="Hi", tools=[look_up], turns=PATIENT) as talk:
        await talk.until(
            lambda: talk.double.sessions and talk.double.session.responses and not talk.double.session.active
        )
        await talk.caller.hears(200, noise(200))
        await talk.until(lambda: talk.double.session._speech)
        release.set()
        await talk.until(lambda: outputs(talk) == ["found"])
        await talk.caller.hears(700)
        await talk.said(tone(0.5))
        await talk.caller.hears(200)
        assert len(talk.sent("response.create")) == 1 and len(talk.double.session.responses) == 2


async def test_interrupted_response_with_a_call_goes_on_once_and_never_twice() -> None:
    """Barge-in while a function runs: its output and the caller's words end in one answer at a time."""

    async def look_up() -> str:
        await asyncio.sleep(0.1)
        return "found"

    answers: list[Answer] = [[Do("look_up"), Say(tone(5))], [Say(tone(0.5))], [Say(tone(0.5))]]
    async with talking(answers, greeting="Hi", tools=[look_up], turns=PATIENT) as talk:
        talk.double.pace_s = 0.004
        await talk.until(lambda: len(talk.caller.played) > 9600)
        await talk.caller.hears(160, noise(160))
        await talk.until(lambda: talk.caller.stops)
        await talk.caller.hears(700)
        await talk.until(lambda: outputs(talk) == ["found"])
        await talk.said(tone(0.5))


async def test_many_calls_at_once_are_bounded() -> None:
    running = most = 0

    async def busy() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1

    async with talking([[Do("busy")] * 40, [Say(tone(0.5))]], greeting="Hi", tools=[busy]) as talk:
        await talk.said(tone(0.5))
        assert most <= 16 and len(outputs(talk)) == 40
        assert sum("too many" in output for output in outputs(talk)) >= 1


async def test_a_response_that_began_before_the_result_came_is_followed_by_one_that_knows_it() -> None:
    """The service begins to answer the caller while the result is on its way to it."""
    release = asyncio.Event()

    async def look_up() -> str:
        await release.wait()
        return "found"

    answers: list[Answer] = [[Do("look_up")], [Say(tone(0.5))], [Say(tone(0.4, 990))]]
    async with talking(answers, greeting="Hi", tools=[look_up]) as talk:
        await talk.until(
            lambda: talk.double.sessions and talk.double.session.responses and not talk.double.session.active
        )
        session = talk.double.session
        talk.double.open.clear()
        await session.emit("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_x")
        talk.double.heard = lambda pcm: "and what about tomorrow?"
        await session._take_in(Item("item_x", "message", "user"))
        await talk.until(lambda: talk.told.of(Said))
        release.set()
        await talk.until(lambda: talk.told.of(ToolCalled))
        await session.emit("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="item_x")
        await session._respond()
        await talk.until(lambda: talk.caller.played == tone(0.5))
        talk.double.open.set()
        await talk.said(tone(0.4, 990))
        assert outputs(talk) == ["found"]


async def test_keys_that_came_after_a_response_had_begun_are_answered_after_it() -> None:
    """The service has begun to answer the caller when the keys, and the request to answer them, are on their way."""
    async with talking([[Say(tone(0.5))], [Say(tone(0.4, 990))]], keys=True) as talk:
        await talk.until(lambda: talk.double.sessions and talk.double.session.settings)
        talk.double.open.clear()
        for key in "42#":
            talk.caller.call._keys.put(key)
        await asyncio.sleep(0)  # they are being written
        talk.double.pace_s = 0.1
        await talk.double.session._respond()
        await talk.until(lambda: talk.caller.played)
        talk.double.open.set()
        await talk.said(tone(0.4, 990))
        assert len(talk.double.session.responses) == 2
        assert [error["code"] for error in talk.double.mistakes] == ["conversation_already_has_active_response"]
        talk.double.session.errors.clear()
