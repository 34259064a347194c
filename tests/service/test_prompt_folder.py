"""Sound files of the node: what may be named, and that nothing else can be."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from offhook.errors import PromptError
from offhook.service.prompt_folder import PromptFolder, is_local

MOST = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "prompts"
    (inside / "de").mkdir(parents=True)
    (inside / "a.wav").write_bytes(b"a")
    (inside / "de/hallo du.wav").write_bytes(b"b")
    (inside / "..wav").write_bytes(b"c")
    (inside / "long.wav").write_bytes(bytes(MOST + 1))
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (inside / "link.wav").symlink_to(tmp_path / "secret.wav")
    (inside / "out").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe.wav")
    return inside


@pytest.mark.parametrize(
    ("uri", "data"),
    [
        ("file:///a.wav", b"a"),
        ("FILE:///a.wav", b"a"),
        ("a.wav", b"a"),
        ("file:///de/hallo%20du.wav", b"b"),
        ("de/hallo du.wav", b"b"),
        ("..wav", b"c"),
    ],
)
def test_files_of_the_folder(folder: Path, uri: str, data: bytes) -> None:
    assert is_local(uri)
    assert PromptFolder(folder, MOST).read(uri) == data


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("../secret.wav", "leads out"),
        ("de/../../secret.wav", "leads out"),
        ("file:///../secret.wav", "leads out"),
        ("file:///%2e%2e/secret.wav", "leads out"),
        ("file:///%2Fetc/passwd", "leads out"),
        ("/etc/passwd", "leads out"),
        ("..\\secret.wav", "leads out"),
        ("a.wav\0", "leads out"),
        ("./a.wav", "leads out"),
        ("", "names no file"),
        ("file:///", "names no file"),
        ("file:///de/", "names no file"),
        ("file://host/a.wav", "neither"),
        ("ftp:a.wav", "neither"),
        ("link.wav", "links are not followed"),
        ("out/secret.wav", "links are not followed"),
        ("none.wav", "No such file"),
        ("a.wav/b.wav", "Not a directory"),
        ("\udcff.wav", "cannot be read|No such file"),
        ("x" * 300, "File name too long"),
        ("de", "Is a directory|is no file"),
        ("pipe.wav", "is no file"),
        ("long.wav", "more than 0 MiB"),
    ],
)
def test_nothing_else(folder: Path, uri: str, why: str) -> None:
    with pytest.raises(PromptError, match=why) as refused:
        PromptFolder(folder, MOST).read(uri)
    assert refused.value.outcome == "play_not_downloaded"


@pytest.mark.parametrize("uri", ["de", "a.wav", "pipe.wav", "none.wav", "de/none.wav"])
def test_nothing_stays_open(folder: Path, uri: str) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with contextlib.suppress(PromptError):
            PromptFolder(folder, MOST).read(uri)
    assert os.listdir("/proc/self/fd") == before


def test_without_a_folder_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"folder in \[prompts\].*--prompts"):
        PromptFolder(None, MOST).read("a.wav")
    with pytest.raises(PromptError, match="No such file"):
        PromptFolder(tmp_path / "gone", MOST).read("a.wav")


@pytest.mark.parametrize("uri", ["http://x/a.wav", "HTTPS://x/a.wav"])
def test_urls_are_none_of_it(uri: str) -> None:
    assert not is_local(uri)
