"""Phrases: which choice somebody means by what they said, as a recogniser wrote it down (protocol.md §3.3, choices).

Letter case, punctuation and spaces do not matter, and a number in digits is the same as in English words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

_UNITS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS: Final = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_APOSTROPHES: Final = re.compile("['\u2019]")
_WORD: Final = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text in a form that can be compared: "Agent-42!" is agent, forty, two."""
    plain = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return [word for token in _WORD.findall(plain) for word in _spoken(token)]


def best_match(text: str, choices: Iterable[Sequence[str]]) -> tuple[int, str] | None:
    """The choice whose phrase stands in `text` in whole words, by its index, with that phrase as it was given.

    Of several phrases the longest one in words counts, and of equally long ones the one that was said first.
    """
    said = _spaced(words(text))
    best: tuple[int, int, int, str] | None = None
    for index, phrases in enumerate(choices):
        for phrase in phrases:
            wanted = words(phrase)
            at = said.find(_spaced(wanted)) if wanted else -1
            if at >= 0 and (best is None or (-len(wanted), at) < best[:2]):
                best = (-len(wanted), at, index, phrase)
    return None if best is None else best[2:]


def _spaced(words: list[str]) -> str:
    """Words with a space round each, so that they are found whole and in a row."""
    return f" {' '.join(words)} "


def _spoken(token: str) -> list[str]:
    """A number of one or two digits in words, a longer one digit by digit; any other word as it is."""
    if not (token.isascii() and token.isdigit()):
        return [token]
    if len(token) > 2 or (len(token) == 2 and token[0] == "0"):
        return [_UNITS[int(digit)] for digit in token]
    tens, units = divmod(int(token), 10)
    if tens < 2:
        return [_UNITS[int(token)]]
    return [_TENS[tens], *([_UNITS[units]] if units else [])]
