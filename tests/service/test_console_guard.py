"""Which pages may write, behind a proxy and without one, and when the cookie is for https alone."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from tests.service.console_book import TOKEN, Book, desk

from offhook.service.console_logins import ConsoleRule

RULE = ConsoleRule(token=TOKEN)
PUBLIC = "https://calls.example.com"


@pytest.mark.parametrize(
    ("public", "host", "origin", "taken"),
    [
        ("", "node.local:8443", "http://node.local:8443", True),
        ("", "node.local:8443", "HTTP://NODE.local:8443", True),
        ("", "node.local:8443", "https://node.local:8443", False),
        ("", "node.local:8443", "http://node.local", False),
        ("", "node.local:8443", "http://node.local:8443.evil.example", False),
        ("", "node.local:8443", "", False),
        ("", "node.local:8443", "null", False),
        (PUBLIC, "10.0.0.7:8443", PUBLIC, True),
        (PUBLIC, "10.0.0.7:8443", "http://10.0.0.7:8443", True),
        (PUBLIC, "10.0.0.7:8443", "http://calls.example.com", False),
        (PUBLIC, "calls.example.com", PUBLIC, True),
        (PUBLIC, "calls.example.com", "http://calls.example.com", False),
        (PUBLIC, "calls.example.com", "https://calls.example.com:8443", False),
        (PUBLIC, "calls.example.com", "https://evil.example", False),
    ],
)
async def test_pages_that_may_write(tmp_path: Path, public: str, host: str, origin: str, taken: bool) -> None:
    async with desk(Book(tmp_path), RULE, public) as d:
        told = {"Host": host, "Origin": origin, "X-Offhook-Console": "1"}
        headers = {name: value for name, value in told.items() if value}
        place = f"{d.page.origin}/console/api/login"
        async with d.page.session.post(place, json={"token": TOKEN}, headers=headers) as response:
            assert response.status == (200 if taken else 403), await response.text()
            if taken:
                name = "__Secure-offhook_console" if origin == PUBLIC else "offhook_console"
                cookie = SimpleCookie(response.headers["Set-Cookie"])[name]
                assert bool(cookie["secure"]) == (origin == PUBLIC)


@pytest.mark.parametrize(("site", "taken"), [("same-origin", True), ("same-site", False), ("none", False), ("", False)])
async def test_what_the_browser_tells_of_the_site_goes_before_the_origin(
    tmp_path: Path, site: str, taken: bool
) -> None:
    """A proxy may change Host; a page cannot change what the browser says."""
    async with desk(Book(tmp_path), RULE) as d:
        headers = {"Host": "inside:1", "Origin": "https://outside.example", "X-Offhook-Console": "1"}
        headers["Sec-Fetch-Site"] = site
        place = f"{d.page.origin}/console/api/login"
        async with d.page.session.post(place, json={"token": TOKEN}, headers=headers) as response:
            assert response.status == (200 if taken else 403)


@pytest.mark.parametrize(
    ("known_key", "host", "status"),
    [(True, "evil.example", 421), (True, "localhost:8480", 401), (False, "calls.example.com", 401)],
)
async def test_a_published_key_is_for_names_of_this_machine_without_pages_too(
    tmp_path: Path, known_key: bool, host: str, status: int
) -> None:
    async with desk(Book(tmp_path), ConsoleRule(), known_key=known_key) as d:
        assert (await d.page.get("calls", Host=host, Authorization="HMAC-SHA256 x"))[0] == status
