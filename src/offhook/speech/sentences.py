"""Sentences out of a text that comes in pieces, each as soon as it is known to be whole; and parts of long ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 200
"""Letters that are spoken in one go, some 13 s: all other texts, and who is to be understood, wait for it."""
_DIGIT: Final = 5  # letters that a digit is as long as
_END: Final = re.compile(r"""[.!?…]+["'”’)\]]*(?=\s)|[。！？]+|\n""")
_ENDED: Final = re.compile(r"""([.!?…。！？]["'”’)\]]*|\n)\s*$""")
_SHORT_FORMS: Final = re.compile(r"(?:^|[\s(])(?:Mr|Mrs|Ms|Dr|Prof|St|No|vs|e\.g|i\.e|approx|[A-Z])\.$")


class Sentences:
    """Takes a text in pieces, cut anywhere, and gives it back in sentences, without the space around them."""

    def __init__(self) -> None:
        self._text = ""

    @property
    def ended(self) -> bool:
        """What waits reads like a whole sentence: only what comes next can tell ("3." goes on as "3.5")."""
        return _ENDED.search(self._text) is not None

    def add(self, text: str) -> list[str]:
        """The sentences that it completes; of one that grows too long, the parts that may be said already."""
        self._text += text
        whole = []
        start = 0
        for end in _END.finditer(self._text):
            if end[0] != "\n" and not self._ends(start, end.end()):
                continue
            whole += _parts(self._text[start : end.end()])
            start = end.end()
        self._text = self._text[start:]
        *parts, self._text = clauses(self._text)
        return [*whole, *(part.strip() for part in parts if part.strip())]

    def rest(self) -> list[str]:
        """What waits, as the end of the text."""
        text, self._text = self._text, ""
        return _parts(text)

    def _ends(self, start: int, end: int) -> bool:
        """Whether a mark ends a sentence: not that of a short form, nor before a small letter ("9 a.m. or")."""
        following = self._text[end:].lstrip()
        if not following:
            return False
        return not following[0].islower() and _SHORT_FORMS.search(self._text[start:end]) is None


def _parts(sentence: str) -> list[str]:
    """A sentence in parts that may be spoken; nothing of what has no letter or digit."""
    return [part.strip() for part in clauses(sentence) if any(map(str.isalnum, part))]


def clauses(sentence: str) -> Iterator[str]:
    """Parts of a sentence that are not longer than `LONGEST`, and end behind a comma, between words, or anywhere."""
    while (most := _reach(sentence)) < len(sentence):
        ends = [found.end() for found in re.finditer(r"\s", sentence[:most])]
        marks = [end for end in ends if end > max(most // 2, 1) and sentence[end - 2] in ",;:"]
        cut = (marks or ends or [most])[-1]
        yield sentence[:cut]
        sentence = sentence[cut:]
    yield sentence


def _reach(sentence: str) -> int:
    """How many characters may be spoken in one go."""
    left = LONGEST
    for index, sign in enumerate(sentence):
        left -= _DIGIT if sign.isdigit() else 1
        if left < 0:
            return index
    return len(sentence)
