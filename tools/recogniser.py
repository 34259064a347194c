"""Makes .venv-speech: the local voice and recogniser that tests of bad networks run as a program, once, stamped."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-speech"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PINS = ROOT / "requirements" / "recogniser.txt"
STAMP = VENV / ".offhook-pins"
WHY = ROOT / "build" / "recogniser.txt"
"""Why it is not there, for the test that misses it."""
TIMEOUT = 900


class NotAvailable(Exception):
    """It cannot be had on this machine; the message says why."""


def digest() -> str:
    """Fingerprint of the pins and of Python."""
    return hashlib.sha256(sys.version.encode() + PINS.read_bytes()).hexdigest()


def is_installed() -> bool:
    """Whether .venv-speech holds what the pins say now."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == digest()


def reason() -> str:
    """Why the last try failed, or nothing."""
    return WHY.read_text() if WHY.exists() else ""


def install() -> str:
    """Makes it ready; returns one line about it. Raises NotAvailable, and keeps the reason."""
    if is_installed():
        return "already installed"
    WHY.unlink(missing_ok=True)
    try:
        _make()
    except NotAvailable as error:
        WHY.parent.mkdir(parents=True, exist_ok=True)
        WHY.write_text(str(error))
        raise
    STAMP.write_text(digest())
    return "installed"


def _make() -> None:
    print("making .venv-speech with a voice and a recogniser (about 600 MB), once", flush=True)
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
         "--no-deps", "--retries", "5", "--timeout", "60", "-r", str(PINS)],
    )  # fmt: skip
    for step in steps:
        try:
            done = subprocess.run(step, check=False, timeout=TIMEOUT, capture_output=True, text=True)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotAvailable(str(error)) from None
        if done.returncode:
            raise NotAvailable(" / ".join(done.stderr.strip().splitlines()[-4:]) or "the set-up failed")


if __name__ == "__main__":
    try:
        print(f"recogniser: {install()}")
    except NotAvailable as error:
        sys.exit(f"recogniser: {error}")
