"""The programs that tests/interop talks to, phones and a browser: installs the packages that are missing, saying so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "baresip": "baresip-core",
    "linphonec": "linphone-cli",
    "sipp": "sip-tester",
    "kamailio": "kamailio",
    "tcpdump": "tcpdump",
    "ip": "iproute2",
    "chromium": "chromium",
}
"""Debian package by program."""


class NotAvailable(Exception):
    """A program is not here and cannot be installed; the message says which."""


def missing() -> list[str]:
    """Programs that are not on PATH."""
    return [program for program in PACKAGES if shutil.which(program) is None]


def install() -> str:
    """Makes every program available; returns one line about it. Raises NotAvailable."""
    wanted = missing()
    if not wanted:
        return "already installed"
    command = [str(ROOT / "tools" / "install-system"), "tests with real phones", *(PACKAGES[name] for name in wanted)]
    if subprocess.run(command, check=False).returncode or missing():
        raise NotAvailable(f"{', '.join(wanted)} not found; install {', '.join(PACKAGES[name] for name in wanted)}")
    return f"installed {', '.join(wanted)}"


if __name__ == "__main__":
    try:
        print(f"SIP peers: {install()}")
    except NotAvailable as error:
        sys.exit(f"SIP peers: {error}")
