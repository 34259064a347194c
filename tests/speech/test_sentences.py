"""Sentences out of a text in pieces: the same however it was cut, early, and never too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.speech.sentences import LONGEST, Sentences, clauses


def sentences(*pieces: str) -> list[str]:
    splitter = Sentences()
    return [whole for piece in pieces for whole in splitter.add(piece)] + splitter.rest()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes. We are open.", ["Yes.", "We are open."]),
        ("Really?! “Yes.” Good", ["Really?!", "“Yes.”", "Good"]),
        ("It costs 3.50 or $4.", ["It costs 3.50 or $4."]),
        ("From 9 a.m. to 5 p.m. on weekdays. Call us!", ["From 9 a.m. to 5 p.m. on weekdays.", "Call us!"]),
        ("Ask for Mr. Smith, e.g. Today.", ["Ask for Mr. Smith, e.g. Today."]),
        ("- one\n- two\n\n", ["- one", "- two"]),
        ("はい。いいえ。", ["はい。", "いいえ。"]),
        (" ... ! \n", []),
        ("", []),
    ],
)
def test_a_text_in_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected
    assert sentences(*text) == expected, "letter by letter"


def test_a_sentence_is_given_as_soon_as_it_is_known_to_be_whole() -> None:
    splitter = Sentences()
    assert splitter.add("We are open. ") == [] and splitter.ended, "it may go on with a small letter"
    assert splitter.add("Un") == ["We are open."] and not splitter.ended
    assert splitter.add("til 5.") == [] and splitter.ended, "5.30?"
    assert splitter.rest() == ["Until 5."] and not splitter.ended and splitter.rest() == []


@given(st.text("Ab. ,!\n5", max_size=900), st.lists(st.integers(0, 900), max_size=8))
def test_nothing_is_lost_or_doubled_however_it_is_cut(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    found = sentences(*(text[start:end] for start, end in zip(places, places[1:], strict=False)))
    letters = [letter for letter in "".join(found) if letter.isalnum()]
    assert letters == [letter for letter in text if letter.isalnum()]
    assert all(len(one) <= LONGEST for one in found)


@given(st.text("ab,; \n", max_size=1000))
def test_a_long_sentence_has_parts(sentence: str) -> None:
    parts = list(clauses(sentence))
    assert "".join(parts) == sentence and all(len(part) <= LONGEST for part in parts)


def test_a_part_ends_behind_a_comma_or_between_words() -> None:
    words = "word " * 60
    assert [len(part) for part in clauses(words)] == [200, 100]
    assert [part[-6:] for part in clauses(f"{'word ' * 30}word, {words}")][0] == "word, "
    assert len(list(clauses("word, " + words))) == 2, "not for the sake of a comma at its beginning"
