"""Recognize by speech in whole calls, on a manual clock with a recogniser that understands levels."""

from __future__ import annotations

import numpy as np
import pytest
from tests.scenarios.recogniser import Recogniser, loud_is_voiced
from tests.scenarios.stage import CALLEE, OTHER, Party
from tests.scenarios.test_playing import FRAME
from tests.scenarios.test_recognizing import Desk

from offhook.wire.recognizing import Choice

__all__ = ["loud_is_voiced"]
pytestmark = pytest.mark.usefixtures("loud_is_voiced")

CHOICES = (Choice(label="one", phrases=("said 1000", "a thousand")), Choice(label="two", phrases=("said 2000",)))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def recogniser(desk: Desk) -> Recogniser:
    recogniser = desk.node.speech = Recogniser(desk.clock)
    return recogniser


def say(party: Party, level: int, seconds: float) -> None:
    party.leg.say(np.full(round(seconds * 16000), level, "<i2").tobytes())


def test_an_utterance_ends_with_the_silence_that_was_asked_for(desk: Desk, recogniser: Recogniser) -> None:
    party, connection = desk.answered()
    desk.ask(connection, input_type="speech", end_silence=1.0)
    desk.run(1)
    say(party, 1000, 0.5)
    desk.run(1.4)
    assert recogniser.said == []
    desk.run(0.5)
    assert desk.result("RecognizeCompleted") == (200, 8569)
    assert desk.event("RecognizeCompleted")["speechResult"] == {"speech": "said 1000", "confidence": 0.5}
    say(party, 2000, 0.5)
    desk.run(3)
    assert len(recogniser.said) == 1, "nobody listens any more"
    live = next(iter(desk.node.calls.values()))
    assert not live.bridge._taps


def test_a_pause_does_not_end_it(desk: Desk, recogniser: Recogniser) -> None:
    party, connection = desk.answered()
    desk.ask(connection, input_type="speech", end_silence=2.0)
    for _ in range(2):
        say(party, 1000, 0.5)
        desk.run(2)
    desk.run(1)
    (one,) = recogniser.said
    assert one.seconds > 2.5 and desk.events.count("RecognizeCompleted") == 1


def test_a_choice_and_the_phrases_that_the_recogniser_is_told(desk: Desk, recogniser: Recogniser) -> None:
    party, connection = desk.answered()
    desk.ask(connection, input_type="choices", choices=CHOICES, end_silence=0.5, language="en-GB")
    desk.run(0.5)
    say(party, 2000, 0.5)
    desk.run(2)
    assert desk.result("RecognizeCompleted") == (200, 8545)
    assert desk.event("RecognizeCompleted")["choiceResult"]["label"] == "two"
    (one,) = recogniser.said
    assert one.phrases == ("said 1000", "a thousand", "said 2000") and one.language == "en-GB"
    desk.ask(connection, input_type="choices", choices=CHOICES, end_silence=0.5)
    desk.run(0.5)
    say(party, 3000, 0.5)
    desk.run(2)
    assert desk.result("RecognizeFailed") == (400, 8547)


def test_speech_cuts_the_prompt_within_a_fifth_of_a_second(desk: Desk, recogniser: Recogniser) -> None:
    desk.shelf.sounds["menu"] = np.full(300 * FRAME, 1000, np.int16)
    party, connection = desk.answered()
    desk.ask(connection, "menu", input_type="speech", interrupt_prompt=True, end_silence=0.5)
    desk.run(1.5)
    before = len(party.heard)
    say(party, 2000, 1.0)
    desk.run(0.9)
    heard = party.pcm()[before * FRAME :]
    assert heard[FRAME:][: 3 * FRAME].all() and not heard[11 * FRAME :].any()
    desk.run(2)
    assert desk.event("RecognizeCompleted")["speechResult"]["speech"] == "said 2000"


def test_speech_over_a_prompt_that_may_not_be_interrupted_does_not_count(desk: Desk, recogniser: Recogniser) -> None:
    desk.shelf.sounds["menu"] = np.full(100 * FRAME, 1000, np.int16)
    party, connection = desk.answered()
    desk.ask(connection, "menu", input_type="speech", end_silence=0.5)
    desk.run(0.5)
    say(party, 2000, 0.5)
    desk.run(3)
    assert not party.pcm()[-FRAME:].any() and recogniser.said == []
    say(party, 3000, 0.5)
    desk.run(2)
    assert desk.event("RecognizeCompleted")["speechResult"]["speech"] == "said 3000"


def test_who_speaks_for_longer_than_one_utterance_is_understood_whole(desk: Desk, recogniser: Recogniser) -> None:
    party, connection = desk.answered()
    desk.ask(connection, input_type="speech", end_silence=0.5)
    desk.run(0.5)
    say(party, 1000, 24.0)
    say(party, 3000, 6.0)
    desk.run(35)
    assert desk.event("RecognizeCompleted")["speechResult"]["speech"] == "said 1000 said 3000"
    assert len(recogniser.said) == 2


def test_what_is_not_understood_and_what_breaks(desk: Desk, recogniser: Recogniser) -> None:
    party, connection = desk.answered()
    desk.ask(connection, input_type="speech", end_silence=0.5)
    desk.run(0.5)
    say(party, 1, 0.5)  # of which the recogniser makes no words
    desk.run(2)
    assert desk.result("RecognizeFailed") == (400, 8563)
    recogniser.broken = 1
    desk.ask(connection, input_type="speech", end_silence=0.5)
    desk.run(0.5)
    say(party, 1000, 0.5)
    desk.run(2)
    assert desk.result("RecognizeFailed") == (400, 8565)
    desk.ask(connection, input_type="speech", language="tlh")
    desk.run(0.5)
    assert desk.events.count("RecognizeFailed") == 3 and desk.result("RecognizeFailed") == (400, 8565)


def test_a_cancel_a_key_or_a_hang_up_end_the_hearing(desk: Desk, recogniser: Recogniser) -> None:
    party, connection = desk.answered()
    for end in ("cancel", "key", "leave"):
        desk.ask(connection, input_type="speechOrDtmf", end_silence=0.5)
        desk.run(0.5)
        say(party, 1000, 2.0)
        desk.run(1)
        if end == "cancel":
            desk.node.ask(connection, lambda call, now: call.cancel_media(connection, now))
        elif end == "key":
            party.leg.press("#")
        else:
            party.leg.leave()
        desk.run(3)
    assert recogniser.said == [] and desk.empty()


def test_only_the_one_who_is_asked_is_heard(desk: Desk, recogniser: Recogniser) -> None:
    first, second = desk.phone(OTHER, answers=0.1), desk.phone(CALLEE, answers=0.1)
    connection = desk.create(OTHER, CALLEE)
    desk.run(0.5)
    desk.ask(connection, of=OTHER, input_type="speech", end_silence=0.5)
    desk.run(0.5)
    say(second.parties[0], 2000, 1.0)
    desk.run(2)
    assert recogniser.said == []
    say(first.parties[0], 1000, 0.5)
    desk.run(2)
    assert desk.event("RecognizeCompleted")["speechResult"]["speech"] == "said 1000"
