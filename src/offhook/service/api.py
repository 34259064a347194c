"""The REST API: signature, api-version, repeatability and error envelope round the table of operations.

Protocol.md §3 (operations, errors, repeatability) and §4 (signatures). The order of checks is the order in which an
app needs to be told: path and body size, signature, operation, version, repeated id, body, then the call itself.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from offhook.errors import CallError, OutcomeError, SignatureError, UnsupportedError, WireError
from offhook.service.bearer import HOW, BearerCheck
from offhook.service.exchange import Exchange
from offhook.service.older_operations import PATHS, serves
from offhook.service.operations import Asked, CallControl, Operation, find
from offhook.service.users import Users
from offhook.wire.fields import WireStruct
from offhook.wire.identities import IDENTITY_VERSIONS
from offhook.wire.models import API_VERSIONS, CallConnectionProperties, encode, error_of
from offhook.wire.results import Result, result
from offhook.wire.signing import TokenIssuer, verify_hmac

__all__ = ["Api", "CallControl"]

log = logging.getLogger(__name__)

MAX_BODY: Final = 1024 * 1024
BODY_TIMEOUT_S: Final = 30.0
REPEAT_LIFE_S: Final = 3600.0
REPEAT_LIMIT: Final = 10_000
_MAX_ECHO: Final = 256

_CLIENT_REQUEST_ID: Final = "x-ms-client-request-id"
_REPEAT_ID: Final = "Repeatability-Request-ID"


class _Refused(Exception):
    """The request ends here with a row of the results table."""

    def __init__(self, outcome: str, detail: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(outcome)
        self.row = result(outcome)
        self.detail = detail
        self.headers = headers or {}


@dataclass(slots=True)
class _Reply:
    """What goes back: `repeated` when the operation was done by an earlier request with the same id."""

    status: int
    body: bytes = b""
    connection: str | None = None
    correlation: str | None = None
    headers: dict[str, str] | None = None
    repeated: bool = False
    problem: str = ""
    operation: Operation | None = None
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Done:
    """A repeatable request that succeeded."""

    operation: str
    path: str
    at: float
    answer: WireStruct | None


class _Repeats:
    """Successful repeatable requests of the last hour, at most `REPEAT_LIMIT` of them. Failures may be tried again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._done: OrderedDict[str, _Done] = OrderedDict()

    def find(self, request_id: str) -> _Done | None:
        oldest_kept = self._clock() - REPEAT_LIFE_S
        while self._done and next(iter(self._done.values())).at < oldest_kept:
            self._done.popitem(last=False)
        return self._done.get(request_id)

    def keep(self, request_id: str, operation: str, path: str, answer: WireStruct | None) -> None:
        self._done[request_id] = _Done(operation, path, self._clock(), answer)
        if len(self._done) > REPEAT_LIMIT:
            self._done.popitem(last=False)


class Api:
    """The REST API of one node as an aiohttp handler."""

    def __init__(
        self,
        control: CallControl,
        keys: Callable[[], Sequence[bytes]],
        clock: Callable[[], float],
        issuer: TokenIssuer | None,
        endpoint: Callable[[web.Request], str],
        *,
        bearer: BearerCheck | None = None,
        users: Users | None = None,
    ) -> None:
        """`keys`: access keys valid now. `clock`: Unix seconds. `endpoint`: our base URL as the asker reaches it.

        `bearer` None: no bearer token is taken. `users` None: the paths of identities are not known.
        """
        self._control = control
        self._keys = keys
        self._clock = clock
        self._issuer = issuer
        self._endpoint = endpoint
        self._bearer = bearer
        self._users = users
        self._repeats = _Repeats(clock)

    def routes(self) -> list[web.RouteDef]:
        """The two public pages and everything else; add them last, for the last one takes every path."""
        return [
            web.get("/calling/keys", self._show_keys),
            web.get("/calling/.well-known/acsopenidconfiguration", self._show_openid),
            web.route("*", "/{path:(?s:.*)}", self.handle),
        ]

    async def _show_keys(self, request: web.Request) -> web.Response:
        return self._page(self._issuer.jwks() if self._issuer else None)

    async def _show_openid(self, request: web.Request) -> web.Response:
        return self._page(self._issuer.openid_configuration(self._endpoint(request)) if self._issuer else None)

    def _page(self, page: dict[str, Any] | None) -> web.Response:
        if page is None:
            row = result("path_not_found")
            return web.Response(status=row.http, body=error_of(row, "No tokens are issued here."), content_type=_JSON)
        return web.Response(body=encode(page), content_type=_JSON)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request. Whatever happens inside, the app gets the error envelope."""
        target, began, body = _origin_form(request.raw_path), time.perf_counter(), b""
        try:
            body = await self._body(request)
            self._known(target)
            await self._authorise(request, target, body)
            reply = self._reply(request, target, body)
        except _Refused as refused:
            reply = _refusal(refused.row, refused.detail, refused.headers)
        except Exception:
            log.exception("%s %s failed", request.method, target)
            reply = _refusal(result("internal_error"), "See the log of the service.")
        self._note(request.method, target, body, reply, began)
        return self._respond(request, reply)

    async def refusal(self, request: web.Request, *hosts: str) -> web.Response | None:
        """The answer to a request without a body that is not of an app of ours; None: it is, by key or by token.

        `hosts`: further host names that it may be signed for.
        """
        try:
            await self._authorise(request, _origin_form(request.raw_path), b"", hosts)
        except _Refused as refused:
            return self._respond(request, _refusal(refused.row, refused.detail, refused.headers))
        return None

    def answer_with(self, request: web.Request, outcome: str, detail: str) -> web.Response:
        """The error envelope of a row, for pages beside the operations."""
        return self._respond(request, _refusal(result(outcome), detail))

    async def _body(self, request: web.Request) -> bytes:
        """The body, never more than 1 MiB of it and never waiting longer than 30 s."""
        limit = f"At most {MAX_BODY} bytes."
        if (request.content_length or 0) > MAX_BODY:
            raise _Refused("too_large", limit)
        if not request.can_read_body:
            return b""
        chunks = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in request.content.iter_any():
                    chunks += chunk
                    if len(chunks) > MAX_BODY:
                        raise _Refused("too_large", limit)
        except TimeoutError:
            raise _Refused("request_timeout", f"The body did not arrive within {BODY_TIMEOUT_S:g} s.") from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
            raise _Refused("invalid_argument", f"The body cannot be read: {error}") from None
        return bytes(chunks)

    def _reply(self, request: web.Request, target: str, body: bytes) -> _Reply:
        """Everything after the app is known. Never waits, so two requests with one id cannot overlap."""
        path, _, query = target.partition("?")
        users = None if path.startswith(_CALLING) else self._users
        operation, ids, methods = find(request.method, path, PATHS if users is None else users.paths)
        if operation is None:
            if methods:
                allow = ", ".join(methods)
                raise _Refused("method_not_allowed", f"It takes {allow}.", {"Allow": allow})
            raise _Refused("path_not_found", f"{path} is not a path of this API.")
        try:
            versions = API_VERSIONS if users is None else IDENTITY_VERSIONS
            asked = Asked(ids, _api_version(query, versions), body, _page(query), self._endpoint(request))
            if not serves(operation, asked.api_version):
                raise _Refused("path_not_found", f"{operation.name} is not in api-version {asked.api_version}.")
            reply = self._perform(operation, asked, path, request.headers.get(_REPEAT_ID))
        except _Refused as refused:
            reply = _refusal(refused.row, refused.detail, refused.headers)
        except UnsupportedError as error:
            reply = _refusal(result("not_supported"), error.message)
        except WireError as error:
            reply = _refusal(result("invalid_argument"), error.message)
        except OutcomeError as error:
            reply = _refusal(result(error.outcome), error.detail)
        reply.operation, reply.ids = operation, ids
        return reply

    def _known(self, target: str) -> None:
        """Refuse a path that is of no API of ours."""
        path = target.partition("?")[0]
        if not path.startswith(_CALLING if self._users is None else (_CALLING, *_IDENTITIES)):
            raise _Refused("path_not_found", f"{path} is not a path of this API.")

    async def _authorise(self, request: web.Request, target: str, body: bytes, further: Sequence[str] = ()) -> None:
        authorization = request.headers.get("Authorization", "")
        if authorization.lower().startswith("bearer "):
            if self._bearer is None:
                raise _Refused("invalid_token", f"This service takes no bearer tokens: {HOW}.")
            try:
                return await self._bearer.check(authorization, self._clock())
            except OutcomeError as error:
                raise _Refused(error.outcome, error.detail, {"WWW-Authenticate": "Bearer"}) from None
        headers = {name.lower(): value for name, value in request.headers.items()}
        reason = "No access key is set."
        for key in self._keys():
            try:
                hosts = (urlsplit(self._endpoint(request)).netloc, *further)
                return verify_hmac(request.method, target, headers, body, key, self._clock(), hosts=hosts)
            except SignatureError as error:
                reason = error.message
        raise _Refused("unauthorized", reason, {"WWW-Authenticate": "HMAC-SHA256"})

    def _perform(self, operation: Operation, asked: Asked, path: str, repeat_id: str | None) -> _Reply:
        if operation.run is None:
            raise _Refused("not_built", f"{operation.name} ({operation.method} {operation.path}).")
        repeat_id = repeat_id if operation.repeatable else None
        done = self._repeats.find(repeat_id) if repeat_id else None
        if done is not None and (done.operation, done.path) != (operation.name, path):
            raise _Refused("repeatability_conflict", f"It was {done.operation}; send a new id with each new request.")
        answer = self._as_of_now(done.answer) if done is not None else operation.run(self._control, asked)
        reply = _Reply(operation.success, b"" if answer is None else encode(answer), repeated=done is not None)
        if isinstance(answer, CallConnectionProperties):
            reply.connection, reply.correlation = answer.call_connection_id, answer.correlation_id
        if repeat_id:
            reply.headers = {"Repeatability-Result": "accepted"}
            if done is None:
                self._repeats.keep(repeat_id, operation.name, path, answer)
        return reply

    def _as_of_now(self, answer: WireStruct | None) -> WireStruct | None:
        """The answer to a repeated request: same ids, the state that the call has now."""
        if not isinstance(answer, CallConnectionProperties):
            return answer
        try:
            return self._control.properties(answer.call_connection_id)
        except CallError:
            return msgspec.structs.replace(answer, call_connection_state="disconnected")

    def _note(self, method: str, target: str, body: bytes, reply: _Reply, began: float) -> None:
        """Tell of every request to an operation; of one that is not an app's, when its path names a call."""
        operation, ids, trusted = reply.operation, reply.ids, reply.operation is not None
        if operation is None:
            operation, ids, _ = find(method, target.partition("?")[0])
        connection = reply.connection or ids.get("callConnectionId")
        if operation is None or not (trusted or connection):
            return
        detail: dict[str, Any] = {"error": reply.problem} if reply.problem else {}
        if reply.repeated:
            detail["repeated"] = True
        exchange = Exchange(method, target, (time.perf_counter() - began) * 1000, body, reply.body, ids, trusted)
        try:
            self._control.note_request(connection, operation.name, reply.status, detail, exchange)
        except Exception:
            log.exception("the request %s could not be traced", operation.name)

    def _respond(self, request: web.Request, reply: _Reply) -> web.Response:
        headers = {"X-Microsoft-Skype-Chain-ID": reply.correlation or str(uuid.uuid4()), **(reply.headers or {})}
        client_id = request.headers.get(_CLIENT_REQUEST_ID, "")
        if client_id.isascii() and client_id.isprintable() and 0 < len(client_id) <= _MAX_ECHO:
            headers[_CLIENT_REQUEST_ID] = client_id
        if not reply.body:
            return web.Response(status=reply.status, headers=headers)
        return web.Response(status=reply.status, headers=headers, body=reply.body, content_type=_JSON, charset="utf-8")


_JSON: Final = "application/json"
_CALLING: Final = "/calling/"
_IDENTITIES: Final = ("/identities", "/teamsUser/")


def _origin_form(raw: str) -> str:
    """The request target without scheme and host, should a client have sent it in absolute form (RFC 9112 §3.2.2)."""
    if raw.startswith("/"):
        return raw
    scheme, separator, rest = raw.partition("://")
    return f"/{rest.partition('/')[2]}" if separator and scheme.lower() in ("http", "https") else raw


def _api_version(query: str, versions: Sequence[str]) -> str:
    known = ", ".join(versions)
    asked = dict(parse_qsl(query, keep_blank_values=True)).get("api-version")
    if not asked:
        raise _Refused("unsupported_version", f"Add ?api-version= with one of {known}.")
    for version in versions:
        if version == asked.lower():
            return version
    raise _Refused("unsupported_version", f"{asked[:40]!a} is none of {known}.")


def _page(query: str) -> int:
    """The page that a nextLink of ours asks for."""
    page = dict(parse_qsl(query)).get("page", "1")
    if re.fullmatch("[1-9][0-9]{0,5}", page) is None:
        raise _Refused("invalid_argument", "page: take the nextLink as it was given.")
    return int(page)


def _refusal(row: Result, detail: str, headers: dict[str, str] | None = None) -> _Reply:
    """The error envelope of a row. A row of how calls end has no status of its own; its code, if one fits, is it."""
    status = row.http if row.http >= 400 else row.code if 400 <= row.code < 600 else 500
    if status == 429:
        headers = {"Retry-After": "1", **(headers or {})}
    return _Reply(status, error_of(row, detail), headers=headers, problem=row.text(detail))
