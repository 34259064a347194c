"""Barge-in by other voices, words, levels and delays than the committed ones.

Seeds 1 and 2 were looked at where a threshold or a network was chosen; seed 3 was looked at by nothing.
"""

from __future__ import annotations

import shutil

import pytest
from tests.barge_in.clips import PEOPLE, numbered, unseen
from tests.barge_in.judgement import judge, rates, table

from offhook.kit.turns import TurnTaking

pytestmark = pytest.mark.soak

THERE = all(map(shutil.which, ("flite", "espeak-ng"))) and PEOPLE.exists()


@pytest.mark.skipif(not THERE, reason="flite, espeak-ng or pocketsphinx-testdata is not installed")
def test_other_voices_and_sounds() -> None:
    found = [
        judge(label, pcm, TurnTaking(), phase=index * 37 % 320)
        for seed in (1, 2, 3)
        for index, (label, pcm) in enumerate(numbered(unseen(seed)))
    ]
    went_on, missed = rates(found)
    late = sorted(one.held_after_ms for one in found if one.label.interrupts and one.held_after_ms is not None)
    print(table(found), f"went on {went_on:.3f}, missed {missed:.3f} of {len(found)} clips", sep="\n")
    print(f"held after {late[len(late) // 2]:.0f} ms at the median, {late[len(late) * 95 // 100]:.0f} ms at 95 %")
    assert went_on >= 0.85, table(found)
    assert missed <= 0.1, table(found)
