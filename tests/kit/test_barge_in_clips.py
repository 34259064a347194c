"""The labelled clips: all there, small, free to be passed on; and what becomes of them in a conversation."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.barge_in.clips import APPS, FOLDER, Label, labels, sound_of
from tests.barge_in.judgement import Judged, judge, rates, table
from tests.barge_in.lines import Outcome, outcomes
from tests.barge_in.understood import noted

from offhook.audio.wav import read_wav
from offhook.kit.turns import TurnTaking

DRAWS = (0,)


def test_every_clip_has_a_label_and_every_label_a_clip() -> None:
    rows = labels()
    assert {row.file for row in rows} | set(APPS) == {path.name for path in FOLDER.glob("*.wav")}
    assert len(rows) == len({row.file for row in rows}) >= 80
    count = Counter(row.interrupts for row in rows)
    assert count[False] >= 60
    assert count[True] >= 40


def test_labels_fit_the_sounds() -> None:
    for row in labels():
        length_ms = len(sound_of(row.file, row.rate)) * 1000 / row.rate
        assert 0 <= row.onset_ms < row.end_ms <= length_ms + 1, row.file
        assert not row.app or (FOLDER / row.app).exists(), row.file
        assert bool(row.app) == bool(row.echo), row.file


def test_the_folder_is_small_and_its_licences_allow_it() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2 << 20
    assert not [row.file for row in labels() if "GPL" in row.licence or not row.licence]


def judged(rows: list[Label], **settings: Any) -> list[Judged]:
    """The clips, their frames cut anywhere, in a conversation with such settings."""
    found = []
    for index, label in enumerate(rows):
        pcm = read_wav((FOLDER / label.file).read_bytes()).samples
        own = {key: value(label.file) if callable(value) else value for key, value in settings.items()}
        found.append(judge(label, pcm, TurnTaking(**own), phase=index * 37 % 320))
    return found


def held_after(found: list[Judged]) -> list[float]:
    """ms from the onset of each interruption to when the app was held."""
    return sorted(one.held_after_ms for one in found if one.label.interrupts and one.held_after_ms is not None)


def test_false_interruptions_go_on_and_true_ones_stop() -> None:
    found = judged(labels())
    went_on, missed = rates(found)
    late = held_after(found)
    print(table(found), f"went on {went_on:.3f}, missed {missed:.3f}", sep="\n")
    print(
        f"held after {late[len(late) // 2]:.0f} ms at the median, {late[len(late) * 95 // 100]:.0f} ms at 95 %"
    )
    assert went_on >= 0.9, table(found)
    assert missed <= 0.05, table(found)
    assert late[len(late) // 2] <= 110
    assert late[len(late) * 95 // 100] <= 190


def test_the_same_after_one_another_on_one_line_at_either_rate() -> None:
    """Echoes left out, of which all are told: they are said over a sound of their own."""
    found: list[Outcome] = [one for draw in DRAWS for rate in (16000, 24000) for one in outcomes(rate, draw)]
    wrong = Counter(one.clip.name for one in found if not one.right)
    false = [one.right for one in found if not one.clip.interrupts]
    true = [one for one in found if one.clip.interrupts]
    late = sorted(one.held_after_ms for one in true if one.right and one.held_after_ms is not None)
    middle, most = late[len(late) // 2], late[len(late) * 95 // 100]
    went_on, missed = sum(false) / len(false), sum(not one.right for one in true) / len(true)
    print(f"went on {went_on:.3f}, missed {missed:.3f}; held after {middle:.0f} and {most:.0f} ms; wrong: {wrong}")
    assert went_on >= 0.9, wrong
    assert missed <= 0.05, wrong
    assert middle <= 110 and most <= 200


def test_words_decide_better_than_sound() -> None:
    found = judged([row for row in labels() if row.kind in ("word", "okay", "right", "yeah")], understand=noted)
    assert rates(found)[0] >= 0.9 and rates(found)[1] == 0, table(found)
