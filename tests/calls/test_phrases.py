"""Which choice somebody means by what they said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.calls.phrases import best_match, words

CHOICES = (("yes", "yes please", "sure"), ("no", "not now"), ("extension 42", "agent"), ("one two",), ("option ten",))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Yes.", (0, "yes")),
        ("  YES,   please!! ", (0, "yes please")),
        ("well, um, no", (1, "no")),
        ("Not now", (1, "not now")),
        ("Extension forty-two please", (2, "extension 42")),
        ("extension 42", (2, "extension 42")),
        ("12", None),  # a number is not its digits
        ("1, 2", (3, "one two")),
        ("Option 10.", (4, "option ten")),
        ("nothing", None),
        ("yesterday", None),
        ("", None),
        ("?!", None),
        ("no yes", (1, "no")),  # equally long: the one said first
        ("no, yes please", (0, "yes please")),  # the longest one
        ("I want an AGENT", (2, "agent")),
    ],
)
def test_what_is_meant(said: str, meant: tuple[int, str] | None) -> None:
    assert best_match(said, CHOICES) == meant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Agent-42!", ["agent", "forty", "two"]),
        ("I'm 30", ["im", "thirty"]),
        ("I\u2019m 0 7 19", ["im", "zero", "seven", "nineteen"]),
        ("911 07", ["nine", "one", "one", "zero", "seven"]),
        ("STRASSE stra\u00dfe \uff11", ["strasse", "strasse", "one"]),
        ("a_b \u00b2", ["a", "b", "two"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text(max_size=40), st.lists(st.lists(st.text(max_size=10), max_size=3), max_size=3))
def test_any_text(text: str, choices: list[list[str]]) -> None:
    found = best_match(text, choices)
    if found is not None:
        index, phrase = found
        assert phrase in choices[index]
        assert " ".join(words(phrase)) in " ".join(words(text))


@given(st.text(min_size=1, max_size=20).filter(words))
def test_a_phrase_is_always_found_in_itself(phrase: str) -> None:
    assert best_match(phrase, [[phrase]]) == (0, phrase)
