"""The WAV files that commands write: refused before the call when they cannot be written, never left over from an
earlier call."""

from __future__ import annotations

import tempfile
from pathlib import Path

from offhook.audio.wav import write_wav
from offhook.cli.voice import Samples
from offhook.errors import ConfigError, OffhookError


def check_out(out: Path, spoken: Path | None) -> None:
    """Raises ConfigError unless `out` can be written and is not the file that is spoken."""
    if out.is_dir():
        raise ConfigError(f"--out: {out} is a directory")
    if spoken is not None and out.exists() and out.samefile(spoken):
        raise ConfigError(f"--out: {out} is the file that --wav speaks")
    try:
        if out.exists():
            out.open("r+b").close()
        else:
            tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as why:
        raise ConfigError(f"--out: cannot write {out}: {why.strerror or why}") from why


def forget_old(out: Path) -> None:
    """Removes a recording of an earlier call, so that a file there is always of this one."""
    if out.is_file():
        out.unlink()


def save(out: Path, samples: Samples, rate: int) -> None:
    """Writes 16-bit mono. Raises OffhookError when the disk refuses."""
    try:
        out.write_bytes(write_wav(samples, rate))
    except OSError as why:
        raise OffhookError(f"cannot write {out}: {why.strerror or why}") from why
