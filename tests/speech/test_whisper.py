"""The local recogniser: words and their places in what the local voice says, and nothing in what is no speech."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from tests.transcript import plain

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.errors import SpeechError
from offhook.speech import whisper
from offhook.speech.hibari import HibariVoice
from offhook.speech.provider import Words
from offhook.speech.whisper import WINDOW, WhisperRecogniser, log_mel, windows

RATE = 16000


@pytest.fixture(scope="module")
def recogniser() -> WhisperRecogniser:
    return WhisperRecogniser(threads=2)


@pytest.fixture(scope="module")
def voice() -> HibariVoice:
    return HibariVoice()


def said(voice: HibariVoice, text: str) -> Frame:
    return np.concatenate(list(voice.speak(Words(text=text), RATE)))


def test_words_have_their_places(recogniser: WhisperRecogniser, voice: HibariVoice) -> None:
    """Two words with a second between them, after half a second of silence."""
    one, two = said(voice, "Monday."), said(voice, "Thursday.")
    sound = np.concatenate([np.zeros(RATE // 2, np.int16), one, np.zeros(RATE, np.int16), two])
    heard = recogniser.recognise(sound, "en-US", ())
    first, second = heard.words
    assert (plain(first.text), plain(second.text)) == ("monday", "thursday")
    begin = (RATE // 2 + len(one) + RATE) * 1000 / RATE
    assert second.start_ms == pytest.approx(begin, abs=400)
    assert second.start_ms + second.duration_ms <= len(sound) * 1000 / RATE + 20
    assert 0.5 < heard.confidence <= 1


@pytest.mark.parametrize("word", ["yes", "no", "sales", "cancel", "help me"])
def test_short_answers(recogniser: WhisperRecogniser, voice: HibariVoice, word: str) -> None:
    noise = np.random.default_rng(1).normal(0, 10, 2 * RATE)
    speech = said(voice, word)
    noise[4000 : 4000 + len(speech)] += speech
    assert plain(recogniser.recognise(noise.astype(np.int16), "en-US", ()).text) == word


def test_likely_phrases_are_understood_as_they_are_written(recogniser: WhisperRecogniser, voice: HibariVoice) -> None:
    """A name that nobody can know; and what is none of them stays itself."""
    speech, other = said(voice, "Fabrikam."), said(voice, "Banana.")
    phrases = ("Contoso", "Fabrikam", *(f"company number {number}" for number in range(200)))
    assert plain(recogniser.recognise(speech, "en-US", ()).text) != "fabrikam"
    assert plain(recogniser.recognise(speech, "en-US", phrases[:2]).text) == "fabrikam"
    assert plain(recogniser.recognise(other, "en-US", phrases[:2]).text) == "banana"
    assert recogniser.recognise(speech, "en-US", phrases).text
    assert recogniser.recognise(speech, "en-US", ("日本", "\ud800", "")).text
    assert recogniser.recognise(np.zeros(RATE, np.int16), "en-US", ("yes", "no")).text == ""


def test_many_likely_phrases_leave_room_for_what_is_said(recogniser: WhisperRecogniser, voice: HibariVoice) -> None:
    text = (
        "Please tell me the opening hours of the office in Seattle on Monday and on Tuesday, "
        "and whether somebody can come to my house on Wednesday afternoon."
    )
    phrases = [f"company number {number}" for number in range(200)]
    assert plain(recogniser.recognise(said(voice, text), "en-US", phrases).text) == plain(text)


@pytest.mark.parametrize("seed", [5, 6])
def test_a_word_is_not_repeated_without_end(recogniser: WhisperRecogniser, voice: HibariVoice, seed: int) -> None:
    """On a noisy telephone line, of which the model makes "yeah yeah yeah ..." at first."""
    word = said(voice, "yes")
    line = resample(resample(np.pad(word, RATE * 2 // 5), RATE, 8000), 8000, RATE)
    noise = np.random.default_rng(seed).normal(0, np.sqrt((word.astype(float) ** 2).mean()) * 10**-1.5, len(line))
    heard = recogniser.recognise(np.clip(line + noise, -32768, 32767).astype(np.int16), "en-US", ())
    words = plain(heard.text).split()
    assert set(words) <= {"yes", "yeah"} and len(words) <= 4


def test_nobody_speaks(recogniser: WhisperRecogniser) -> None:
    noise = np.random.default_rng(2)
    tone = (5000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.int16)
    sounds = [np.zeros(2 * RATE, np.int16), tone, np.zeros(0, np.int16), np.ones(5, np.int16)]
    sounds += [(amplitude * noise.normal(0, 1, 2 * RATE)).astype(np.int16) for amplitude in (1, 20, 300)]
    for sound in sounds:
        heard = recogniser.recognise(sound, "", ())
        assert (heard.text, heard.words) == ("", ())


def test_longer_than_a_window(recogniser: WhisperRecogniser, voice: HibariVoice) -> None:
    """Cut between words, so that none is lost or heard twice."""
    sentence = "The office is closed on Sundays and holidays."
    once = np.concatenate([said(voice, sentence), np.zeros(RATE // 4, np.int16)])
    times = WINDOW // len(once) + 3
    heard = recogniser.recognise(np.tile(once, times), "en-US", ())
    assert plain(heard.text) == " ".join([plain(sentence)] * times)
    starts = [word.start_ms for word in heard.words]
    assert starts == sorted(starts) and starts[-1] > 30_000


def test_windows_hold_every_sample() -> None:
    sound = np.random.default_rng(3).integers(-3000, 3000, 3 * WINDOW + 12345).astype(np.int16)
    sound[WINDOW - 40_000 : WINDOW - 36_000] = 0
    pieces = list(windows(sound))
    assert np.array_equal(np.concatenate([piece for _, piece in pieces]), sound)
    assert all(len(piece) <= WINDOW for _, piece in pieces)
    assert WINDOW - 40_000 <= len(pieces[0][1]) <= WINDOW - 36_000, "where it is quiet"
    assert [start for start, _ in pieces] == [0, *np.cumsum([len(piece) for _, piece in pieces])[:-1]]


def test_the_spectrogram_shows_a_tone_in_its_band() -> None:
    """1 kHz is 15 mel of the 45.2 up to 8 kHz: band 26 of 80."""
    mel = log_mel((8000 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.int16))
    assert mel.shape == (80, 3000) and mel.dtype == np.float32
    assert int(mel[:, 50].argmax()) in (25, 26)
    assert np.all(mel[:, 150:] == mel.min()) and mel.max() - mel.min() == pytest.approx(2)


def test_another_language_is_refused_by_name(recogniser: WhisperRecogniser) -> None:
    with pytest.raises(SpeechError) as caught:
        recogniser.recognise(np.zeros(RATE, np.int16), "pt-BR", ())
    assert caught.value.outcome == "speech_language" and "pt-BR" in caught.value.detail


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(SpeechError) as caught:
        whisper.WhisperRecogniser()
    assert caught.value.outcome == "speech_not_set_up" and "offhook[speech]" in caught.value.detail
