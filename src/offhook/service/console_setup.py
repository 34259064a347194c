"""The console's setup page: what an app needs to use this node, and the doctor's checks from the node's own place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from offhook.service import checks, sip_checks
from offhook.service.app_environment import environment
from offhook.service.checks import OK, SKIP, Check, Network
from offhook.service.console_guard import Guard, Problem, invalid

MOST_CHECKS: Final = 4
"""Rounds of checks at once."""
MOST_URL: Final = 2048
_SHOWN: Final = ("connectionString", "endpoint", "httpEndpoint", "consoleUrl", "resourceId", "issuer", "jwksUri")
_FACTS: Final = ("incoming", "sip", "webrtc", "version")
_CHECKS: Final = {
    "http": checks.webhook,
    "https": checks.webhook,
    "ws": checks.websocket,
    "wss": checks.websocket,
}
"""What is tried of an app's URL, by its scheme."""


class Setup:
    """The two handlers."""

    def __init__(self, guard: Guard, status: Callable[[], Mapping[str, Any]], network: Network) -> None:
        """`status`: the node's status object, with `media`. `network`: how the node reaches apps."""
        self._guard = guard
        self._status = status
        self._network = network
        self._running = 0

    def routes(self) -> list[web.RouteDef]:
        """Both show secrets or connect somewhere: only to who is logged in."""
        return [
            web.get("/console/api/setup", self._guard.read(self._show)),
            web.post("/console/api/setup/check", self._guard.write(self._check)),
        ]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        status = self._status()
        return web.json_response(
            {
                **{name: status.get(name) for name in (*_SHOWN, *_FACTS)},
                "environment": environment(status),
                "login": bool(self._guard.rule.token),
            }
        )

    async def _check(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        status, url = self._status(), fields.get("url")
        if url is not None:
            _usable(url)
        if self._running >= MOST_CHECKS:
            message = "Checks are running already; try again when they are done."
            raise Problem(429, "8516", message, {"Retry-After": "5"})
        self._running += 1
        try:
            found = await self._everything(status) if url is None else [await self._try(url)]
        finally:
            self._running -= 1
        return web.json_response([_row(check) for check in found])

    async def _everything(self, status: Mapping[str, Any]) -> list[Check]:
        """The node's own sockets, and each webhook that it has."""
        tries = [self._try(webhook["url"]) for webhook in status.get("incoming") or []]
        tls, sip, *apps = await asyncio.gather(
            _only(checks.tls(status)), sip_checks.running(status), *map(_only, tries)
        )
        return [*tls, *sip, *(check for found in apps for check in found)]

    async def _try(self, url: str) -> Check:
        return await _CHECKS[urlsplit(url).scheme.lower()](url, self._network)


async def _only(check: Awaitable[Check]) -> list[Check]:
    return [await check]


def _row(check: Check) -> dict[str, Any]:
    ok = None if check.result == SKIP else check.result == OK
    return {"name": check.name, "ok": ok, "detail": check.detail, "fix": check.fix}


def _usable(url: object) -> None:
    fix = "give the http(s) URL of the app's event route, or the ws(s) URL of its stream route"
    if not isinstance(url, str) or not 0 < len(url) <= MOST_URL or not url.isprintable() or " " in url:
        raise invalid(f"url must be a text of at most {MOST_URL} characters without blanks: {fix}.")
    try:
        parts = urlsplit(url)
        good = parts.scheme.lower() in _CHECKS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise invalid(f"url cannot be used: {fix}.")
