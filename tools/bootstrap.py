"""Makes .venv ready for `make demo` (server) or `make test` (dev): pinned packages, then Offhook itself, editable.

Runs on the system's Python with the standard library alone. A stamp in .venv holds a digest of all that set-up
depends on, so a second run does nothing and needs no network; a stamp of `dev` also satisfies `server`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
VENV_PYTHON = SCRIPTS / ("python.exe" if os.name == "nt" else "python")
LEVELS = ("server", "dev")  # each holds all of the one before
PLACE = VENV / ".offhook-place"  # where .venv was made: its scripts name that path, so a moved tree needs a new one
OLDEST = (3, 11)


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do."""


def say(text: str) -> None:
    """One line of progress, at once even when piped."""
    print(f"set-up: {text}", flush=True)


def run(command: Sequence[str | Path], advice: str) -> None:
    """Runs a step with its output shown; `advice` is the message if it fails."""
    if subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode:
        raise SetupError(advice)


def venv_version() -> str | None:
    """Version of the Python in .venv, or None when there is none that runs here."""
    if not VENV_PYTHON.exists() or (PLACE.exists() and PLACE.read_text() != str(ROOT)):
        return None
    probe = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([VENV_PYTHON, "-c", probe], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def digest(level: str, version: str) -> str:
    """Fingerprint of everything the set-up of `level` depends on: the pins, the package's metadata, Python."""
    state = hashlib.sha256(f"{version}\n".encode())
    for source in (ROOT / "requirements" / f"{level}.txt", ROOT / "pyproject.toml"):
        state.update(source.read_bytes())
    return state.hexdigest()


def stamp(level: str) -> Path:
    return VENV / f".offhook-{level}"


def is_ready(level: str) -> bool:
    """True when .venv was set up for `level`, or for one that holds it, from the files as they are now."""
    version = venv_version()
    if version is None or not (SCRIPTS / ("offhook.exe" if os.name == "nt" else "offhook")).exists():
        return False
    wider = LEVELS[LEVELS.index(level) :]
    return any(stamp(name).exists() and stamp(name).read_text() == digest(name, version) for name in wider)


def make_venv() -> None:
    """A .venv with pip in it, also where Debian has taken ensurepip out of Python."""
    if VENV.exists():
        say("removing a .venv that does not run here")
        shutil.rmtree(VENV)
    say(f"making .venv with Python {sys.version.split()[0]} ({sys.executable})")
    if _has_ensurepip() or _install_ensurepip():
        run([sys.executable, "-m", "venv", VENV], "Python could not make .venv; see above.")
        PLACE.write_text(str(ROOT))
        return
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    raise SetupError(f"this Python cannot make virtual environments. Run: sudo apt-get install {name}   (then again)")


def _has_ensurepip() -> bool:
    probe = [sys.executable, "-c", "import ensurepip, venv; ensurepip.version()"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _install_ensurepip() -> bool:
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    done = subprocess.run([ROOT / "tools" / "install-system", "virtual environments", package], check=False)
    return done.returncode == 0 and _has_ensurepip()


def pip_command(*arguments: str) -> list[str]:
    return [str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]


def install_pins(pins: Path) -> None:
    """Installs a requirements file, hashes checked. Progress as it goes; all of pip's words only if it fails."""
    say(f"installing the packages pinned in {pins} (once; needs the network)")
    # The pins are complete: resolving them again could only choose something newer.
    command = pip_command("--progress-bar", "off", "--require-hashes", "--no-deps", "-r", str(pins))
    lines: list[str] = []
    seen = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied")):
                seen += 1
                if seen % 10 == 0:
                    say(f"  {seen} packages here")
            elif line.startswith("Installing collected"):
                say(f"  {seen} packages here, unpacking")
    if process.returncode:
        print("".join(lines[-40:]), file=sys.stderr)
        raise SetupError("packages could not be installed: see above. The first set-up needs the network.")


def install(level: str) -> None:
    """Installs the pins of `level`, then Offhook as an editable package with its command."""
    install_pins(Path("requirements") / f"{level}.txt")
    say("installing offhook itself (editable)")
    editable = pip_command("--quiet", "--no-build-isolation", "--no-deps", "--editable", ".")
    run(editable, "offhook itself could not be installed; see above.")


def prepare(level: str) -> None:
    """Does what is missing for `level`, and nothing when nothing is."""
    if is_ready(level):
        return
    started = time.monotonic()
    version = venv_version()
    if version is None or tuple(map(int, version.split("."))) < OLDEST:
        make_venv()
        version = venv_version()
    if version is None:
        raise SetupError("the Python of the new .venv does not run; remove .venv and try again.")
    for name in LEVELS:
        stamp(name).unlink(missing_ok=True)
    install(level)
    stamp(level).write_text(digest(level, version))
    say(f".venv is ready after {time.monotonic() - started:.0f} s")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in LEVELS:
        print(f"usage: bootstrap.py {'|'.join(LEVELS)}", file=sys.stderr)
        return 2
    if sys.version_info < OLDEST:
        print("set-up: Offhook needs Python 3.11 or newer.", file=sys.stderr)
        return 1
    try:
        prepare(arguments[0])
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
