"""The parts of the relay that do no I/O: what is read, what waits, whose turn it is, what was heard."""

from __future__ import annotations

import asyncio
import base64
import json
import typing
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.kit.realtime_double.vocabulary import Vocabulary

from offhook.errors import ConfigError
from offhook.kit import realtime_events as ev
from offhook.kit import realtime_settings as say
from offhook.kit.call import SoundFrame
from offhook.kit.realtime_floor import Floor
from offhook.kit.realtime_history import CHARACTERS_KEPT, LINES_KEPT, History
from offhook.kit.realtime_outgoing import EVENTS_KEPT, SOUND_KEPT_MS, Outgoing
from offhook.kit.realtime_services import OpenAI, VoiceLive
from offhook.kit.realtime_speech import Heard, Spoken

# ------------------------------------------------------------------ events


def names(preview: bool) -> set[str]:
    return set(Vocabulary(preview=preview)._server)


def test_the_table_has_names_of_both_vocabularies_only() -> None:
    assert set(ev._TABLE) <= names(preview=False) | names(preview=True)


@pytest.mark.parametrize("preview", [False, True])
def test_what_the_relay_needs_is_read_in_each_vocabulary(preview: bool) -> None:
    """Each class of the table is reached by at least one name of each."""
    assert {kind for name, kind in ev._TABLE.items() if name in names(preview)} == set(ev._TABLE.values())


@pytest.mark.parametrize("preview", [False, True])
def test_fields_are_those_of_the_package(preview: bool) -> None:
    classes = Vocabulary(preview=preview)._server
    for name, kind in ev._TABLE.items():
        if name in classes:
            fields = {field for field in kind.__struct_fields__ if field != "type"}
            package: type[BaseModel] = classes[name]
            required = {field.name for field in msgspec.structs.fields(kind) if field.required}
            assert required <= set(package.model_fields), name
            assert fields & set(package.model_fields), name


@given(st.text() | st.binary())
def test_reading_raises_value_errors_only(data: Any) -> None:
    try:
        ev.read_event(data)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "event",
    [{"type": "response.audio_timestamp.delta", "delta": 1}, {"type": "mcp_list_tools.completed"}, {}, {"type": ""}],
)
def test_unknown_events_are_left_out(event: dict[str, Any]) -> None:
    assert ev.read_event(json.dumps(event)) is None


# ------------------------------------------------------------------ settings

TOOL = {"type": "function", "name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("vad", ["server", "semantic", "local", {"type": "server_vad", "threshold": 0.7}])
@pytest.mark.parametrize("preview", [False, True])
def test_settings_are_what_the_package_takes(vad: Any, preview: bool) -> None:
    rules = say.turn_rules(vad, barge_in=True, voice_live=False)
    made = say.session_settings(
        OpenAI(preview=preview),
        instructions="x",
        voice="marin",
        tools=[TOOL],
        rules=rules,
        transcriber="whisper-1",
        more={},
    )
    assert Vocabulary(preview=preview).read(made) == made


@pytest.mark.parametrize("preview", [False, True])
def test_client_events_are_what_the_package_takes(preview: bool) -> None:
    events = [say.append(b"\0\0"), say.commit(), say.create("a", {"instructions": "x"}), say.create("a")]
    events += [say.cancel("r"), say.truncate("i", 0, 5), say.tool_output("c", "x")]
    events += [say.message(role, "x", preview=preview) for role in typing.get_args(typing.Literal["user", "assistant"])]
    for event in [*events, say.message("system", "x", preview=preview)]:
        assert Vocabulary(preview=preview).read(event) == event


@pytest.mark.parametrize(
    ("preview", "more", "why"),
    [
        (True, {"turn_detection": {"threshold": 0.7}}, r"session: turn_detection cannot .* relay\(vad="),
        (True, {"input_audio_format": "g711_ulaw"}, "session: input_audio_format cannot .* PCM16"),
        (False, {"audio": {"input": {"turn_detection": None}}}, "session: audio.input.turn_detection"),
        (False, {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "session: audio.output.format"),
        (False, {"audio": None}, "session: audio"),
    ],
)
def test_settings_that_the_relay_goes_by_are_not_changed_behind_it(preview: bool, more: Any, why: str) -> None:
    rules = say.turn_rules("server", barge_in=True, voice_live=False)
    given: dict[str, Any] = {"instructions": "", "voice": None, "tools": [], "rules": rules, "transcriber": None}
    with pytest.raises(ConfigError, match=why):
        say.session_settings(OpenAI(preview=preview), **given, more=more)


def test_voice_live_keeps_voices_of_models() -> None:
    rules = say.turn_rules("local", barge_in=True, voice_live=True)
    made = say.session_settings(
        VoiceLive(),
        instructions="",
        voice="alloy",
        tools=[],
        rules=rules,
        transcriber=None,
        more={"voice": {"rate": "1"}},
    )
    assert made["session"]["voice"] == {"rate": "1"} and made["session"]["turn_detection"] is None
    assert "input_audio_transcription" not in made["session"] and "instructions" not in made["session"]


# ------------------------------------------------------------------ what waits

FRAME = bytes(960)


async def taken(out: Outgoing) -> list[dict[str, Any]]:
    events = []
    while True:
        try:
            events.append(await asyncio.wait_for(out.take(), 0.01))
        except TimeoutError:
            return events


def sizes(events: list[dict[str, Any]]) -> list[int]:
    return [len(base64.b64decode(event["audio"])) for event in events if "audio" in event]


async def test_sound_goes_in_pieces_of_40_to_100_ms() -> None:
    out = Outgoing()
    out.sound(FRAME)
    assert await taken(out) == []
    out.sound(FRAME)
    assert sizes(await taken(out)) == [1920]
    for _ in range(12):
        out.sound(FRAME)
    assert sizes(await taken(out)) == [4800, 4800, 1920]


async def test_an_event_behind_sound_waits_for_it_and_an_urgent_one_does_not() -> None:
    out = Outgoing()
    out.sound(FRAME)
    out.event(say.commit())
    out.sound(FRAME)
    out.sound(FRAME)
    out.urgent(say.cancel("r"))
    kinds = [event["type"].rpartition(".")[2] for event in await taken(out)]
    assert kinds == ["cancel", "append", "commit", "append"]


async def test_a_slow_model_loses_the_oldest_sound_and_no_event() -> None:
    out = Outgoing()
    for number in range(SOUND_KEPT_MS // 20 + 50):
        out.sound(number.to_bytes(2, "little") * 480)
        if number % 100 == 0:
            out.event(say.commit())
    assert out.dropped_ms == 1000
    events = await taken(out)
    assert sum(sizes(events)) == SOUND_KEPT_MS * 48
    assert sum(event["type"] == "input_audio_buffer.commit" for event in events) == 3
    first = next(event for event in events if "audio" in event)
    assert base64.b64decode(first["audio"])[:2] == (50).to_bytes(2, "little")


async def test_a_new_session_begins_with_its_own_events() -> None:
    out = Outgoing()
    out.sound(FRAME * 2)
    out.event(say.commit())
    out.first([say.truncate("i", 0, 0), say.cancel("r")])
    kinds = [event["type"].rpartition(".")[2] for event in await taken(out)]
    assert kinds == ["truncate", "cancel", "append", "commit"]


async def test_events_are_bounded_and_forgotten_with_their_connection() -> None:
    out = Outgoing()
    out.sound(FRAME * 2)
    for _ in range(EVENTS_KEPT + 5):
        out.event(say.commit())
    out.urgent(say.cancel("r"))
    out.forget_events()
    assert sizes(await taken(out)) == [1920]
    for _ in range(EVENTS_KEPT + 5):
        out.event(say.commit())
    assert len(await taken(out)) == EVENTS_KEPT


# ------------------------------------------------------------------ whose turn it is


class Service:
    """The service's rules for responses, fed from a wire with delay: both ways are queues."""

    def __init__(self, rules: say.TurnRules) -> None:
        self.rules = rules
        self.to_service: list[dict[str, Any]] = []
        self.to_app: list[tuple[str, Any]] = []
        self.active: str | None = None
        self.cancelled = False
        self.speaking = False
        self.made = 0
        self.twice = 0
        self.floor = Floor(rules, self.to_service.append, lambda event: self.to_service.insert(0, event))

    def begin(self) -> None:
        self.made += 1
        self.active, self.cancelled = f"r{self.made}", False
        self.to_app.append(("created", self.active))

    def finish(self) -> None:
        if self.active is not None:
            self.to_app.append(("done", self.active))
            self.active = None

    def speech(self) -> None:
        if self.speaking:
            self.speaking = False
            self.to_app.append(("stopped", None))
            if self.rules.answers:
                if self.active is not None:
                    self.twice += 1
                    self.to_app.append(("refused itself", None))
                else:
                    self.begin()
            return
        self.speaking = True
        self.to_app.append(("started", None))
        if self.rules.interrupts:
            self.finish()

    def take(self) -> None:
        if not self.to_service:
            return
        event = self.to_service.pop(0)
        if event["type"] == "response.cancel":
            if event["response_id"] == self.active:
                self.finish()
        elif self.active is not None:
            self.to_app.append(("refused", None))
        else:
            self.begin()

    def tell(self) -> None:
        if not self.to_app:
            return
        kind, given = self.to_app.pop(0)
        if kind == "created":
            self.floor.created(given, covers=True)
        elif kind == "done":
            self.floor.done(given)
        elif kind == "started":
            self.floor.speech_started(interrupts=True)
        elif kind == "refused":
            self.floor.refused(active=True)
        elif kind == "refused itself":
            self.floor.refused_itself()
        else:
            self.floor.speech_ended()

    def settle(self) -> None:
        for _ in range(50):
            self.take()
            self.tell()
            self.finish()


SERVER = say.turn_rules("server", barge_in=True, voice_live=False)
OURS = say.turn_rules({"type": "server_vad", "create_response": False}, barge_in=True, voice_live=False)


@given(
    st.lists(st.sampled_from(["ask", "speech", "take", "take", "tell", "tell", "finish"]), max_size=60), st.booleans()
)
def test_what_was_asked_for_is_answered_and_nothing_waits_for_ever(steps: list[str], server: bool) -> None:
    """Any order of requests, speech and messages on a slow wire: in the end nothing is left, and what was asked last
    is followed by a response, which is not one that was dropped."""
    service = Service(SERVER if server else OURS)
    for step in steps:
        service.floor.ask() if step == "ask" else getattr(service, step)()
    if service.speaking:
        service.speech()
    service.settle()
    service.floor.no_answer_came()
    service.settle()
    made = service.made
    service.floor.ask()
    service.settle()
    assert service.made == made + 1 and service.floor.active is None
    assert service.floor.is_old(f"r{service.made}") is False
    assert not service.to_service and not service.to_app


@given(st.lists(st.sampled_from(["ask", "speech", "finish"]), max_size=60), st.booleans())
def test_never_two_at_once_on_a_quick_wire(steps: list[str], server: bool) -> None:
    service = Service(SERVER if server else OURS)
    for step in steps:
        service.floor.ask() if step == "ask" else getattr(service, step)()
        while service.to_service or service.to_app:
            service.take()
            assert all(kind != "refused" for kind, _ in service.to_app)
            service.tell()
    assert service.twice == 0


def test_a_service_that_does_not_answer_by_itself_is_asked_in_the_end() -> None:
    service = Service(SERVER)
    service.floor.speech_started(interrupts=True)
    service.floor.speech_ended()
    assert service.to_service == []
    service.floor.no_answer_came()
    assert [event["type"] for event in service.to_service] == ["response.create"]


def test_a_response_that_begins_into_the_callers_words_is_cancelled() -> None:
    """It was asked for before they began; what it was for is answered with what they say."""
    service = Service(SERVER)
    service.floor.ask()
    service.floor.speech_started(interrupts=True)
    service.floor.created("r1", covers=True)
    assert service.to_service[0] == say.cancel("r1") and service.floor.is_old("r1")


def test_a_greeting_that_the_service_was_quicker_than_is_not_followed_by_a_second_answer() -> None:
    """The caller has said hello first, and is being answered when the request for the greeting arrives."""
    service = Service(SERVER)
    service.begin()
    service.floor.ask({"instructions": "Greet."})
    service.take()
    service.tell()
    service.tell()
    assert service.to_service == [] and service.floor.active == "r1"
    service.floor.done("r1")
    assert service.to_service == []


def test_a_request_that_nothing_follows_is_made_again() -> None:
    service = Service(OURS)
    service.floor.ask()
    service.to_service.clear()
    assert service.floor.waits
    service.floor.no_answer_came()
    assert [event["type"] for event in service.to_service] == ["response.create"]
    service.floor.created("r1", covers=True)
    assert not service.floor.waits


def test_words_that_the_service_could_not_answer_are_answered_when_it_can() -> None:
    """A response that was asked for had just begun, into the caller's words; it is canceled, but too late for that."""
    service = Service(SERVER)
    service.floor.ask()
    service.speech()
    service.take()
    service.speech()
    while service.to_app:
        service.tell()
    assert service.twice == 1
    service.take()
    service.tell()
    assert [event["type"] for event in service.to_service] == ["response.create"]


def test_what_a_response_did_not_know_of_is_followed_by_another() -> None:
    service = Service(SERVER)
    service.floor.created("r1", covers=True)
    service.floor.ask()
    service.floor.created("r2", covers=False)
    service.floor.done("r2")
    assert [event["type"] for event in service.to_service] == ["response.create"]


# ------------------------------------------------------------------ sound


def deltas(pcm: bytes, cuts: list[int]) -> list[str]:
    at = sorted({0, len(pcm), *(cut % (len(pcm) + 1) for cut in cuts)})
    return [base64.b64encode(pcm[a:b]).decode() for a, b in zip(at, at[1:], strict=False)]


async def said(spoken: Spoken) -> bytes:
    return b"".join([piece async for piece in spoken.pieces()])


@given(st.binary(max_size=3000), st.lists(st.integers(0, 5000), max_size=20))
def test_deltas_cut_anywhere_are_one_sound(pcm: bytes, cuts: list[int]) -> None:
    spoken = Spoken("i", 0, "r", 24000)
    for delta in deltas(pcm, cuts):
        spoken.put(delta)
    spoken.end()
    assert asyncio.run(said(spoken)) == pcm[: len(pcm) & ~1]
    assert spoken.received_ms == (len(pcm) // 2) / 24


@given(st.lists(st.integers(0, 20000), max_size=20))
def test_resampled_sound_does_not_depend_on_the_cuts(cuts: list[int]) -> None:
    pcm = (6000 * np.sin(np.arange(5000) / 9)).astype("<i2").tobytes()
    whole, cut = Spoken("i", 0, "r", 16000), Spoken("i", 0, "r", 16000)
    for spoken, pieces in ((whole, deltas(pcm, [])), (cut, deltas(pcm, cuts))):
        for delta in pieces:
            spoken.put(delta)
        spoken.end()
    assert asyncio.run(said(whole)) == asyncio.run(said(cut))


def test_no_more_is_heard_than_has_come() -> None:
    """The last frame of resampled sound is filled up with silence, which is not the model's."""
    spoken = Spoken("i", 0, "r", 16000)
    spoken.put(base64.b64encode(bytes(2 * 250)).decode())
    spoken.playback = cast(Any, SimpleNamespace(heard_ms=20.0))
    assert spoken.heard_ms == spoken.received_ms == pytest.approx(250 / 24)
    assert spoken.heard_of("all of it") == "all of it"


def test_what_is_no_base64_is_left_out() -> None:
    spoken = Spoken("i", 0, "r", 24000)
    spoken.put("!!")
    spoken.put(base64.b64encode(b"\1\2").decode())
    spoken.end()
    assert asyncio.run(said(spoken)) == b"\1\2"


def test_heard_frames_of_other_lengths_and_of_other_speakers() -> None:
    heard = Heard(16000)
    assert len(heard.take(SoundFrame(bytes(640), 16000))) == 960
    assert len(heard.take(SoundFrame(b"", 16000, silent=True))) == 960
    heard = Heard(24000)
    assert heard.take(SoundFrame(b"\1\2" * 480, 24000, "a")) == b"\1\2" * 480
    assert heard.take(SoundFrame(b"\1\2" * 480, 24000, "b")) == b""


# ------------------------------------------------------------------ history


def test_history_has_what_was_heard() -> None:
    history = History()
    history.add("agent", "1", "Good", final=False)
    history.add("agent", "1", " morning", final=False)
    history.add("caller", "2", " Hi ", final=True)
    assert history.unanswered and history.lines() == [("agent", "Good morning"), ("caller", "Hi")]
    history.add("agent", "3", "A long story about", final=False)
    history.heard("3", "A long")
    history.add("agent", "3", "A long story about nothing.", final=True)
    assert history.lines()[-1] == ("agent", "A long") and not history.unanswered


def test_history_keeps_the_callers_place_until_their_words_come() -> None:
    history = History()
    history.add("caller", "1", "", final=False)
    assert history.lines() == [] and not history.unanswered
    history.add("agent", "2", "At nine.", final=True)
    history.add("caller", "1", "When do you open?", final=True)
    assert history.lines() == [("caller", "When do you open?"), ("agent", "At nine.")] and not history.unanswered


def test_history_is_bounded() -> None:
    history = History()
    for number in range(LINES_KEPT * 2):
        history.add("caller", str(number), f"{number} " + "x" * 500, final=True)
    lines = history.lines()
    assert lines[-1][1].startswith(f"{LINES_KEPT * 2 - 1} ") and 10 < len(lines) <= LINES_KEPT
    assert sum(len(text) for _, text in lines) <= CHARACTERS_KEPT
