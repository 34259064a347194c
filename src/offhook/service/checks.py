"""Checks of what must work between a node and an app: TLS of the node, the app's webhook and its WebSocket.

`offhook doctor` makes them from where it runs, the console's setup page from the node.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from offhook.service.origins import Origins
from offhook.service.posting import request_url
from offhook.service.targets import TargetRefused, Targets
from offhook.wire.events import grid_time, subscription_validation

OK, FAIL, SKIP = "ok", "fail", "skip"
NO_NODE = "no node to ask; start one with  offhook dev"
_WAIT = aiohttp.ClientTimeout(total=10, connect=5)
_MOST_ANSWER = 64 * 1024


@dataclass(frozen=True)
class Check:
    """One finding. `result` is ok, fail or skip; a failure has a `fix`."""

    name: str
    result: str
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Network:
    """How the app is reached: what is trusted, where its URLs are dialled, and which addresses may be."""

    trust: ssl.SSLContext
    origins: Origins = field(default_factory=Origins)
    targets: Targets = field(default_factory=lambda: Targets(private=True))

    def session(self) -> aiohttp.ClientSession:
        """A session of its own for one check."""
        connector = aiohttp.TCPConnector(ssl=self.trust, force_close=True, socket_factory=self.targets.open_socket)
        straight = aiohttp.TraceConfig()
        straight.on_request_redirect.append(_refuse)
        jar = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(timeout=_WAIT, connector=connector, cookie_jar=jar, trace_configs=[straight])


async def _refuse(_: aiohttp.ClientSession, context: object, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    """Streams follow no redirect, so their check must not; aiohttp's sockets always do."""
    answer = redirect.response
    raise aiohttp.WSServerHandshakeError(answer.request_info, (), status=answer.status, headers=answer.headers)


async def tls(status: Mapping[str, Any] | None) -> Check:
    """A handshake with the node's TLS endpoint that trusts what the node's bundle does."""
    if status is None:
        return Check("tls", SKIP, NO_NODE)
    parts, bundle = urlsplit(str(status.get("endpoint"))), str(status.get("caBundle"))
    if parts.scheme != "https":
        return Check("tls", SKIP, f"{parts.geturl()} is plain HTTP")
    here = is_here(bundle)
    try:
        trust = await asyncio.to_thread(ssl.create_default_context, cafile=bundle if here else None)
    except (OSError, ssl.SSLError) as why:
        return Check("tls", FAIL, f"cannot read the node's bundle {bundle}: {why}", "run it as a user who may read it")
    problem = await handshake(status, trust)
    if problem is None:
        whose = f"the certificate {status['tlsCertificate']}" if status.get("tlsCertificate") else "a good certificate"
        return Check("tls", OK, f"{parts.netloc} shows {whose}")
    detail = f"{parts.netloc}: {reason(problem)}"
    if not here:
        return Check("tls", FAIL, detail, f"run it on the node's machine, or copy {bundle} from there")
    if getattr(problem, "verify_code", 0) in _OTHER_NAME:
        fix = "call the node by a name of its certificate, or set its public_url to this one"
        return Check("tls", FAIL, detail, fix)
    if status.get("tlsCertificate"):
        fix = "add the CA behind it to tls_certificate or to trust in [node], and start the node again"
        return Check("tls", FAIL, detail, fix)
    fix = (
        "if a proxy answers there, give programs its CA; if not: stop the node, remove server.pem and server-key.pem "
        "from its state directory (they are made anew), start it again"
    )
    return Check("tls", FAIL, detail, fix)


_OTHER_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


async def handshake(status: Mapping[str, Any], trust: ssl.SSLContext) -> Exception | None:
    """Shake hands with the node's endpoint; what went wrong, None when nothing did."""
    parts = urlsplit(str(status.get("endpoint")))
    host = parts.hostname or ""
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(host, parts.port or 443, ssl=trust, server_hostname=host), timeout=5
        )
    except (OSError, TimeoutError) as why:  # ssl.SSLError is an OSError
        return why
    writer.close()
    return None


def is_here(path: str) -> bool:
    return os.path.exists(path)


def reason(problem: Exception) -> str:
    return getattr(problem, "verify_message", "") or str(problem) or type(problem).__name__


def _dial_fix(why: BaseException, what: str) -> str:
    if isinstance(why, aiohttp.ClientConnectorCertificateError):
        return "give the CA of the app's certificate to the node:  offhook dev --trust ca.pem"
    if isinstance(why, aiohttp.ClientConnectorDNSError):
        return "the name does not resolve here: use  offhook dev --map https://NAME=http://127.0.0.1:PORT"
    if isinstance(why, aiohttp.ClientConnectorError) and isinstance(why.os_error, TargetRefused):
        return "the node may not connect there: add it to allow_targets in [node], if it should"
    if isinstance(why, aiohttp.ClientConnectorError):
        return f"start the app, and check the port of its {what}"
    return f"check the app's log: it did not answer on its {what}"


async def webhook(url: str, network: Network) -> Check:
    """Posts the validation event of an Event Grid subscription and looks for its answer (protocol.md section 6.2)."""
    code = str(uuid.uuid4())
    body = subscription_validation(
        event_id=str(uuid.uuid4()), topic="/offhook/doctor", time=grid_time(time.time()), code=code, url=url
    )
    headers = {**network.origins.headers(url), "Content-Type": "application/json"}
    headers["aeg-event-type"] = "SubscriptionValidation"
    try:
        async with (
            network.session() as session,
            session.post(
                request_url(network.origins.dial(url)), data=body, headers=headers, allow_redirects=False
            ) as response,
        ):
            answer, status = await _start(response), response.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as why:
        return Check("webhook", FAIL, f"{url}: {str(why) or type(why).__name__}", _dial_fix(why, "event route"))
    if status in (401, 403, 404, 405):
        return Check("webhook", FAIL, f"{url} answered {status} to a POST", "give the path of the app's event route")
    if _validated(answer, code):
        return Check("webhook", OK, f"{url} validates itself")
    return Check(
        "webhook",
        FAIL,
        f"{url} answered {status} without the validation code",
        'answer SubscriptionValidationEvent with 200 and {"validationResponse": data.validationCode}',
    )


async def _start(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of a body."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= _MOST_ANSWER:
            break
    return bytes(body)


def _validated(answer: bytes, code: str) -> bool:
    try:
        fields = json.loads(answer)
    except ValueError:
        return False
    return isinstance(fields, dict) and code in [
        fields[name] for name in fields if name.lower() == "validationresponse"
    ]


async def websocket(url: str, network: Network) -> Check:
    """Opens the app's socket as far as the upgrade. An app that asks for a token is reachable: the node has one."""
    try:
        async with network.session() as session:
            place, headers = request_url(network.origins.dial(url)), network.origins.headers(url)
            await (await session.ws_connect(place, headers=headers)).close()
    except aiohttp.WSServerHandshakeError as why:
        if why.status in (401, 403):
            return Check("websocket", OK, f"{url} asks for a token ({why.status}), which the node sends")
        return Check(
            "websocket",
            FAIL,
            f"{url} answered {why.status} to the upgrade",
            "check the path of the transport URL, and that a proxy before the app passes WebSockets on",
        )
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as why:
        return Check("websocket", FAIL, f"{url}: {str(why) or type(why).__name__}", _dial_fix(why, "stream route"))
    return Check("websocket", OK, f"{url} takes connections")
