"""Sounds for prompts on a manual clock, without a file or a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tests.scenarios.stage import Stage

from offhook.audio.pcm import Frame
from offhook.audio.sound import Sound
from offhook.errors import PromptError
from offhook.service.sounds import Loaded
from offhook.wire.playing import PlaySource


class Shelf:
    """Sounds by URL, there `delay` seconds after they are asked for; a PromptError is a source that cannot be used."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.sounds: dict[str, Frame | PromptError] = {}
        self.growing: dict[str, Sound] = {}
        """Sounds that the test makes while they are heard."""
        self.let_go: list[str] = []
        self.delay = 0.1
        self._asked: set[object] = set()

    @property
    def waiting(self) -> int:
        """Loads that are under way."""
        return len(self._asked)

    def load(self, sources: tuple[PlaySource, ...], rate: int, done: Callable[[Loaded], None]) -> Callable[[], None]:
        grows = self.growing.get(sources[0].uri)
        found = [] if grows else [self.sounds[source.uri] for source in sources]
        bad = next((each for each in found if isinstance(each, PromptError)), None)
        whole = np.concatenate([each for each in found if not isinstance(each, PromptError)] or [np.zeros(0, np.int16)])
        asked = object()
        self._asked.add(asked)

        def there() -> None:
            self._asked.discard(asked)
            done(grows or bad or Sound.of(whole))

        handle = self.stage.clock.call_at(self.stage.clock.monotonic() + self.delay, there)

        def cancel() -> None:
            self._asked.discard(asked)
            handle.cancel()
            self.let_go.append(sources[0].uri)

        return cancel
