"""Which access tokens of users are void before they expire, kept in a file so that a restart does not revive them.

One line for each revocation, appended: `revoked SECONDS USER` or `deleted SECONDS USER`. At most `MOST` users are
remembered; when the oldest is forgotten, every token issued until then is void, whosesoever it is.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offhook.errors import ConfigError

MOST: Final = 4096
_DELETED, _REVOKED, _ALL = "deleted", "revoked", "all"


@dataclass(frozen=True, slots=True)
class _Void:
    """Tokens issued in this second or before are void. `deleted`: so is the user."""

    until: int
    deleted: bool


class Revocations:
    """Times are whole Unix seconds. `path` None: in memory alone."""

    def __init__(self, path: Path | None, now: float, *, oldest_token: int = 86_400, most: int = MOST) -> None:
        """`oldest_token`: seconds after which a token has expired by itself. ConfigError for a file that is no use."""
        self._path = path
        self._oldest_token = oldest_token
        self._most = most
        self._void: OrderedDict[str, _Void] = OrderedDict()
        self._all_until = 0
        self._lines = 0
        if path is None:
            return
        try:
            if path.exists():
                self._read(path.read_text("utf-8"), now)
                self._rewrite()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be used ({error}); give this user the right to it") from None

    def deleted(self, user: str) -> bool:
        """Whether the user is no more."""
        void = self._void.get(user)
        return void is not None and void.deleted

    def until(self, user: str) -> int:
        """Tokens of this user that were issued in this second or before are void."""
        void = self._void.get(user)
        return max(self._all_until, void.until if void is not None else 0)

    def revoke(self, user: str, now: float) -> None:
        """All tokens so far are void. OSError when that cannot be written: it holds until a restart then."""
        self._add(user, _Void(int(now), deleted=self.deleted(user)))

    def delete(self, user: str, now: float) -> None:
        """As `revoke`, and nothing is issued to the user any more."""
        self._add(user, _Void(int(now), deleted=True))

    def _add(self, user: str, void: _Void) -> None:
        self._keep(user, void)
        if self._path is None:
            return
        if self._lines >= 2 * self._most:
            self._rewrite()
            return
        # Left to the kernel: waiting for the disk would hold up the media clock.
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(user, void))
        self._lines += 1

    def _keep(self, user: str, void: _Void) -> None:
        self._void[user] = void
        self._void.move_to_end(user)
        while len(self._void) > self._most:
            self._all_until = max(self._all_until, self._void.popitem(last=False)[1].until)

    def _read(self, text: str, now: float) -> None:
        """Lines that are whole; the last may have been cut off by the end of the process."""
        for line in text.splitlines():
            kind, _, rest = line.partition(" ")
            until, _, user = rest.partition(" ")
            if not (until.isascii() and until.isdigit()):
                continue
            if kind == _ALL:
                self._all_until = max(self._all_until, int(until))
            elif user and (kind == _DELETED or (kind == _REVOKED and int(until) > now - self._oldest_token)):
                self._keep(user, _Void(int(until), deleted=kind == _DELETED))

    def _rewrite(self) -> None:
        """Only what still counts, in one step."""
        assert self._path is not None
        lines = [f"{_ALL} {self._all_until}\n", *(_line(user, void) for user, void in self._void.items())]
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.writelines(lines)
            draft.replace(self._path)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
        self._lines = len(lines)


def _line(user: str, void: _Void) -> str:
    return f"{_DELETED if void.deleted else _REVOKED} {void.until} {user}\n"
