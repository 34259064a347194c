"""A second real phone, of another make: linphone, in a network namespace that lasts as long as the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
# An address beside 127.0.0.1 that is none of the world's: with loopback alone linphone finds no way to anybody.
NETWORK = """
ip link set lo up && ip link add v0 type veth peer name v1 && ip addr add 127.0.0.2/32 dev v0 &&
ip link set v0 up && ip link set v1 up && exec "$@"
"""


def alone() -> list[str]:
    """The words that run a program in a network of its own."""
    rootless = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *rootless, "--net", "sh", "-c", NETWORK, "alone"]


def test_linphone_calls_is_called_holds_and_presses_keys(tmp_path: Path) -> None:
    if shutil.which("linphonec") is None:
        pytest.skip("linphonec is not installed (Debian package linphone-cli); `make test` installs it where it can")
    tried = subprocess.run([*alone(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()}")
    story = ROOT / "tests/interop/alone_linphone.py"
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'in'}"]
    command = [*alone(), sys.executable, "-m", "pytest", *options, str(story)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=220)
    assert done.returncode == 0, done.stdout[-6000:]
