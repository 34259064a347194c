"""Barge-in at the caller's ear: five interruptions in the plain run, all committed clips in `make soak`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.soak.barge_in import (
    Heard,
    Plan,
    Recording,
    all_clips,
    committed_clips,
    figures,
    measured,
    plans,
    recorded,
    table,
    world,
)
from tests.soak.barge_in_app import BURST, FILE, PACED, RUSHED, RUSHED_S, STREAMED

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 24000
FIVE = ("phrase_01", "people_01", "word_04", "question_01", "digits_01")
HEARD_WITHIN_MS = 40
HALF_WITHIN_MS, MOST_WITHIN_MS = 180, 250
FRAME_MS = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calls(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> AsyncIterator[tuple[list[Heard], Recording]]:
    """Five who interrupt at once, and one who is told 9.5 s in 0.85 s and interrupts 2 s later."""
    clips = {clip.name: clip for clip in committed_clips()}
    five = plans([clips[name] for name in FIVE], 1, (BURST, STREAMED, PACED, FILE), 5, first_ms=(700, 1700))
    rushed = Plan(RUSHED, 50, ((1840.0, clips[FIVE[0]]),))
    async with world(tmp_path_factory.mktemp("barge-in"), free_port(), RATE) as (node, app):
        rows, recording = await asyncio.gather(
            measured(node, app, five, RATE, at_once=5), recorded(node, app, rushed, RATE)
        )
        yield rows, recording


async def test_who_cuts_in_is_heard_out_at_once(calls: tuple[list[Heard], Recording]) -> None:
    rows, _ = calls
    print(table(rows))
    assert all(row.ended for row in rows)
    agrees(rows)
    latencies = sorted(row.latency_ms - row.stalled_ms for row in rows if row.latency_ms is not None)
    assert latencies[len(latencies) // 2] <= HALF_WITHIN_MS and latencies[-1] <= MOST_WITHIN_MS


async def test_heard_and_speaking_follow_the_ear_and_not_the_sending(calls: tuple[list[Heard], Recording]) -> None:
    _, recording = calls
    (row,) = recording.rows()
    (followed,) = [line for line in recording.told if line["event"] == "followed"]
    number, pcm = followed["loudest"]  # ties the app's frames to the caller's axis
    place = recording.plan.said(RATE).tobytes().index(bytes.fromhex(pcm))
    offset, frames = (recording.spoke + place // 2) * 50 // RATE - number, followed["frames"]
    run, following = recording.runs
    assert (run.name, run.start, following.name, following.start) == ("0", 0, "1", 0)
    handed_over = next(number for number, (length_ms, *_) in enumerate(frames) if length_ms == RUSHED_S * 1000)
    assert frames[handed_over][1] <= 1500, "9.5 s were handed over in a moment"
    for number, (_, heard_ms, speaking) in enumerate(frames):
        ear = (number + offset + 1) * RATE // 50  # samples that the caller has heard by the end of this frame
        if ear > following.at - RATE // 5:
            break
        truth_ms = min(max(0, ear - run.at), run.length + run.faded) * 1000 / RATE
        assert abs(heard_ms - truth_ms) <= HEARD_WITHIN_MS + recording.stalled_ms, (number, heard_ms, truth_ms)
        if abs(ear - run.at) > RATE // 10 and abs(ear - run.silent_at) > RATE // 10:
            assert speaking is (run.at < ear < run.silent_at), f"at {truth_ms:.0f} ms of the sound"
    else:
        raise AssertionError("the next sound was not heard")
    assert row.latency_ms is not None and row.heard_ms is not None
    assert abs(row.heard_ms - (row.onset_ms + row.latency_ms - run.at * 1000 / RATE)) < 1
    agrees([row])


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rate", [24000, 16000])
async def test_many_who_cut_in_and_many_who_only_cough(
    rate: int, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    rows = await all_clips(tmp_path, free_port(), rate)
    found = figures(rows)
    print("", table(rows), json.dumps(found, indent=2), sep="\n")
    assert found["interruptions"] >= 40 and found["missed"] <= 0.05 * found["interruptions"]
    assert found["cutByMistake"] <= 0.1 * found["noInterruptions"]
    assert found["speechToSilenceMs"]["p50"] <= HALF_WITHIN_MS and found["speechToSilenceMs"]["p95"] <= MOST_WITHIN_MS
    assert found["stopToLastFrameMs"]["p99"] <= FRAME_MS
    agrees(rows)


def agrees(rows: list[Heard]) -> None:
    """What the app counted, what the node traced, and what was heard are the same."""
    for row in rows:
        assert row.traced_ms == row.silent_ms, row
        assert row.heard_error_ms is None or abs(row.heard_error_ms) <= HEARD_WITHIN_MS + row.stalled_ms, row
        assert row.lost_ms == 0, row
