"""The local voice: pieces at the rate that is asked for, sentence by sentence, with pauses, pace and loudness."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from offhook.audio.pcm import Frame, level_dbfs
from offhook.errors import SpeechError
from offhook.speech.hibari import HibariVoice
from offhook.speech.provider import Words


@pytest.fixture(scope="module")
def voice() -> HibariVoice:
    return HibariVoice()


def said(voice: HibariVoice, text: str, rate: int = 16000, ssml: bool = False) -> Frame:
    return np.concatenate(list(voice.speak(Words(text=text, ssml=ssml), rate)))


def test_a_piece_is_a_sentence(voice: HibariVoice) -> None:
    pieces = voice.speak(Words(text="One. Two! Three?"), 24000)
    assert [piece.dtype for piece in pieces] == [np.dtype(np.int16)] * 3


@pytest.mark.parametrize("text", ["We are open.", "Six.", "How may I help?"])
def test_a_sentence_begins_at_once(voice: HibariVoice, text: str) -> None:
    loud = np.flatnonzero(np.abs(said(voice, f"One. {text}").astype(np.int32)) > 100)
    assert loud[0] < 16000 // 10
    assert np.diff(loud).max() < 16000 * 0.7, "and there is no more than a pause between two"


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_any_rate(voice: HibariVoice, rate: int) -> None:
    """The same words are as long and as loud."""
    heard, own = said(voice, "Hello there.", rate), said(voice, "Hello there.", 24000)
    assert len(heard) / rate == pytest.approx(len(own) / 24000, abs=0.001)
    assert level_dbfs(heard) == pytest.approx(level_dbfs(own), abs=1.0)


def test_equal_words_sound_equal(voice: HibariVoice) -> None:
    assert np.array_equal(said(voice, "Hello there."), said(voice, "Hello there."))


def test_pace_loudness_and_pauses(voice: HibariVoice) -> None:
    plain = said(voice, "<speak>Hello there.</speak>", ssml=True)
    slow = said(voice, "<speak><prosody rate='-50%'>Hello there.</prosody></speak>", ssml=True)
    assert 1.5 < len(slow) / len(plain) < 2.2
    soft = said(voice, "<speak><prosody volume='50'>Hello there.</prosody></speak>", ssml=True)
    assert level_dbfs(plain) - level_dbfs(soft) == pytest.approx(6, abs=0.2)
    later = said(voice, "<speak>Hello there.<break time='300ms'/></speak>", ssml=True)
    assert len(later) == len(plain) + 4800 and not later[-4800:].any()


@pytest.mark.parametrize(
    "text",
    [
        "so we go on and on " * 20,
        "7 " * 200,
        "7" * 200,
        "<speak><say-as interpret-as='digits'>" + "7" * 200 + "</say-as></speak>",
    ],
)
def test_a_text_without_an_end_comes_in_pieces(voice: HibariVoice, text: str) -> None:
    """So that nobody waits for it, whatever is in it."""
    pieces = list(voice.speak(Words(text=text, ssml=text.startswith("<")), 8000))
    assert len(pieces) > 1 and all(len(piece) < 20 * 8000 for piece in pieces)


def test_a_long_number_is_read_digit_by_digit(voice: HibariVoice) -> None:
    card = "4111111111111111"
    assert np.array_equal(said(voice, f"Card {card}."), said(voice, f"Card {' '.join(card)}."))
    assert len(said(voice, "1" * 40)) > 10 * 16000


@pytest.mark.parametrize("text", ["...", "-", "日本語", "\ud800", "a" * 4000, "1" * 4000, "😀 ok", "\x00\x01"])
def test_no_text_is_too_odd(voice: HibariVoice, text: str) -> None:
    """Sound, none, or the one error of speech."""
    try:
        pieces = list(voice.speak(Words(text=text), 16000))
    except SpeechError as error:
        assert error.outcome == "speech_failed"
    else:
        assert all(len(piece) for piece in pieces)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(SpeechError) as caught:
        HibariVoice()
    assert caught.value.outcome == "speech_not_set_up" and "offhook[speech]" in caught.value.detail
