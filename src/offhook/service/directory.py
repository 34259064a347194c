"""Who owns which call: call and connection ids to their live object (architecture.md).

`Directory` is the seam for many nodes; `LocalDirectory` is a dict in one.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

Owner = TypeVar("Owner")


class Directory(Protocol[Owner]):
    """Claims of ids by owners. An id has one owner at a time."""

    def claim(self, key: str, owner: Owner) -> bool:
        """Take an id; False when another owner already has it."""

    def find(self, key: str) -> Owner | None:
        """The owner of an id, or None."""

    def release(self, key: str) -> None:
        """Give an id up; an unknown id is ignored."""


class LocalDirectory(Generic[Owner]):
    """The directory of one node."""

    def __init__(self) -> None:
        self._owners: dict[str, Owner] = {}

    def claim(self, key: str, owner: Owner) -> bool:
        return self._owners.setdefault(key, owner) is owner

    def find(self, key: str) -> Owner | None:
        return self._owners.get(key)

    def release(self, key: str) -> None:
        self._owners.pop(key, None)

    def __len__(self) -> int:
        return len(self._owners)
