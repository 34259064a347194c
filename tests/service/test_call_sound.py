"""CallSound: waves, stretches and tracks of live and kept calls; anybody's folder does no harm."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.pcm import Frame
from offhook.audio.wav import write_wav
from offhook.service.call_sound import MOST_BINS, CallSound, PeakIndex, Segment, part_name, read_folder

RATE = 16000


def segment(
    path: Path, wave: Frame, *, leg: str = "leg", side: Any = "heard", begin: float = 0.0, **more: Any
) -> Segment:
    """A stretch whose file holds all of a wave."""
    rate = more.pop("rate", RATE)
    path.write_bytes(write_wav(wave, rate))
    fields = {"number": 1, "part": 1, **more}
    return Segment(leg, side=side, begin_ms=begin, rate=rate, samples=len(wave), path=path, **fields)


def sound_of(*segments: Segment) -> CallSound:
    return CallSound(segments, None, index=PeakIndex())


def ramp(seconds: float) -> Frame:
    return (np.arange(round(seconds * RATE)) % 20000 - 10000).astype(np.int16)


def drawn(wave: Frame, begin: float, from_ms: float, to_ms: float, bins: int, unit: int) -> list[int]:
    """Peaks by the book: for each bin every unit of samples that it touches first."""
    found = []
    step = (to_ms - from_ms) / bins
    for index in range(bins):
        low = (from_ms + index * step - begin) * RATE / 1000 / unit
        high = (from_ms + (index + 1) * step - begin) * RATE / 1000 / unit
        count = len(wave) // unit
        if high <= 0 or low >= count:
            found += [0, 0]
            continue
        first = min(max(int(np.floor(low)), 0), count - 1)
        after = (from_ms + (index + 1) * step - begin) * RATE / 1000 / unit
        last = int(np.floor(after)) if after < count and index + 1 < bins else min(int(np.ceil(after)), count)
        piece = wave[first * unit : max(last, first + 1) * unit].astype(int)
        found += [min(int(piece.min()), 0) * 127 // 32768, -(-max(int(piece.max()), 0) * 127 // 32768)]
    return found


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "bins"),
    [
        (0, 1000, 10),
        (0, 1000, 50),
        (-500, 1500, 20),
        (100, 110, 160),
        (0, 1000, 1000),
        (990, 1400, 5),
        (300, 300.5, 40),
    ],
)
def test_peaks_are_those_of_the_samples(tmp_path: Path, from_ms: float, to_ms: float, bins: int) -> None:
    wave, begin = ramp(1.0), 13.0
    sound = sound_of(segment(tmp_path / "x.wav", wave, begin=begin))
    page = sound.peaks("leg", "heard", from_ms, to_ms, bins)
    assert page is not None
    assert page["binMs"] == pytest.approx((to_ms - from_ms) / bins)
    unit = 320 if page["binMs"] >= 40 else 1
    assert page["peaks"] == drawn(wave, begin, from_ms, to_ms, bins, unit)


@given(st.floats(-2000, 3000), st.floats(0.5, 4000), st.integers(1, 300), st.floats(-100, 500), st.integers(1, 40000))
def test_no_loud_sample_is_left_out_of_the_wave_and_none_is_made_up(
    tmp_path_factory: pytest.TempPathFactory, from_ms: float, length: float, bins: int, begin: float, at: int
) -> None:
    """One loud sample in silence: it is drawn once or nowhere, within a frame of its place, and `from`, `to` hold."""
    wave = np.zeros(40000, np.int16)
    wave[at - 1] = 32767
    path = tmp_path_factory.mktemp("w") / "x.wav"
    sound = sound_of(segment(path, wave, begin=begin))
    page = sound.peaks("leg", "heard", from_ms, from_ms + length, bins)
    assert page is not None
    place = (begin + (at - 1) * 1000 / RATE - from_ms) / page["binMs"]
    slack = 20 / page["binMs"] + 1
    loud = [index // 2 for index, value in enumerate(page["peaks"]) if value]
    assert all(abs(index - place) <= slack for index in loud)
    if slack <= place < bins - slack and page["binMs"] * RATE / 1000 >= 1:
        assert loud
    assert 0 <= page["from"] <= page["to"] <= bins
    assert all(page["from"] <= index < page["to"] for index in loud)


def test_the_wave_of_a_leg_that_came_back_has_both_stretches(tmp_path: Path) -> None:
    loud = np.full(RATE, 10000, np.int16)
    sound = sound_of(
        segment(tmp_path / "01-heard.wav", loud, begin=0),
        segment(tmp_path / "01b-heard.wav", loud, begin=3000, part=2),
        segment(tmp_path / "02-heard.wav", loud, begin=1000, leg="other", number=2),
    )
    page = sound.peaks("leg", "heard", 0, 5000, 5)
    assert page is not None
    assert [value > 0 for value in page["peaks"][1::2]] == [True, False, False, True, False]
    assert (page["from"], page["to"]) == (0, 4)
    rate, pcm = sound.pcm("1", "heard", 500, 3500) or (0, b"")
    wave = np.frombuffer(pcm, np.int16)
    assert rate == RATE and len(wave) == 3 * RATE
    assert wave[: RATE // 2].all() and not wave[RATE // 2 : 5 * RATE // 2].any() and wave[5 * RATE // 2 :].all()


def test_a_stretch_of_another_rate_is_heard_too(tmp_path: Path) -> None:
    """The leg was in the call at two rates: the stretch is at the first one's, and nothing of it is missing."""

    def tone(rate: int) -> Frame:
        return (8000 * np.sin(np.arange(rate) * 2 * np.pi * 440 / rate)).astype(np.int16)

    sound = sound_of(
        segment(tmp_path / "01-heard.wav", tone(16000), begin=0),
        segment(tmp_path / "01b-heard.wav", tone(8000), begin=2000, part=2, rate=8000),
    )
    rate, pcm = sound.pcm("leg", "heard", 500, 3000) or (0, b"")
    wave = np.frombuffer(pcm, np.int16).astype(int)
    assert (rate, len(wave)) == (16000, 40000)
    assert not wave[8000:24000].any()
    again = tone(16000).astype(int)
    assert np.abs(wave[24100:39900] - again[100:15900]).max() < 80


def test_a_stretch_is_exact_and_ends_with_the_call(tmp_path: Path) -> None:
    wave = ramp(2.0)
    said = segment(tmp_path / "s.wav", wave, side="said", begin=-5.0)
    heard = segment(tmp_path / "h.wav", -wave, begin=-5.0)
    sound = sound_of(said, heard)
    first = sound.pcm("leg", "heard", 100, 350)
    assert first is not None
    assert np.array_equal(np.frombuffer(first[1], np.int16), -wave[1680 : 1680 + 4000])
    last = sound.pcm("leg", "heard", 1900, 99_000)
    assert last is not None and len(last[1]) == 2 * 95 * RATE // 1000
    both = sound.pcm("leg", "both", 100, 350)
    assert both is not None
    pair = np.frombuffer(both[1], np.int16).reshape(-1, 2)
    assert np.array_equal(pair[:, 0], wave[1680:5680]) and np.array_equal(pair[:, 1], -wave[1680:5680])


def test_what_is_asked_wrongly_is_named(tmp_path: Path) -> None:
    sound = sound_of(segment(tmp_path / "x.wav", ramp(1)))
    assert sound.peaks("nobody", "heard", 0, 1, 1) is None
    assert sound.pcm("nobody", "heard", 0, 1) is None
    for bins in (0, MOST_BINS + 1):
        with pytest.raises(ValueError, match="bins"):
            sound.peaks("leg", "heard", 0, 1, bins)
    for first, last in ((1, 1), (2, 1), (0, float("nan")), (float("-inf"), 0), (0, 1e300)):
        with pytest.raises(ValueError, match="must be greater"):
            sound.peaks("leg", "heard", first, last, 1)
    with pytest.raises(ValueError, match="said or heard"):
        sound.peaks("leg", "both", 0, 1, 1)
    with pytest.raises(ValueError, match="at most"):
        sound_of(segment(tmp_path / "l.wav", np.zeros(8000 * 700, np.int16), rate=8000)).pcm("leg", "heard", 0, 650_000)


def test_what_still_waits_is_seen_over_what_is_in_the_file(tmp_path: Path) -> None:
    wave = ramp(1.0)
    whole = segment(tmp_path / "x.wav", wave[:8000])
    waiting = ((2 * 8000, wave[8000:12000].tobytes()), (2 * 12000, wave[12000:15000].tobytes()))
    live = Segment("leg", 1, 1, "heard", 0.0, RATE, 16000, whole.path, waiting)
    assert np.array_equal(live.read(0, 20000), np.concatenate([wave[:15000], np.zeros(1000, np.int16)]))
    assert np.array_equal(live.read(7000, 13000), wave[7000:13000])
    index = PeakIndex()
    early = Segment("leg", 1, 1, "heard", 0.0, RATE, 8000, whole.path)
    assert len(index.of(early).low) == 25
    peaks = index.of(live)
    low, high = peaks.low, peaks.high
    assert len(low) == 50 and high[30] == wave[9600:9920].max()


def test_an_hour_is_drawn_in_no_time(tmp_path: Path) -> None:
    """Issue 5 gives no figure; what the page needs is a wave while the pointer moves: 100 ms once it is known."""
    wave = np.random.default_rng(1).integers(-9000, 9000, 8000 * 3600).astype(np.int16)
    sound = sound_of(segment(tmp_path / "x.wav", wave, rate=8000))
    sound.peaks("leg", "heard", 0, 3_600_000, 4000)
    began = time.perf_counter()
    page = sound.peaks("leg", "heard", 0, 3_600_000, 4000)
    assert page is not None and len(page["peaks"]) == 8000
    assert time.perf_counter() - began < 0.1


def test_the_index_forgets_the_longest_unused(tmp_path: Path) -> None:
    index = PeakIndex(most_bytes=8 * 60)
    parts = [segment(tmp_path / f"{number}.wav", ramp(0.5)) for number in range(4)]
    for part in parts:
        index.of(part)
    assert index._size <= 8 * 60
    assert len(index._known) == 2


# folders ------------------------------------------------------------------------------------------------------------


def row(**more: Any) -> dict[str, Any]:
    return {"legId": "leg", "number": 1, "part": 1, "beginMs": 12.5, "rate": RATE, "samples": 16000, **more}


def folder(tmp_path: Path, rows: Any, series: Any = None) -> Path:
    (tmp_path / "tracks.json").write_text(json.dumps({"tracks": rows}))
    if series is not None:
        (tmp_path / "series.json").write_text(json.dumps(series))
    for side in ("said", "heard"):
        (tmp_path / f"01-{side}.wav").write_bytes(write_wav(ramp(1.0), RATE))
    return tmp_path


def test_a_kept_call_is_read_from_its_folder(tmp_path: Path) -> None:
    series = {"stepMs": 100, "startMs": 3.5, "legs": {"leg": {"jitterMs": [40, None], "lost": [0, 1], "late": [0, 0]}},
              "streams": {"c": {"queuedMs": [1, 2]}}, "clock": {"lateMs": [0, 3]}}  # fmt: skip
    sound = read_folder(folder(tmp_path, [row()], series))
    assert sound is not None
    assert sound.series() == series
    assert sound.tracks()[1] == {
        "legId": "leg", "number": 1, "part": 1, "side": "heard", "beginMs": 12.5, "rate": RATE, "samples": 16000,
        "file": "01-heard.wav",
    }  # fmt: skip
    assert sound.audio() == {
        "leg": [{"side": side, "beginMs": 12.5, "rate": RATE, "samples": 16000} for side in ("said", "heard")]
    }
    assert sound.pcm("leg", "said", 12.5, 1012.5) == (RATE, ramp(1.0).tobytes())


def test_a_call_whose_node_was_killed_is_as_long_as_its_files(tmp_path: Path) -> None:
    sound = read_folder(folder(tmp_path, [row(samples=None)]))
    assert sound is not None and sound.segments[0].samples == 16000


def test_a_folder_without_sound_is_none(tmp_path: Path) -> None:
    assert read_folder(tmp_path) is None
    assert read_folder(tmp_path / "missing") is None


@pytest.mark.parametrize(
    "bad",
    [
        3, None, "x", [], row(legId=3), row(legId="x" * 300), row(number="../../etc/passwd"), row(number=0),
        row(number=True), row(number=1.0), row(part=10**6), row(beginMs="0"), row(beginMs=1e300), row(beginMs=None),
        row(rate=44100), row(rate=None), row(rate=[16000]), row(legId="whose file is another's"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_left_out(tmp_path: Path, bad: Any) -> None:
    sound = read_folder(folder(tmp_path, [row(), bad]))
    assert sound is not None and len(sound.segments) == 2


@pytest.mark.parametrize("samples", [-1, 10**12, 1.5, "many", True])
def test_a_length_that_is_not_there_is_that_of_the_file(tmp_path: Path, samples: Any) -> None:
    sound = read_folder(folder(tmp_path, [row(samples=samples)]))
    assert sound is not None and sound.segments[0].samples == 16000


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"tracks": 7}', b"[" * 99_999, b'{"a":' * 50_000])
def test_a_list_that_is_none_is_no_sound(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tracks.json").write_bytes(content)
    (tmp_path / "series.json").write_bytes(content)
    assert read_folder(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"RIFF", write_wav(ramp(1.0), 8000), b"\0" * 90_000, os.urandom(5000)])
def test_a_file_that_is_none_of_ours_is_silence(tmp_path: Path, content: bytes) -> None:
    folder(tmp_path, [row()])
    (tmp_path / "01-heard.wav").write_bytes(content)
    sound = read_folder(tmp_path)
    assert sound is not None
    rate, pcm = sound.pcm("leg", "heard", 12.5, 1012.5) or (0, b"x")
    assert rate == RATE and not any(pcm)


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(write_wav(np.full(RATE, 77, np.int16), RATE))
    folder(tmp_path, [row(), row(number=2)])
    for side in ("said", "heard"):
        (tmp_path / f"01-{side}.wav").unlink()
        (tmp_path / f"01-{side}.wav").symlink_to(secret)
        os.mkfifo(tmp_path / f"02-{side}.wav")
    sound = read_folder(tmp_path)
    assert sound is not None
    for one in sound.segments:
        assert one.samples == 0
        assert len(one.read(0, 100)) == 0
    (tmp_path / "tracks.json").unlink()
    (tmp_path / "tracks.json").symlink_to(secret)
    assert read_folder(tmp_path) is None


def test_a_series_that_does_not_fit_is_cut_to_what_does(tmp_path: Path) -> None:
    series = {"stepMs": 100, "startMs": 0, "legs": {"x": {"jitterMs": ["<b>", 1.5, -1, 4], "evil": [1]}, "y": 3},
              "streams": [], "clock": {"lateMs": list(range(9000))}, "more": 1}  # fmt: skip
    sound = read_folder(folder(tmp_path, [], series))
    assert sound is not None
    page = sound.series()
    assert page is not None
    assert page["legs"] == {"x": {"jitterMs": [None, None, None, 4], "lost": [], "late": []}, "y": {}}
    assert page["streams"] == {} and len(page["clock"]["lateMs"]) == 4000 and "more" not in page


def test_names_of_stretches() -> None:
    assert [part_name(1, part) for part in (1, 2, 26, 27)] == ["01", "01b", "01z", "01-27"]
    assert part_name(112, 3) == "112c"


def test_a_leg_that_was_there_for_no_frame_has_no_wave(tmp_path: Path) -> None:
    sound = CallSound([segment(tmp_path / "01-heard.wav", np.zeros(0, np.int16), begin=500.0)], None)
    found = sound.peaks("leg", "heard", 0.0, 60_000.0, 100)
    assert found is not None and not any(found["peaks"]) and found["from"] == found["to"]
