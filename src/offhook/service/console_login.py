"""Logging in to the console with its token, and out again (docs/console.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from offhook.service.console_guard import COOKIE, SECURE_COOKIE, Guard, Problem, invalid
from offhook.service.console_logins import ConsoleRule, Sessions, Tries, same

log = logging.getLogger("offhook.console")


class Login:
    """The two handlers."""

    def __init__(
        self, rule: ConsoleRule, sessions: Sessions, guard: Guard, wall: Callable[[], float], ticks: Callable[[], float]
    ) -> None:
        """`wall`: Unix seconds. `ticks`: seconds that never go back."""
        self._rule = rule
        self._sessions = sessions
        self._guard = guard
        self._wall = wall
        self._ticks = ticks
        self._tries = Tries()

    def routes(self) -> list[web.RouteDef]:
        """Both are writes."""
        return [
            web.post("/console/api/login", self._guard.write(self._log_in, logged_in=False)),
            web.post("/console/api/logout", self._guard.write(self._log_out, logged_in=False)),
        ]

    async def _log_in(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        if not self._rule.token:
            raise invalid("This console is open to this machine: there is nothing to log in to.")
        source, now = request.remote or "", self._ticks()
        if seconds := self._tries.wait(source, now):
            message = f"Too many logins failed; try again in {seconds} s."
            raise Problem(429, "8516", message, {"Retry-After": str(seconds)})
        token = fields.get("token")
        if not isinstance(token, str):
            raise invalid('Give the token as a text: {"token": "..."}.')
        if not same(token.strip(), self._rule.token):
            self._tries.failed(source, now)
            log.warning("a login to the console from %s failed", source)
            raise Problem(401, "7509", "This is not the token of this console: [console] token of its node has it.")
        self._tries.forget(source)
        self._end(request)
        made = web.json_response({"hours": self._rule.session_hours})
        self._give(request, made, self._sessions.begin(self._wall()), int(self._sessions.life))
        return made

    async def _log_out(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        self._end(request)
        made = web.json_response({})
        self._give(request, made, "", 0)
        return made

    def _end(self, request: web.Request) -> None:
        if (session := self._guard.session(request)) is not None:
            self._sessions.end(session)

    def _give(self, request: web.Request, made: web.Response, session: str, life: int) -> None:
        """Put the cookie into an answer; `life` in seconds."""
        secure = self._guard.secure(request)
        place: dict[str, Any] = {"path": "/console", "httponly": True, "samesite": "Strict", "secure": secure}
        made.set_cookie(SECURE_COOKIE if secure else COOKIE, session, max_age=life, **place)
