"""Endpoint: no frame is lost or doubled, whatever is said; and what it makes of a voice on the telephone."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spoken import spoken

from offhook.audio.endpoint import (
    GUARD,
    PRE_ROLL,
    RATE,
    TAIL,
    Endpoint,
    EnergyDetector,
    Utterance,
    voice_detector,
)
from offhook.audio.pcm import Frame

FRAME = RATE // 50
PHRASES = ("Yes.", "No.", "Two seven five.", "I would like to change my flight to Boston on Friday.")


def numbered(index: int) -> Frame:
    """A frame that tells its number."""
    return np.full(FRAME, index, np.int16)


def run(voiced: list[bool], *, end_silence: float = 0.4, longest: float = 2.0) -> tuple[list[Utterance], list[str]]:
    """What an endpoint makes of frames that are voiced or not; their samples are their numbers."""
    at = iter(voiced)
    endpoint = Endpoint(lambda frame: next(at), end_silence=end_silence, longest=longest)
    utterances, changes = [], []
    for index in range(len(voiced)):
        change = endpoint.feed(numbered(index))
        if change is not None:
            changes.append(f"{change} {index}")
        if change in ("ended", "cut"):
            utterances.append(endpoint.take())
    last = endpoint.finish()
    return ([*utterances, last] if last is not None else utterances), changes


def frames_of(utterance: Utterance) -> list[int]:
    return [int(value) for value in utterance.pcm[::FRAME]]


runs = st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=12)


@given(runs, st.floats(0.02, 1.5), st.floats(0.7, 3.0))
def test_no_frame_is_lost_or_doubled(pieces: list[tuple[bool, int]], end_silence: float, longest: float) -> None:
    voiced = [one for one, count in pieces for _ in range(count)]
    utterances, _ = run(voiced, end_silence=end_silence, longest=longest)
    taken: list[int] = []
    for utterance in utterances:
        frames = frames_of(utterance)
        assert frames == list(range(utterance.start, utterance.start + len(frames))), "whole, in order, where it says"
        assert len(utterance.pcm) == len(frames) * FRAME and len(frames) <= max(longest * 50 + 1, 31)
        taken += frames
    assert taken == sorted(set(taken))
    for at in range(len(voiced) - GUARD[1] + 1):
        if all(voiced[at : at + GUARD[1]]):
            assert set(range(at, at + GUARD[1])) <= set(taken), "what is surely speech is in an utterance"


def test_a_word_between_silences() -> None:
    (utterance,), changes = run([False] * 100 + [True] * 30 + [False] * 100)
    assert changes == [f"began {100 + GUARD[0] - 1}", "ended 149"]
    assert utterance.start == 100 + GUARD[0] - PRE_ROLL
    assert frames_of(utterance)[-1] == 129 + TAIL
    assert (utterance.start_seconds, utterance.seconds) == (1.7, (130 + TAIL - 85) / 50)


def test_clicks_and_short_noise_are_no_speech() -> None:
    voiced = [index % 10 < GUARD[0] - 1 for index in range(500)]
    assert run(voiced) == ([], [])


def test_a_pause_within_a_sentence_does_not_end_it() -> None:
    _, changes = run([True] * 20 + [False] * 19 + [True] * 20 + [False] * 40, end_silence=0.4)
    assert changes == [f"began {GUARD[0] - 1}", "ended 78"]


def test_who_never_stops_is_cut_and_goes_on() -> None:
    utterances, changes = run([True] * 250, longest=2.0)
    assert [change.split()[0] for change in changes] == ["began", "cut", "cut"]
    assert all(80 <= len(frames_of(one)) <= 100 for one in utterances[:2])
    assert sum((frames_of(one) for one in utterances), []) == list(range(250))


def test_so_far_and_the_end_of_listening() -> None:
    endpoint = Endpoint(lambda frame: bool(frame[0]), end_silence=0.4)
    assert endpoint.so_far().pcm.size == 0 and endpoint.finish() is None
    for index in range(1, 31):
        endpoint.feed(numbered(index))
    assert endpoint.speaking and frames_of(endpoint.so_far()) == list(range(1, 31))
    with pytest.raises(LookupError):
        endpoint.take()
    last = endpoint.finish()
    assert last is not None and frames_of(last) == list(range(1, 31))
    assert not endpoint.speaking and endpoint.finish() is None


@given(runs, st.floats(0.02, 1.5))
def test_so_far_is_the_beginning_of_the_whole(pieces: list[tuple[bool, int]], end_silence: float) -> None:
    """Whenever one asks: what is told of an utterance while it goes on is not longer than all of it."""
    voiced = iter([one for one, count in pieces for _ in range(count)])
    endpoint = Endpoint(lambda frame: next(voiced), end_silence=end_silence)
    asked: list[list[int]] = []
    for index in range(sum(count for _, count in pieces)):
        if endpoint.feed(numbered(index)) == "ended":
            whole = frames_of(endpoint.take())
            assert all(frames == whole[: len(frames)] for frames in asked)
            asked.clear()
        elif endpoint.speaking:
            asked.append(frames_of(endpoint.so_far()))


@pytest.mark.parametrize("noise", [0, 30, 100])
@pytest.mark.parametrize("detector", ["best", "energy"])
def test_a_voice_on_the_telephone(detector: str, noise: int) -> None:
    """Each phrase is one utterance, which holds all of its sound; between them nothing is heard."""
    rng = np.random.default_rng(noise)
    gap = np.zeros(RATE, np.int16)
    parts: list[npt.NDArray[np.int16]] = [gap]
    places = []
    for phrase in PHRASES:
        sound = spoken(phrase, 0.0)
        begin = sum(map(len, parts))
        loud = np.flatnonzero(np.abs(sound) > 500)
        places.append((begin + int(loud[0]), begin + int(loud[-1])))
        parts += [sound, gap]
    pcm = np.concatenate(parts)
    if noise:
        pcm = np.clip(pcm + rng.normal(0, noise, len(pcm)), -32768, 32767).astype(np.int16)
    endpoint = Endpoint(voice_detector() if detector == "best" else EnergyDetector(), end_silence=0.6)
    starts = range(0, len(pcm) - FRAME + 1, FRAME)
    heard = [endpoint.take() for at in starts if endpoint.feed(pcm[at : at + FRAME].copy()) == "ended"]
    assert len(heard) == len(PHRASES)
    for (first, last), utterance in zip(places, heard, strict=True):
        begin, end = utterance.start * FRAME, utterance.start * FRAME + len(utterance.pcm)
        assert np.array_equal(utterance.pcm, pcm[begin:end])
        assert begin <= first and last <= end
        assert first - begin < 0.8 * RATE and end - last < 0.8 * RATE


def test_without_webrtcvad_energy_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    assert isinstance(voice_detector(), EnergyDetector)


def test_it_is_cut_where_it_is_quietest() -> None:
    """Between two words, rather than in one."""
    endpoint = Endpoint(lambda frame: True, end_silence=0.4, longest=2.0)
    changes = [endpoint.feed(np.full(FRAME, 10 if 84 <= index < 90 else 1000, np.int16)) for index in range(100)]
    assert changes[-1] == "cut"
    cut, rest = endpoint.take(), endpoint.so_far()
    assert cut.cut and cut.start == 0 and 86 <= len(frames_of(cut)) <= 88
    assert rest.start == len(frames_of(cut)) and len(rest.pcm) // FRAME == 100 - rest.start
