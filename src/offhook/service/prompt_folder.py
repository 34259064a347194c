"""The folder of sound files that apps may play by name: `file:///name.wav`, or a path inside it.

Nothing outside the folder can be named: neither `..` nor a link leads out of it, for no link is followed at all.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from offhook.errors import PromptError
from offhook.service.posting import shown

_FIX: Final = "set one: folder in [prompts] of the file, or offhook dev --prompts DIR"


def is_local(uri: str) -> bool:
    """Whether a play source names a file of the folder, and no URL."""
    return urlsplit(uri).scheme.lower() not in ("http", "https")


class PromptFolder:
    """Reads files of one folder; None: there is none, and everything is refused."""

    def __init__(self, folder: Path | None, most_bytes: int) -> None:
        self._folder = folder
        self._most = most_bytes

    def read(self, uri: str) -> bytearray:
        """The file's bytes; blocking. PromptError `play_not_downloaded` says what is wrong with name or file."""
        if self._folder is None:
            raise _refused(uri, f"is a file of the node, which has no folder of prompts; {_FIX}")
        names = _names(uri)
        held = -1
        try:
            held = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for name in names[:-1]:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
                os.close(held)
                held = inner
            # O_NONBLOCK: a named pipe is not waited for. What an opener has opened is closed again if it is a folder.
            extra = os.O_NOFOLLOW | os.O_NONBLOCK
            with open(names[-1], "rb", opener=lambda name, how: os.open(name, how | extra, dir_fd=held)) as opened:
                found = os.fstat(opened.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise _refused(uri, "is no file")
                if found.st_size > self._most:
                    raise _refused(uri, f"has more than {self._most >> 20} MiB; play a shorter file, or 16 kHz mono")
                return bytearray(opened.read(self._most))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise _refused(uri, f"cannot be read from the folder of prompts: {why} (links are not followed)") from None
        finally:
            if held >= 0:
                os.close(held)


def _names(uri: str) -> list[str]:
    """The steps from the folder to the file."""
    parts = urlsplit(uri)
    if parts.scheme and (parts.scheme.lower() != "file" or parts.netloc):
        raise _refused(uri, "is neither an http or https URL nor a file of the node; write file:///name.wav")
    path = unquote(parts.path).removeprefix("/") if parts.scheme else uri
    names = path.split("/")
    if any(name in ("", ".", "..") or "\\" in name or "\0" in name for name in names):
        raise _refused(uri, "leads out of the folder of prompts, or names no file; write file:///name.wav")
    return names


def _refused(uri: str, why: str) -> PromptError:
    return PromptError("play_not_downloaded", f"{shown(uri)} {why}.")
