"""Figures of calls whose truth is known, to a frame; null where nothing was heard or measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offhook.audio.pcm import Frame
from offhook.audio.wav import write_wav
from offhook.service.call_figures import figures_of
from offhook.service.call_sound import CallSound, PeakIndex, Segment

BEGIN = 13.0
"""Milliseconds from the answer to the first tick."""
Spans = list[tuple[float, float]]


def voice(seconds: float, spans: Spans, rate: int, noise_dbfs: float = -120, seed: int = 3) -> Frame:
    """Loud where it speaks, noise elsewhere."""
    rng, wave = np.random.default_rng(seed), np.zeros(round(seconds * rate))
    if noise_dbfs > -120:
        wave += rng.normal(0, 32768 * 10 ** (noise_dbfs / 20), len(wave))
    for begin, end in spans:
        at = slice(round(begin * rate), round(end * rate))
        wave[at] += rng.choice([-1, 1], len(wave[at])) * rng.uniform(1500, 5000, len(wave[at]))
    return np.clip(wave, -32768, 32767).astype(np.int16)


class Stage:
    """A call of one or more legs, in a folder."""

    def __init__(self, folder: Path, rate: int = 16000) -> None:
        self.folder, self.rate = folder, rate
        self.segments: list[Segment] = []
        self.page: dict[str, Any] = {
            "callId": "c", "rate": rate, "answeredAt": "2026-01-01T00:00:01.000Z", "legs": [],
            "events": [{"seq": 1, "atMs": -1234.5, "kind": "leg", "name": "placed", "leg": "one", "detail": {}}],
        }  # fmt: skip

    def leg(self, said: Frame, heard: Frame, leg_id: str = "one", begin: float = BEGIN) -> None:
        number = len(self.page["legs"]) + 1
        self.page["legs"].append({"legId": leg_id, "number": number, "rawId": f"4:+1555{number}"})
        for side, wave in (("said", said), ("heard", heard)):
            path = self.folder / f"{number:02d}-{side}.wav"
            path.write_bytes(write_wav(wave, self.rate))
            self.segments.append(Segment(leg_id, number, 1, side, begin, self.rate, len(wave), path))  # type: ignore[arg-type]

    def event(self, at_ms: float, kind: str, name: str, leg: str | None = None, **detail: Any) -> None:
        self.page["events"].append({"seq": 9, "atMs": at_ms, "kind": kind, "name": name, "leg": leg, "detail": detail})

    def figures(self, **rtp: dict[str, object]) -> dict[str, Any]:
        return figures_of(self.page, CallSound(self.segments, None, rtp=rtp, index=PeakIndex()))


def values(found: dict[str, Any]) -> dict[str, Any]:
    for figure in found["figures"]:
        assert set(figure) == {"name", "label", "value", "unit", "how", "inputs"}
        assert figure["how"].endswith(".")
    return {figure["name"]: figure["value"] for figure in found["figures"]}


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
@pytest.mark.parametrize("noise", [-120, -55])
def test_a_conversation_of_known_timing(tmp_path: Path, rate: int, noise: float) -> None:
    """Greeting at 0.4 s; the caller speaks 2 to 3 and 6 to 7 s; answers come 0.62 and 1.3 s later."""
    stage = Stage(tmp_path, rate)
    said = voice(10, [(2, 3), (6, 7)], rate, noise)
    stage.leg(said, voice(10, [(0.4, 1.5), (3.62, 5), (8.3, 9)], rate))
    found = stage.figures()
    assert [row["latencyMs"] for row in found["turns"]] == [pytest.approx(620, abs=20), pytest.approx(1300, abs=20)]
    assert found["turns"][0]["speechEndedMs"] == pytest.approx(3000 + BEGIN, abs=20)
    assert found["turns"][1]["heardMs"] == pytest.approx(8300 + BEGIN, abs=20)
    figures = values(found)
    assert figures["answerTime"] == 1234.5
    assert figures["greetingLatency"] == pytest.approx(400 + BEGIN, abs=20)
    assert figures["turnLatency"] == pytest.approx(960, abs=20)
    assert figures["turnLatency95"] == figures["turnLatencyWorst"] == pytest.approx(1300, abs=20)
    assert figures["bargeInToSilence"] is figures["stopAudioToSilence"] is None
    assert found["bargeIns"] == []


def test_silence_has_no_figures(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.leg(voice(5, [], 16000), voice(5, [], 16000))
    found = stage.figures()
    assert found["turns"] == found["bargeIns"] == []
    figures = values(found)
    del figures["answerTime"]
    assert set(figures.values()) == {None}


def test_noise_alone_has_none_either(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.leg(voice(5, [], 16000, -48), voice(5, [], 16000, -60, seed=4))
    found = stage.figures()
    assert found["turns"] == []
    assert values(found)["greetingLatency"] is None


def test_one_side_only(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.leg(voice(5, [(1, 2)], 16000), voice(5, [], 16000))
    found = stage.figures()
    assert found["turns"] == [{"leg": "one", "speechEndedMs": 2000 + BEGIN, "heardMs": None, "latencyMs": None}]
    assert values(found)["turnLatency"] is values(found)["greetingLatency"] is None
    other = Stage(tmp_path)
    other.leg(voice(5, [], 16000), voice(5, [(1, 2)], 16000))
    assert other.figures()["turns"] == []


def test_double_talk_is_no_turn_and_no_barge_in_while_the_app_goes_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.leg(voice(8, [(2, 3)], 16000), voice(8, [(1, 6)], 16000))
    found = stage.figures()
    assert found["turns"] == found["bargeIns"] == []


def test_a_barge_in_with_stop_audio(tmp_path: Path) -> None:
    """The caller speaks at 2 s over a prompt; StopAudio is read at 2.51 s and the last sample is at 2.525 s."""
    stage, rate = Stage(tmp_path), 16000
    stage.leg(voice(6, [(2, 4)], rate), voice(6, [(0.5, 2.525)], rate))
    at = round(2.525 * rate)
    stage.event(2510 + BEGIN, "stopAudio", "StopAudio", "one", atSample=at, readAtSample=at - 240,
                playedMs=2025, cutMs=7975)  # fmt: skip
    found = stage.figures()
    assert found["bargeIns"] == [
        {
            "leg": "one", "speechBeganMs": 2000 + BEGIN, "stopAudioMs": 2510 + BEGIN, "silentMs": 2525 + BEGIN,
            "atSample": at, "toSilenceMs": 525.0, "cutMs": 7975, "playedMs": 2025,
        }
    ]  # fmt: skip
    assert values(found)["bargeInToSilence"] == 525.0
    assert values(found)["stopAudioToSilence"] == pytest.approx(15.0)


def test_no_figure_of_a_stop_depends_on_a_late_tick(tmp_path: Path) -> None:
    """The event is noted 60 ms late, for its tick was; samples say where it was read. It is never negative."""
    for late, silent, stopped in ((60, 2.525, 5), (0, 2.525, 5), (60, 2.5, 0)):
        stage, rate = Stage(tmp_path), 16000
        stage.leg(voice(6, [(2, 4)], rate), voice(6, [(0.5, silent)], rate))
        read = round(2.52 * rate)
        stage.event(2520 + BEGIN + late, "stopAudio", "StopAudio", "one", atSample=read + 80, readAtSample=read,
                    playedMs=2025, cutMs=7975)  # fmt: skip
        [row] = stage.figures()["bargeIns"][-1:]
        assert row["stopAudioMs"] == 2520 + BEGIN
        assert values(stage.figures())["stopAudioToSilence"] == pytest.approx(stopped, abs=0.1)


def test_a_stop_audio_that_nobody_spoke_for(tmp_path: Path) -> None:
    stage, rate = Stage(tmp_path), 16000
    stage.leg(voice(6, [(4, 5)], rate), voice(6, [(0.5, 2.525)], rate))
    stage.event(2510 + BEGIN, "stopAudio", "StopAudio", "one", atSample=round(2.525 * rate),
                readAtSample=round(2.51 * rate), playedMs=1, cutMs=1)  # fmt: skip
    stage.event(5510 + BEGIN, "stopAudio", "StopAudio", "one", atSample=round(5.525 * rate), playedMs=0, cutMs=0)
    [row] = stage.figures()["bargeIns"]
    assert row["speechBeganMs"] is None
    assert row["toSilenceMs"] == pytest.approx(15.0)
    assert values(stage.figures())["bargeInToSilence"] is None


def test_an_app_that_just_stops_sending(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.leg(voice(6, [(2, 4)], 16000), voice(6, [(0.5, 2.8)], 16000))
    [row] = stage.figures()["bargeIns"]
    assert (row["stopAudioMs"], row["atSample"], row["cutMs"]) == (None, None, None)
    assert row["toSilenceMs"] == pytest.approx(800, abs=20)


def test_the_cut_of_a_call_is_found_on_the_track_of_a_later_leg(tmp_path: Path) -> None:
    """The event counts on the line of the first leg; the other one came a second later."""
    stage, rate = Stage(tmp_path), 16000
    stage.leg(voice(6, [], rate), voice(6, [(0.5, 2.525)], rate))
    stage.leg(voice(5, [(1, 3)], rate), voice(5, [(0, 1.525)], rate), "two", BEGIN + 1000)
    stage.event(2510 + BEGIN, "stopAudio", "StopAudio", "two", atSample=round(2.525 * rate), playedMs=1, cutMs=1)
    row = next(row for row in stage.figures()["bargeIns"] if row["leg"] == "two")
    assert row["silentMs"] == 2525 + BEGIN
    assert row["speechBeganMs"] == 2000 + BEGIN


RTP = {"codec": "PCMU", "sent": 500, "received": 490, "lost": 10, "late": 1, "strange": 0, "jitterMs": 4.2,
       "delayMs": 61.0, "roundTripMs": 80.0, "lostTherePercent": 0.0}  # fmt: skip


def test_a_leg_over_rtp_is_rated_in_both_directions_with_all_inputs(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.leg(voice(1, [], 16000), voice(1, [], 16000))
    [row] = stage.figures(one=RTP)["legs"]
    assert (row["lossPercent"], row["jitterMs"], row["roundTripMs"]) == (2.0, 4.2, 80.0)
    said, heard = row["inputs"]["said"], row["inputs"]["heard"]
    assert said["oneWayDelayMs"] == 61 + 20 + 40
    assert heard["oneWayDelayMs"] == 40 + 20 + 40
    assert (said["lossPercent"], said["ie"], said["bpl"]) == (2.0, 0, 25.1)
    assert said["ieEff"] == pytest.approx(95 * 2 / (2 + 25.1), abs=0.01)
    assert row["mos"] == row["mosSaid"] < row["mosHeard"]
    figures = values(stage.figures(one=RTP))
    assert figures["mos"] == row["mos"]
    assert (figures["loss"], figures["jitter"], figures["roundTrip"]) == (2.0, 4.2, 80.0)


def test_figures_of_a_leg_that_left_are_those_that_were_noted(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.leg(voice(1, [], 16000), voice(1, [], 16000))
    stage.event(900, "leg", "figures", "one", **{**RTP, "codec": "OPUS", "lostTherePercent": None})
    [row] = stage.figures()["legs"]
    assert row["mosHeard"] is None, "the other side has not said what it lost"
    assert row["mos"] == row["mosSaid"]
    assert "assumed" in row["inputs"]["said"]["codecSource"]


@pytest.mark.parametrize("rtp", [{}, {**RTP, "received": 0}, {**RTP, "received": None}])
def test_no_rtp_is_null(tmp_path: Path, rtp: dict[str, object]) -> None:
    stage = Stage(tmp_path)
    stage.leg(voice(1, [], 16000), voice(1, [], 16000))
    [row] = stage.figures(**({"one": rtp} if rtp else {}))["legs"]
    assert {row[key] for key in ("lossPercent", "jitterMs", "roundTripMs", "mos")} == {None}


def test_without_sound_there_is_still_what_the_events_say() -> None:
    stage = Stage(Path())
    stage.page["legs"].append({"legId": "one", "number": 1, "rawId": "4:+1"})
    stage.event(900, "leg", "figures", "one", **RTP)
    found = figures_of(stage.page, None)
    figures = values(found)
    assert figures["answerTime"] == 1234.5 and figures["loss"] == 2.0
    assert figures["greetingLatency"] is figures["turnLatency"] is None


def test_a_call_that_was_never_answered(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.page["answeredAt"] = stage.page["rate"] = None
    assert values(figures_of(stage.page, None))["answerTime"] is None
