"""`offhook config` and `offhook serve` as a person runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_check_tells_programs_too(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[node]\nprot = 1\n[resource]\n")
    told = run("config", "check", "bad.toml", "--json", cwd=tmp_path)
    assert told.returncode == 2
    assert json.loads(told.stdout)["where"] == "[node]"


def test_serve_refuses_a_file_that_is_wrong(tmp_path: Path) -> None:
    told = run("serve", "--config", "nix.toml", cwd=tmp_path)
    assert told.returncode == 2 and "config init" in told.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_serve_announces_itself_and_ends_on_sigterm(tmp_path: Path) -> None:
    run("config", "init", cwd=tmp_path)
    path = tmp_path / "offhook.toml"
    text = path.read_text().replace("port = 8443", "port = 0").replace('"0.0.0.0"', '"127.0.0.1"', 1)
    path.write_text(text + '\n[sip]\nhost = "127.0.0.1"\nport = 0\n')
    command = [*OFFHOOK, "serve", "--config", "offhook.toml", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["sip"]["udp"] and first["endpoint"].startswith("https://localhost:")
        assert first["accessKey"] in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
