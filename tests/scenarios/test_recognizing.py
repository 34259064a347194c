"""Asking callers for something, and holding them, in whole calls on a manual clock: in which frame what is heard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.scenarios.stage import CALLEE, CALLER, OTHER, asked
from tests.scenarios.test_playing import FRAME, Room, begins, sound

from offhook.errors import PromptError
from offhook.service import media
from offhook.wire.holding import HoldRequest, UnholdRequest
from offhook.wire.identifiers import Identifier
from offhook.wire.playing import PlaySource
from offhook.wire.recognizing import Choice, DtmfOptions, RecognizeRequest

CHOICES = (Choice(label="yes", phrases=("yes",), tone="1"),)


class Desk(Room):
    """A room whose app asks for things."""

    def ask(self, connection: str, *names: str, of: Identifier = CALLER, **options: Any) -> None:
        prompt = tuple(PlaySource(kind="file", uri=name) for name in names)
        request = RecognizeRequest(
            **{"input_type": "dtmf", "prompt": prompt, "target_participant": of, "operation_context": "ask", **options}
        )
        media.recognize(self.node, asked(connection), request)

    def hold(self, connection: str, name: str = "", of: Identifier = CALLER) -> None:
        source = PlaySource(kind="file", uri=name) if name else None
        media.hold(self.node, asked(connection), HoldRequest(target_participant=of, source=source))

    def unhold(self, connection: str, of: Identifier = CALLER) -> None:
        media.unhold(self.node, asked(connection), UnholdRequest(target_participant=of))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_initial_silence_begins_with_the_end_of_the_prompt(desk: Desk) -> None:
    desk.shelf.sounds["menu"] = sound(16000)
    party, connection = desk.answered()
    desk.ask(connection, "menu", initial_silence=3)
    desk.run(1.1 + desk.shelf.delay + 2.8)
    assert party.pcm()[begins(party.pcm(), 1) :][:16000].tolist() == sound(16000).tolist()
    assert "RecognizeFailed" not in desk.events
    desk.run(0.3)
    assert desk.result("RecognizeFailed") == (400, 8510)


def test_a_key_cuts_the_prompt_within_two_frames_and_is_the_first(desk: Desk) -> None:
    desk.shelf.sounds["menu"] = np.full(100 * FRAME, 1000, np.int16)
    party, connection = desk.answered()
    desk.ask(connection, "menu", interrupt_prompt=True, dtmf=DtmfOptions(most=2))
    desk.run(0.5)
    before = len(party.heard)
    party.leg.press("7")
    desk.run(0.5)
    rest = party.pcm()[before * FRAME :]
    assert rest[:70].all() and not rest[80:].any(), "5 ms of ramp, then nothing"
    party.leg.press("8")
    assert desk.result("RecognizeCompleted") == (200, 8531)
    assert desk.event("RecognizeCompleted")["dtmfResult"] == {"tones": ["seven", "eight"]}


def test_a_play_and_a_recognition_follow_each_other_without_a_gap(desk: Desk) -> None:
    desk.shelf.sounds.update(a=sound(3 * FRAME), menu=sound(3 * FRAME, 5001))
    party, connection = desk.answered()
    desk.play(connection, "a")
    desk.ask(connection, "menu")
    desk.run(0.5)
    assert begins(party.pcm(), 5001) == begins(party.pcm(), 1) + 3 * FRAME


def test_the_prompt_for_one_of_a_group_is_heard_by_that_one(desk: Desk) -> None:
    desk.shelf.sounds["menu"] = np.full(50 * FRAME, 100, np.int16)
    first, second = desk.phone(CALLEE, answers=0.1), desk.phone(OTHER, answers=0.1)
    connection = desk.create(CALLEE, OTHER)
    desk.run(0.5)
    desk.ask(connection, "menu", of=OTHER)
    desk.run(0.5)
    assert not first.parties[0].pcm().any() and second.parties[0].pcm().any()


@pytest.mark.parametrize("input_type", ["speech", "speechOrDtmf", "choices"])
def test_without_a_recogniser_speech_fails_and_says_what_is_missing(desk: Desk, input_type: str) -> None:
    _, connection = desk.answered()
    choices = (*CHOICES, Choice(label="no", phrases=("no",))) if input_type == "choices" else ()
    desk.ask(connection, input_type=input_type, choices=choices)
    desk.run(0.1)
    assert desk.result("RecognizeFailed") == (400, 8565)
    assert "offhook[speech]" in desk.event("RecognizeFailed")["resultInformation"]["message"]


def test_without_a_recogniser_a_choice_can_be_made_by_its_key(desk: Desk) -> None:
    party, connection = desk.answered()
    desk.ask(connection, input_type="choices", choices=CHOICES)
    desk.run(1.0)
    party.leg.press("1")
    assert desk.result("RecognizeCompleted") == (200, 8533)


def test_who_is_on_hold_hears_the_prompt_alone_and_the_app_hears_nothing(desk: Desk) -> None:
    desk.shelf.sounds["wait"] = sound(777, 1000)
    party = desk.call(tone=440.0)
    connection = desk.answer()
    desk.run(0.5)
    (stream,) = desk.streams
    assert not stream.frames[-1]["silent"]
    desk.hold(connection, "wait")
    before, sent = len(party.heard), len(stream.frames)
    stream.say(np.full(8000, 30000, "<i2").tobytes())
    desk.run(1.0)
    heard = party.pcm()[before * FRAME :]
    start = begins(heard, 1000)
    assert start == round(desk.shelf.delay / 0.02) * FRAME and not heard[:start].any(), "silence until it is loaded"
    assert np.array_equal(heard[start:], np.resize(sound(777, 1000), len(heard) - start)), "the prompt, without a seam"
    frames = stream.frames[sent:]
    assert len(frames) == 50 and all(frame["silent"] for frame in frames)
    assert not stream.pcm()[sent * FRAME :].any()
    desk.unhold(connection)
    before = len(party.heard)
    desk.run(0.3)
    assert not party.pcm()[before * FRAME :][80:].any() and not stream.frames[-1]["silent"]
    stream.say(np.full(FRAME, 30000, "<i2").tobytes())
    desk.run(0.1)
    assert np.count_nonzero(party.pcm() == 30000) == FRAME
    assert len(party.live.bridge.members) == 2 and party.live.bridge._pair is not None, "a plain pair again"


def test_an_unmixed_stream_goes_on_with_silence_of_who_is_on_hold(desk: Desk) -> None:
    desk.call(tone=440.0)
    connection = desk.answer(audio_channel_type="unmixed")
    desk.run(0.3)
    desk.hold(connection)
    sent = len(desk.streams[0].frames)
    desk.run(0.2)
    frames = desk.streams[0].frames[sent:]
    assert len(frames) == 10 and {frame["participantRawID"] for frame in frames} == {CALLER.raw_id}
    assert all(frame["silent"] for frame in frames)


def test_who_is_on_hold_hears_a_play_that_names_them_and_none_to_all(desk: Desk) -> None:
    desk.shelf.sounds.update(all=np.full(20 * FRAME, 7, np.int16), one=np.full(20 * FRAME, 100, np.int16))
    party, connection = desk.answered()
    desk.play(connection, "all")
    desk.run(0.2)
    desk.hold(connection)
    before = len(party.heard)
    desk.play(connection, "one", to=(CALLER,))
    desk.run(0.8)
    assert set(np.unique(party.pcm()[before * FRAME :])) == {0, 100}


def test_a_prompt_that_cannot_be_played_brings_them_back_into_the_talk(desk: Desk) -> None:
    desk.shelf.sounds["bad"] = PromptError("play_not_downloaded", "because", 0)
    party = desk.call(tone=440.0)
    connection = desk.answer()
    desk.run(0.3)
    desk.hold(connection, "bad")
    desk.run(0.06)
    assert desk.streams[0].frames[-1]["silent"]
    desk.run(0.3)
    assert desk.result("HoldFailed") == (400, 8536) and not desk.streams[0].frames[-1]["silent"]
    assert not party.live.bridge.members[0].held


def test_on_hold_with_another_codec_they_stay_on_hold(desk: Desk) -> None:
    desk.shelf.sounds["wait"] = np.full(20 * FRAME, 100, np.int16)
    party = desk.call(tone=440.0)
    connection = desk.answer()
    desk.run(0.3)
    desk.hold(connection, "wait")
    party.live._part(party.leg.leg_id)
    party.live._join(party.leg.leg_id)
    desk.run(0.3)
    assert desk.streams[0].frames[-1]["silent"]
    assert np.array_equal(party.pcm()[-FRAME:], np.full(FRAME, 100))


@pytest.mark.parametrize("way", ["hang_up", "leave", "shut_down"])
def test_nothing_is_left_of_a_call_that_ends_on_hold_or_in_a_prompt(desk: Desk, way: str) -> None:
    desk.shelf.sounds.update(wait=sound(20000), menu=sound(20000))
    party, connection = desk.answered()
    desk.hold(connection, "wait")
    desk.ask(connection, "menu")
    desk.run(0.3)
    {"hang_up": lambda: desk.node.hang_up(connection), "leave": party.leg.leave, "shut_down": desk.node.shut_down}[
        way
    ]()
    desk.run(0.3)
    assert desk.events[-2].startswith("Recognize") and desk.events[-1] == "CallDisconnected"
    assert desk.shelf.waiting == 0 and not party.live._prompts._playing
    assert desk.empty()
