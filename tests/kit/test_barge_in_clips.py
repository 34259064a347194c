"""The labelled clips: all there, all labelled, small, and free to be passed on."""

from __future__ import annotations

from collections import Counter

from tests.barge_in.clips import APPS, FOLDER, labels, sound_of


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
