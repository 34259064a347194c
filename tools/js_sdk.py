"""Installs the official JavaScript SDK for the conformance tests, once: `npm ci` from the lockfile, stamped.

Where node is missing it is installed if this machine allows it; where that is not possible the outcome says why.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "tests" / "conformance" / "js"
STAMP = PROJECT / "node_modules" / ".offhook-lock"
OLDEST_NODE = 20  # engines field of the SDK
TIMEOUT = 300


class NotAvailable(Exception):
    """The SDK cannot be used on this machine; the message says what is missing and what to install."""


def lock_digest() -> str:
    return hashlib.sha256((PROJECT / "package-lock.json").read_bytes()).hexdigest()


def is_installed() -> bool:
    """True when node_modules holds what the lockfile says now."""
    return STAMP.exists() and STAMP.read_text() == lock_digest() and shutil.which("node") is not None


def node_major() -> int:
    """Major version of `node`, 0 when it does not run."""
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False, timeout=30)
    text = done.stdout.strip().lstrip("v").split(".")[0]
    return int(text) if text.isdigit() else 0


def need_node() -> None:
    """Raises NotAvailable unless node and npm of a usable version are here, after trying to install them."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        packages = ["nodejs" if name == "node" else name for name in missing]
        command = [str(ROOT / "tools" / "install-system"), "the JavaScript SDK tests", *packages]
        if subprocess.run(command, check=False).returncode:
            raise NotAvailable(f"{' and '.join(missing)} not found; install Node.js {OLDEST_NODE} or newer with npm")
    if (major := node_major()) < OLDEST_NODE:
        raise NotAvailable(f"node is version {major}, the SDK needs {OLDEST_NODE} or newer")


def install() -> str:
    """Makes node_modules fit the lockfile; returns one line about it. Raises NotAvailable."""
    if is_installed():
        return "already installed"
    need_node()
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=PROJECT, check=False, timeout=TIMEOUT, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        raise NotAvailable(f"npm ci did not finish in {TIMEOUT} s; the first run needs the network") from None
    if done.returncode:
        raise NotAvailable(f"npm ci failed: {(done.stderr or done.stdout).strip()[-500:]}")
    STAMP.write_text(lock_digest())
    return "installed from package-lock.json"


if __name__ == "__main__":
    try:
        print(f"JavaScript SDK: {install()}")
    except NotAvailable as error:
        sys.exit(f"JavaScript SDK: {error}")
