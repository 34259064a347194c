"""One source of things and any number of listeners, each at its own pace; nobody holds up the call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar
from weakref import ref

T = TypeVar("T")


class Listener(Generic[T]):
    """What one listener has not taken yet. When it is full, the oldest is dropped and counted.

    `linger`: seconds without anything, after the end, in which what the end has overtaken may still come.
    """

    def __init__(self, most: int, linger: float = 0.0) -> None:
        self._waiting: deque[T] = deque(maxlen=most)
        self._woken = asyncio.Event()
        self._ended = False
        self._linger = linger
        self.dropped = 0

    def put(self, item: T) -> None:
        """One more."""
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
        self._waiting.append(item)
        self._woken.set()

    def end(self) -> None:
        """Nothing more comes; what waits is still given out."""
        self._ended = True
        self._woken.set()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._ended:
                await self._overtaken()
                continue
            self._woken.clear()
            await self._woken.wait()
        return self._waiting.popleft()

    async def _overtaken(self) -> None:
        """Wait for what the end may have overtaken."""
        if not self._linger:
            raise StopAsyncIteration
        self._woken.clear()
        try:
            await asyncio.wait_for(self._woken.wait(), self._linger)
        except TimeoutError:
            raise StopAsyncIteration from None


class Feed(Generic[T]):
    """Gives each thing to all listeners. A listener hears what comes after it was made, until nobody holds it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._listeners: list[ref[Listener[T]]] = []
        self._ended = False

    def listen(self, linger: float = 0.0) -> Listener[T]:
        """A new listener; `linger` as it has it."""
        listener: Listener[T] = Listener(self._most, linger)
        if self._ended:
            listener.end()
        self._listeners = [*self._listeners, ref(listener, self._forget)]
        return listener

    def _forget(self, gone: ref[Listener[T]]) -> None:
        # A new list: this may be in the middle of `put`.
        self._listeners = [known for known in self._listeners if known is not gone]

    @property
    def listened(self) -> bool:
        """Whether anybody listens."""
        return len(self._listeners) > 0

    def put(self, item: T) -> None:
        """To all."""
        for known in self._listeners:
            if (listener := known()) is not None:
                listener.put(item)

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        for known in self._listeners:
            if (listener := known()) is not None:
                listener.end()
