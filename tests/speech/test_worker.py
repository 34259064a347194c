"""The speech process's inside: turns, cancels and failures, without a process and without a model."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from offhook.audio.pcm import Frame
from offhook.errors import SpeechError
from offhook.speech.messages import (
    Answer,
    Failed,
    Forget,
    Forgotten,
    Heard,
    Piece,
    Recognise,
    Request,
    Speak,
    Spoken,
    answers,
    packed,
    requests,
)
from offhook.speech.provider import Recognised, RecognisedWord, Words
from offhook.speech.worker import Worker, read_requests


class Double:
    """A voice and a recogniser: a sample for each letter, as many pieces as words; a word may fail."""

    def speak(self, words: Words, rate: int) -> Iterator[Frame]:
        for word in words.text.split():
            if word == "odd":
                raise SpeechError("speech_failed", "odd")
            if word == "bug":
                raise KeyError(word)
            yield np.full(len(word), rate // 1000, np.int16)

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str]) -> Recognised:
        if language == "odd":
            raise SpeechError("speech_language", "odd")
        return Recognised(text=f"{len(pcm)} {language} {' '.join(phrases)}".strip())


def answered(*asked: Request, make: Callable[[], Double] = Double) -> list[Answer]:
    """What comes of requests that are all there before the first is worked on."""
    made: list[Answer] = []
    worker = Worker(make, make, made.append)
    for request in asked:
        worker.take(request)

    def until_done(answer: Answer) -> None:
        made.append(answer)
        waiting.discard(answer.number) if not isinstance(answer, Piece) else None
        if not waiting:
            worker.take(None)

    forgotten = {one.number for one in asked if isinstance(one, Forget)}
    waiting = {one.number for one in asked} - forgotten
    if not waiting:
        worker.take(None)
    worker._send = until_done
    worker.run()
    return made


def shape(made: Sequence[Answer]) -> list[tuple[str, int]]:
    return [(type(answer).__name__, answer.number) for answer in made]


def test_it_speaks_for_several_in_turn() -> None:
    made = answered(Speak(1, Words(text="a bb ccc"), 8000), Speak(2, Words(text="d"), 16000))
    assert shape(made) == [("Piece", 1), ("Piece", 2), ("Piece", 1), ("Spoken", 2), ("Piece", 1), ("Spoken", 1)]
    assert made[2] == Piece(1, b"\x08\x00\x08\x00")


def test_recognitions_go_between() -> None:
    made = answered(
        Speak(1, Words(text="a b"), 8000), Recognise(2, b"\0" * 6, "en", ("yes",)), Recognise(3, b"", "odd", ())
    )
    assert shape(made)[:2] == [("Piece", 1), ("Heard", 2)]
    assert Heard(2, Recognised(text="3 en yes")) in made and Failed(3, "speech_language", "odd") in made


def test_what_is_forgotten_is_not_worked_on() -> None:
    made = answered(
        Speak(1, Words(text="a b"), 8000),
        Recognise(2, b"", "en", ()),
        Forget(1),
        Forget(2),
        Speak(3, Words(text="c"), 8000),
    )
    assert shape(made) == [("Forgotten", 1), ("Forgotten", 2), ("Piece", 3), ("Spoken", 3)]


def test_a_failure_is_of_one_request() -> None:
    made = answered(
        Speak(1, Words(text="a odd b"), 8000), Speak(2, Words(text="bug"), 8000), Recognise(3, b"\0", "en", ())
    )
    assert Failed(1, "speech_failed", "odd") in made
    assert Failed(2, "speech_failed", "KeyError: 'bug'.") in made
    assert any(isinstance(answer, Failed) and answer.number == 3 for answer in made), "an odd byte"


def test_what_cannot_be_made_fails_each_time() -> None:
    def none() -> Double:
        raise SpeechError("speech_not_set_up", "install it")

    asked = (Speak(1, Words(text="a"), 8000), Recognise(2, b"", "en", ()), Speak(3, Words(text="a"), 8000))
    made = answered(*asked, make=none)
    assert sorted(shape(made)) == [("Failed", 1), ("Failed", 2), ("Failed", 3)]
    assert {answer.outcome for answer in made if isinstance(answer, Failed)} == {"speech_not_set_up"}


def test_messages_come_back_as_they_were() -> None:
    asked: list[Request] = [
        Speak(1, Words(text="ä", ssml=True, language="en-US", voice="x"), 16000),
        Recognise(2, b"\0\1", "en", ("a", "b")),
        Forget(3),
    ]
    taken: list[Request | None] = []
    read_requests(io.BytesIO(b"".join(map(packed, asked)) + b"\5\0\0\0cut"), taken.append)
    assert taken == [*asked, None]
    said: list[Answer] = [
        Piece(1, b"\0\0"), Spoken(1), Forgotten(4), Failed(2, "speech_failed", "x"),
        Heard(3, Recognised(text="a", confidence=0.5, words=(RecognisedWord(text="a", start_ms=1, duration_ms=2),))),
    ]  # fmt: skip
    assert [answers.decode(packed(answer)[4:]) for answer in said] == said
    assert requests.decode(packed(asked[2])[4:]) == Forget(3)
