"""Who may use the console, and what each of its answers says to a browser (docs/console.md, "Who may").

Three ways in: a request that is signed with an access key; a browser that has logged in; on a node of this machine
only, any page that came from it. A browser sends the second and third whoever made it do so, so its requests must also
come from a page of ours: Sec-Fetch-Site or Origin tell (Fetch §2.2.5), and Host for a name that was bound to our
address (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from offhook.errors import SignatureError
from offhook.service.console_logins import ConsoleRule, Sessions
from offhook.wire.signing import verify_hmac

COOKIE: Final = "offhook_console"
SECURE_COOKIE: Final = f"__Secure-{COOKIE}"
"""Over https: a browser that has a secure cookie takes none of its name over plain HTTP (RFC 6265bis §5.7), where the
same node may be asked too."""
OURS: Final = "X-Offhook-Console"
"""The header of every write that a page of ours makes: a form cannot send it, nor a page of another origin unasked."""
MAX_BODY: Final = 64 * 1024
BODY_TIMEOUT_S: Final = 30.0
LOOK_EVERY_S: Final = 15.0
"""Between looks at whether the browser of a socket is still logged in."""
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
_THIS_MACHINE: Final = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_BROWSER: Final = ("Origin", "Sec-Fetch-Site")
"""What browsers put on each write of a page, and no page can leave out."""
_PASSED_ON: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Write = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
"""Answers a POST: the request, and the JSON object that was its body."""


class Problem(Exception):
    """A request ends here with the error body of the API."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def answer(self) -> web.Response:
        """As it is sent."""
        error = {"error": {"code": self.code, "message": self.message}}
        return web.json_response(error, status=self.status, headers=self.headers)


def invalid(message: str) -> Problem:
    """A request that says something that cannot be."""
    return Problem(400, "8523", message)


def unknown(message: str) -> Problem:
    """Something that is not there."""
    return Problem(404, "8522", message)


class Guard:
    """Stands before every handler of the console."""

    def __init__(
        self,
        rule: ConsoleRule,
        sessions: Sessions,
        *,
        keys: Callable[[], Sequence[bytes]],
        wall: Callable[[], float],
        hosts: Callable[[], Sequence[str]],
        public_origin: str = "",
        known_key: bool = False,
    ) -> None:
        """`hosts`: further names that requests may be signed for, as clients know the node behind a proxy.

        `public_origin`: scheme and host of pages that such a proxy passes on. `wall`: Unix seconds. `known_key`: the
        access key is the published one, so that a page which gets through by another name can sign.
        """
        self.rule = rule
        self._sessions = sessions
        self._keys = keys
        self._wall = wall
        self._hosts = hosts
        self._public_origin = public_origin.lower()
        self._this_machine = rule.open or known_key

    # what stands before handlers --------------------------------------------------------------------------------

    def page(self, handler: Handler) -> Handler:
        """Files without data: for whoever may reach the console at all."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if not self.rule.pages:
                raise unknown(
                    "This node shows no console: set token or token_env in [console] of its file (offhook serve), or "
                    "leave --no-console out (offhook dev). The signed API under /console/api is there."
                )
            self._check_place(request)
            return await handler(request)

        return _answering(answer)

    def read(self, handler: Handler, signed: Handler | None = None) -> Handler:
        """A GET of data. `signed` answers requests that bring credentials of another kind than the console's own."""
        return self._data(handler, signed, write=False)

    def socket(self, handler: Handler) -> Handler:
        """A WebSocket: like a write, but without a header of ours, since pages cannot give one."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Upgrade", "").lower() != "websocket":
                raise invalid("This is a WebSocket: ask with Upgrade: websocket (RFC 6455).")
            watch = asyncio.get_running_loop().create_task(self._watch(request))
            try:
                return await handler(request)
            finally:
                watch.cancel()

        return self._data(answer, None, write=True)

    def write(self, handler: Write, *, logged_in: bool = True) -> Handler:
        """A POST with at most 64 KiB of JSON, or nothing. `logged_in`: whether a browser must be."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if self._by_browser(request):
                self._check_browser(request, write=True, logged_in=logged_in)
                if request.headers.get(OURS) != "1":
                    raise Problem(403, "7504", f"A write of a page needs the header {OURS}: 1.")
                body = await _body(request)
            else:
                body = await _body(request)
                self._check_signature(request, body)
            return await handler(request, _fields(request, body))

        return _answering(answer)

    def rebound(self, request: web.Request) -> web.Response | None:
        """The answer to a page of another name that signs for REST with the published key; None: it is none.

        Programs may know the node by any name; what only browsers send tells pages from them (Fetch §3.2, §2.2.5).
        """
        if not any(mark in request.headers for mark in _BROWSER):
            return None
        try:
            self._check_name(request)
        except Problem as problem:
            return problem.answer()
        return None

    def dress(self, response: web.StreamResponse) -> None:
        """Give an answer the headers that every answer of the console has."""
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")

    # what a browser sends ---------------------------------------------------------------------------------------

    def session(self, request: web.Request) -> str | None:
        """The session that a request belongs to. Other sites of this host may have put cookies of that name beside."""
        for text in request.headers.getall("Cookie", []):
            for pair in text.split(";"):
                name, _, value = pair.strip().partition("=")
                if name in (COOKIE, SECURE_COOKIE) and self._sessions.alive(value, self._wall()):
                    return value
        return None

    def still(self, request: web.Request) -> bool:
        """Whether a request that was let in, and goes on, would be let in now: who logs out reads no more."""
        return not self._by_browser(request) or self.rule.open or self.session(request) is not None

    def secure(self, request: web.Request) -> bool:
        """Whether the page that asks came over https, through a proxy of ours or directly."""
        return request.secure or (
            self._public_origin.startswith("https:")
            and request.headers.get("Origin", "").lower() == self._public_origin
        )

    # inside -----------------------------------------------------------------------------------------------------

    def _by_browser(self, request: web.Request) -> bool:
        """Credentials in the head are always checked as such, even where there is another way in."""
        return self.rule.pages and "Authorization" not in request.headers

    def _data(self, handler: Handler, signed: Handler | None, *, write: bool) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if self._by_browser(request):
                self._check_browser(request, write=write)
            elif signed is not None:
                return await signed(request)
            else:
                self._check_signature(request, b"")
            return await handler(request)

        return _answering(answer)

    async def _watch(self, request: web.Request) -> None:
        """Close a socket some time after its browser has logged out."""
        while self.still(request):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY_S)
        if request.transport is not None:
            request.transport.close()

    def _check_signature(self, request: web.Request, body: bytes) -> None:
        self._check_name(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        reason = "no access key is set"
        for key in self._keys():
            try:
                hosts = self._hosts()
                return verify_hmac(request.method, request.raw_path, headers, body, key, self._wall(), hosts=hosts)
            except SignatureError as error:
                reason = error.message
        raise Problem(401, "7509", reason)

    def _check_browser(self, request: web.Request, *, write: bool, logged_in: bool = True) -> None:
        """Whether a page of ours asks, as far as the browser tells: a read may come without it telling, no write may.

        Other ports of a host are the same site, and get the same cookies: only the same origin is ours.
        """
        self._check_place(request)
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site is not None:
            ours = site == "same-origin" or (site == "none" and not write)
        else:
            ours = not write if not origin else origin.lower() in self._origins(request)
        if not ours:
            behind = "Behind a proxy, public_url must be what the browser calls the node."
            raise Problem(403, "7504", f"Only pages of this node's console may ask for this. {behind}")
        if logged_in and not self.rule.open and self.session(request) is None:
            raise Problem(401, "7509", "Log in at /console/login, or sign the request with the access key.")

    def _check_place(self, request: web.Request) -> None:
        """Without a login nothing is taken that somebody has passed on."""
        self._check_name(request)
        passed = [name for name in _PASSED_ON if name in request.headers]
        if passed and self.rule.open:
            what = f"this request was passed on by a proxy ({passed[0]})"
            fix = "open http://localhost on this machine, or run  offhook serve  with a [console] token"
            raise Problem(403, "7504", f"This console has no login, so it is for this machine only, and {what}: {fix}.")

    def _check_name(self, request: web.Request) -> None:
        """Where anybody gets in, be it by the key that everybody has, only names of this machine are taken."""
        hosts = request.headers.getall("Host", [])
        if self._this_machine and (len(hosts) != 1 or not _THIS_MACHINE.fullmatch(hosts[0])):
            raise Problem(421, "7504", "This is open as localhost, 127.0.0.1 and [::1] only: use one of these names.")

    def _origins(self, request: web.Request) -> tuple[str, ...]:
        """Scheme and host of our pages: the public one, and those under which the node itself was asked."""
        host = request.headers.get("Host", "").lower()
        if self._public_origin.endswith(f"//{host}"):
            return (self._public_origin,)
        return (f"{'https' if request.secure else 'http'}://{host}", self._public_origin)


def _answering(handler: Handler) -> Handler:
    """A handler whose problems become answers."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            return problem.answer()
        except ConnectionError:
            return web.Response(status=499)  # nobody is there to read it

    return answer


async def _body(request: web.Request) -> bytes:
    limit = Problem(413, "8523", f"The body is too large: at most {MAX_BODY} bytes.")
    if (request.content_length or 0) > MAX_BODY:
        raise limit
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise limit
    except TimeoutError:
        raise Problem(408, "9002", f"The body did not arrive within {BODY_TIMEOUT_S:g} s.") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
        raise invalid(f"The body cannot be read: {error}") from None
    return bytes(body)


def _fields(request: web.Request, body: bytes) -> dict[str, Any]:
    """The JSON object of a body; empty when there was none."""
    if not body:
        return {}
    if request.content_type != "application/json":
        raise Problem(415, "8523", "Send the body as application/json.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"The body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise invalid("The body must be a JSON object.")
    return found
