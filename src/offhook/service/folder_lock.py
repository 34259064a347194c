"""FolderLock: whether another node uses a folder too, known by a lock of the system on the folder itself."""

from __future__ import annotations

import os
from pathlib import Path


class FolderLock:
    """One node's share of a folder: it lasts until `release`, or until the process is gone, killed or not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: int | None = None

    def share(self) -> bool:
        """Share the folder; whether this node has it alone as it comes. True where there are no such locks. OSError."""
        try:
            import fcntl
        except ImportError:  # no such lock here
            return True
        handle = self._handle = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        except OSError:  # nor on this file system
            return True
        fcntl.flock(handle, fcntl.LOCK_SH)
        return alone

    def release(self) -> None:
        """Leave the folder to others; once more does no harm."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
