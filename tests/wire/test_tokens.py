"""Tokens against key pages: audiences, and when the page is to be read. The kit's tests have every refusal."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kit.issued import KEY, NOW, page, token

from offhook.kit.tokens import DEFAULT_ISSUER
from offhook.wire.tokens import KEYS_LIVE_S, TokenError, TokenVerifier, UnknownKeyError, keys_may_come_from


def verifier(*audiences: str) -> TokenVerifier:
    made = TokenVerifier(audiences, DEFAULT_ISSUER, "https://keys")
    made.take_page(page(KEY))
    return made


def test_one_of_several_audiences_is_enough() -> None:
    good: list[Any] = ["a", "b", ["x", "b"]]
    for audience in good:
        assert verifier("a", "b").verify(f"Bearer {token(aud=audience)}", NOW)["aud"] == audience
    bad: list[Any] = ["c", ["x"], [], None, 5, {}]
    for audience in bad:
        with pytest.raises(TokenError, match="not 'a'"):
            verifier("a", "b").verify(f"Bearer {token(aud=audience)}", NOW)


def test_without_audiences_any_and_none_will_do() -> None:
    for audience in ("a", None):
        assert verifier().verify(f"Bearer {token(aud=audience)}", NOW)


def test_the_page_is_due_at_first_and_then_sparingly() -> None:
    made = TokenVerifier(("a",), DEFAULT_ISSUER, "https://keys")
    assert not made.stale(NOW)
    assert made.fetch_due(NOW)
    made.page_failed(OSError("no route"))
    assert not made.fetch_due(NOW + 0.9)
    with pytest.raises(UnknownKeyError, match="no route"):
        made.verify(f"Bearer {token(aud='a')}", NOW)
    assert made.fetch_due(NOW + 1)
    made.take_page(page(KEY))
    assert [made.fetch_due(NOW + second) for second in (2, 30, 31)] == [False, False, True]
    assert made.stale(NOW + 32 + KEYS_LIVE_S) and not made.stale(NOW + 30 + KEYS_LIVE_S)
    assert made.fetch_due(NOW - 3600), "a clock that was set back must not shut everybody out"


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://keys", True),
        ("http://127.0.0.1:1/k", True),
        ("http://localhost/k", True),
        ("http://[::1]/k", True),
        ("http://keys", False),
        ("https://", False),
        ("file:///k", False),
        ("http://[::1/k", False),
        ("", False),
    ],
)
def test_where_keys_may_come_from(url: str, good: bool) -> None:
    assert keys_may_come_from(url) is good
