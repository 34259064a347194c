"""Frames as the rest of the kit wants them: exactly 20 ms each, whatever the service has put into a message."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from offhook.kit.session import Audio

_MOST_SPEAKERS = 64


class Framer:
    """Cuts the sound of each speaker into frames of `size` bytes; a message without sound is 20 ms of silence."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest: dict[str | None, bytes] = {}

    def frames(self, event: Audio) -> Iterator[Audio]:
        """The frames that are whole with this message; what is left waits for the next of its speaker."""
        frame = event.frame
        data = frame.data
        if len(data) == self._size and not self._rest:
            yield event
            return
        if not data:
            data = bytes(self._size)
        if len(self._rest) > _MOST_SPEAKERS:
            self._rest.clear()
        data = self._rest.pop(frame.participant_raw_id, b"") + data
        whole = len(data) - len(data) % self._size
        if whole < len(data):
            self._rest[frame.participant_raw_id] = data[whole:]
        for start in range(0, whole, self._size):
            yield Audio(msgspec.structs.replace(frame, data=data[start : start + self._size]))
