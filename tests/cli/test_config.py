"""`offhook config` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

OFFHOOK = [sys.executable, "-m", "offhook.cli"]


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*OFFHOOK, *words], cwd=cwd, capture_output=True, text=True, timeout=60)


def test_init_check_and_keys(tmp_path: Path) -> None:
    made = run("config", "init", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    path = tmp_path / "offhook.toml"
    assert path.stat().st_mode & 0o077 == 0, "it holds keys"
    checked = run("config", "check", cwd=tmp_path)
    assert checked.returncode == 0 and "good" in checked.stdout
    again = run("config", "init", cwd=tmp_path)
    assert again.returncode == 2 and "--force" in again.stderr
    keys = {run("config", "key", cwd=tmp_path).stdout for _ in range(2)}
    assert len(keys) == 2
    tokens = {run("config", "token", cwd=tmp_path).stdout.strip() for _ in range(2)}
    assert len(tokens) == 2 and all(len(token) == 32 for token in tokens)
    assert "@" not in path.read_text(), "every secret of the example is made"


def test_check_tells_programs_too(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[node]\nprot = 1\n[resource]\n")
    told = run("config", "check", "bad.toml", "--json", cwd=tmp_path)
    assert told.returncode == 2
    assert json.loads(told.stdout)["where"] == "[node]"


def test_a_new_file_is_for_its_owner_alone_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "offhook.toml"
    path.write_text("old")
    path.chmod(0o644)
    made = run("config", "init", "--force", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert path.stat().st_mode & 0o777 == 0o600 and "key1" in path.read_text()
    assert os.listdir(tmp_path) == ["offhook.toml"], "no draft is left"


def test_a_hint_is_told_and_no_mistake(tmp_path: Path) -> None:
    run("config", "init", cwd=tmp_path)
    path = tmp_path / "offhook.toml"
    path.write_text(path.read_text() + '\n[[webhook]]\nurl = "http://127.0.0.1:8000/"\n')
    told = run("config", "check", cwd=tmp_path)
    assert told.returncode == 0 and "hint: [[webhook]] 1 url" in told.stdout and "good" in told.stdout
    rows = [json.loads(line) for line in run("config", "check", "--json", cwd=tmp_path).stdout.splitlines()]
    assert rows[0]["fatal"] is False and rows[1]["ok"]
