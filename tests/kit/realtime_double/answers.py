"""What the double says: sounds, words and function calls, in rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import numpy as np

RATE = 24_000


@dataclass(frozen=True)
class Say:
    """A message: PCM16 at 24 kHz, and its words."""

    pcm: bytes
    text: str = "A tone."


@dataclass(frozen=True)
class Do:
    """A function call."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)

    @property
    def json(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


Answer: TypeAlias = Sequence[Say | Do]
"""The items of one response, in order."""


def tone(seconds: float = 1.0, hertz: float = 440.0, level: float = 6000) -> bytes:
    """A tone at 24 kHz."""
    at = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes()


@cache
def voice(text: str) -> bytes:
    """The local voice says it, at 24 kHz; a tone of about that length where no voice is installed."""
    try:
        from offhook.speech.hibari import HibariVoice
        from offhook.speech.provider import Words

        return np.concatenate(list(HibariVoice().speak(Words(text=text), RATE))).astype("<i2").tobytes()
    except ImportError:
        return tone(0.06 * len(text))


def read_answers(text: str) -> list[Answer]:
    """From JSON: a row of answers, each {"say": "words"}, {"tone": 440, "seconds": 1}, {"call": "name", "arguments":
    {}}, or a row of those."""
    return [[_part(part) for part in (one if isinstance(one, list) else [one])] for one in json.loads(text)]


def _part(part: dict[str, Any]) -> Say | Do:
    if "call" in part:
        return Do(part["call"], part.get("arguments", {}))
    if "tone" in part:
        return Say(tone(part.get("seconds", 1.0), part["tone"]), part.get("text", "A tone."))
    return Say(voice(part["say"]), part["say"])
