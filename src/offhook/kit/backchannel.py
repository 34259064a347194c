"""Backchannels: short words and sounds by which a listener says "go on" ("mm-hmm", "yeah"), which interrupt nobody."""

from __future__ import annotations

import re
from typing import Final

from offhook.audio.pcm import Frame

AGREEMENTS: Final = frozenset(
    "uh huh mm hmm mhm mmm hm hmm um aha ah oh yeah yep yup yes okay ok right sure good great cool nice fine got it i "
    "see ha haha".split()
)
"""Words that only say "go on"."""


def only_agrees(text: str, agreements: frozenset[str] = AGREEMENTS) -> bool:
    """Whether all words of it are such; no words at all agree too."""
    return all(word in agreements for word in re.findall(r"[a-z']+", text.lower()))


def agrees(pcm: Frame) -> bool:
    """By its sound (16 kHz), whether something short is such a word."""
    return False
