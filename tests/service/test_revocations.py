"""Void tokens: what is remembered, for how long, over restarts, and what happens at the bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from offhook.errors import ConfigError
from offhook.service.revocations import Revocations

NOW = 1_800_000_000.0
DAY = 86_400


def test_nothing_is_void_at_first(tmp_path: Path) -> None:
    void = Revocations(tmp_path / "void", NOW)
    assert void.until("8:acs:r_a") == 0 and not void.deleted("8:acs:r_a")
    assert not (tmp_path / "void").exists()


def test_a_restart_forgets_nothing_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "void"
    void = Revocations(path, NOW)
    void.revoke("8:acs:r_a", NOW)
    void.delete("8:acs:r_b", NOW)
    void.revoke("8:acs:r_b", NOW + 1)
    again = Revocations(path, NOW + 2)
    for known in (void, again):
        assert (known.until("8:acs:r_a"), known.until("8:acs:r_b")) == (int(NOW), int(NOW) + 1)
        assert known.deleted("8:acs:r_b") and not known.deleted("8:acs:r_a")
    later = Revocations(path, NOW + DAY + 2)
    assert later.until("8:acs:r_a") == 0, "its tokens have expired by themselves"
    assert later.deleted("8:acs:r_b")


def test_a_line_that_was_cut_off_or_is_none_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "void"
    path.write_text(f"hello\nrevoked x 8:acs:r_a\nrevoked {int(NOW)} 8:acs:r_b\n\ndeleted {int(NOW)}")
    void = Revocations(path, NOW)
    assert void.until("8:acs:r_b") == int(NOW) and void.until("8:acs:r_a") == 0
    void.delete("8:acs:r_c", NOW)
    assert Revocations(path, NOW).deleted("8:acs:r_c")


def test_at_the_bound_all_older_tokens_are_void(tmp_path: Path) -> None:
    path = tmp_path / "void"
    void = Revocations(path, NOW, most=3)
    for number in range(20):
        void.revoke(f"8:acs:r_{number}", NOW + number)
        assert len(path.read_text().splitlines()) <= 8, "the file is as bounded as the memory"
    for known in (void, Revocations(path, NOW + 20, most=3)):
        assert known.until("8:acs:r_19") == int(NOW) + 19
        assert known.until("8:acs:somebody") == int(NOW) + 16, "fails closed"


def test_a_file_that_is_no_use(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(ConfigError, match="void cannot be used"):
        Revocations(tmp_path / "void", NOW)


def test_what_cannot_be_written_holds_and_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    void = Revocations(folder / "void", NOW)
    folder.rmdir()
    with pytest.raises(OSError, match="void"):
        void.revoke("8:acs:r_a", NOW)
    assert void.until("8:acs:r_a") == int(NOW)
