"""The single checks of `offhook doctor`: each looks at one thing and says what it found and what to do about it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import certifi

from offhook.cli.console_client import NodeAddress, NodeUnreachable
from offhook.cli.node_env import TRUST_VARIABLES
from offhook.wire.events import grid_time, subscription_validation

OK, FAIL, SKIP = "ok", "fail", "skip"
MAX_SKEW_SECONDS = 300
_WAIT = aiohttp.ClientTimeout(total=10, connect=5)
_NO_NODE = "no node to ask; start one with  offhook dev"


@dataclass(frozen=True)
class Check:
    """One finding. `result` is ok, fail or skip; a failure has a `fix`."""

    name: str
    result: str
    detail: str
    fix: str = ""


async def port(address: NodeAddress, status: Mapping[str, Any] | None, why: NodeUnreachable | None) -> Check:
    """Whether the node answers; if not, whether its port is free, or taken by another program."""
    if status is not None or why is None:
        return Check("port", OK, f"a node answers at {address.origin}")
    if why.fix:
        return Check("port", FAIL, why.what, why.fix)
    refusal = str(why)
    parts = urlsplit(address.origin)
    host, number = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, number), 3)
        writer.close()
    except (OSError, TimeoutError):
        return _bindable(host, number, refusal)
    return Check(
        "port", FAIL, refusal, f"another program may have port {number}: stop it, or use  offhook dev --port N"
    )


def _bindable(host: str, number: int, refusal: str) -> Check:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(where)
    except OSError as why:
        if why.errno == errno.EADDRNOTAVAIL or isinstance(why, socket.gaierror):
            return Check("port", FAIL, refusal, f"'{host}' is no address of this machine: check --node and the network")
        return Check("port", FAIL, f"port {number}: {why.strerror or why}", "use another one:  offhook dev --port N")
    return Check("port", OK, f"port {number} is free; no node runs there yet:  offhook dev --port {number}")


async def tls(status: Mapping[str, Any] | None) -> Check:
    """A handshake with the node's TLS endpoint that trusts what the node's bundle does."""
    if status is None:
        return Check("tls", SKIP, _NO_NODE)
    parts, bundle = urlsplit(str(status.get("endpoint"))), str(status.get("caBundle"))
    if parts.scheme != "https":
        return Check("tls", SKIP, f"{parts.geturl()} is plain HTTP")
    here = _is_here(bundle)
    try:
        trust = ssl.create_default_context(cafile=bundle if here else None)
    except (OSError, ssl.SSLError) as why:
        return Check("tls", FAIL, f"cannot read the node's bundle {bundle}: {why}", "run it as a user who may read it")
    problem = await _handshake(status, trust)
    if problem is None:
        whose = f"the certificate {status['tlsCertificate']}" if status.get("tlsCertificate") else "a good certificate"
        return Check("tls", OK, f"{parts.netloc} shows {whose}")
    detail = f"{parts.netloc}: {_reason(problem)}"
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


async def _handshake(status: Mapping[str, Any], trust: ssl.SSLContext) -> Exception | None:
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


def _is_here(path: str) -> bool:
    return os.path.exists(path)


def _reason(problem: Exception) -> str:
    return getattr(problem, "verify_message", "") or str(problem) or type(problem).__name__


async def clock(address: NodeAddress, status: Mapping[str, Any] | None) -> Check:
    """How far this clock is from the node's: signatures are refused beyond five minutes."""
    if status is None:
        return Check("clock", SKIP, _NO_NODE)
    path = "/console/api/status"
    try:
        async with (
            aiohttp.ClientSession(timeout=_WAIT) as session,
            session.get(address.origin + path, headers=address.headers(path)) as response,
        ):
            skew = time.time() - parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (aiohttp.ClientError, OSError, TimeoutError, KeyError, ValueError) as why:
        return Check("clock", FAIL, f"the node's time could not be read: {why}", "run the doctor again")
    if abs(skew) > MAX_SKEW_SECONDS:
        return Check("clock", FAIL, f"this clock is {skew:+.0f} s off the node's", "set both by NTP")
    return Check("clock", OK, f"within {max(1, round(abs(skew)))} s of the node's")


async def trust_variables(status: Mapping[str, Any] | None) -> list[Check]:
    """Whether the programs started from this environment would trust the node's certificate."""
    if status is None:
        return [Check("trust", SKIP, _NO_NODE)]
    if not str(status.get("endpoint")).startswith("https:"):
        return [Check("trust", SKIP, f"{status.get('endpoint')} is plain HTTP")]
    return [await _trust_variable(name, status) for name in TRUST_VARIABLES]


_READERS = {
    "SSL_CERT_FILE": "Python's async SDK",
    "REQUESTS_CA_BUNDLE": "Python's sync SDK",
    "NODE_EXTRA_CA_CERTS": "Node.js",
}


async def _trust_variable(name: str, status: Mapping[str, Any]) -> Check:
    fix = "start the app with  offhook exec -- CMD , or paste the export lines of  offhook dev"
    value = os.environ.get(name)
    try:
        problem = await _handshake(status, _trusting(name, value))
    except (OSError, ssl.SSLError) as why:
        return Check("trust", FAIL, f"{name}={value}: cannot be read as PEM: {why}", fix)
    if problem is None:
        return Check("trust", OK, f"{name} {'vouches for' if value else 'is not set, and not needed for'} the node")
    if not isinstance(problem, ssl.SSLError):
        return Check("trust", SKIP, f"{name} cannot be tried: {_reason(problem)}")
    state = f"{name}={value}" if value else f"{name} is not set"
    return Check("trust", FAIL, f"{state}: {_READERS[name]} will not trust the node ({_reason(problem)})", fix)


def _trusting(name: str, value: str | None) -> ssl.SSLContext:
    """What a program trusts that reads this variable: it replaces the roots, or in Node.js comes on top of them."""
    if name == "SSL_CERT_FILE":
        return ssl.create_default_context(cafile=value)
    roots = value if value and name == "REQUESTS_CA_BUNDLE" else certifi.where()
    context = ssl.create_default_context(cafile=roots)
    if value:
        context.load_verify_locations(cafile=value)
    return context


def outbound_trust(status: Mapping[str, Any] | None, extra: list[Path]) -> ssl.SSLContext | Check:
    """What a node would trust when it dials the app: the public roots, its own CA, and --trust."""
    context = ssl.create_default_context()
    files = [str(path) for path in extra]
    if status is not None and _is_here(str(status.get("caBundle"))):
        files.append(str(status.get("caBundle")))
    for path in files:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as why:
            return Check("trust", FAIL, f"{path}: cannot be read as PEM: {why}", "give --trust a PEM file of CAs")
    return context


def _dial_fix(why: BaseException, what: str) -> str:
    if isinstance(why, aiohttp.ClientConnectorCertificateError):
        return "give the CA of the app's certificate to the node:  offhook dev --trust ca.pem"
    if isinstance(why, aiohttp.ClientConnectorDNSError):
        return "the name does not resolve here: use  offhook dev --map https://NAME=http://127.0.0.1:PORT"
    if isinstance(why, aiohttp.ClientConnectorError):
        return f"start the app, and check the port of its {what}"
    return f"check the app's log: it did not answer on its {what}"


async def webhook(url: str, trust: ssl.SSLContext) -> Check:
    """Posts the validation event of an Event Grid subscription and looks for its answer (protocol.md section 6.2)."""
    code = str(uuid.uuid4())
    body = subscription_validation(
        event_id=str(uuid.uuid4()), topic="/offhook/doctor", time=grid_time(time.time()), code=code, url=url
    )
    headers = {"Content-Type": "application/json", "aeg-event-type": "SubscriptionValidation"}
    try:
        async with (
            aiohttp.ClientSession(timeout=_WAIT, connector=aiohttp.TCPConnector(ssl=trust)) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            answer, status = await response.content.read(1 << 20), response.status
    except (aiohttp.ClientError, OSError, TimeoutError) as why:
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


def _validated(answer: bytes, code: str) -> bool:
    try:
        fields = json.loads(answer)
    except ValueError:
        return False
    return isinstance(fields, dict) and code in [
        fields[name] for name in fields if name.lower() == "validationresponse"
    ]


async def websocket(url: str, trust: ssl.SSLContext) -> Check:
    """Opens the app's socket as far as the upgrade. An app that asks for a token is reachable: the node has one."""
    try:
        async with aiohttp.ClientSession(timeout=_WAIT, connector=aiohttp.TCPConnector(ssl=trust)) as session:
            await (await session.ws_connect(url)).close()
    except aiohttp.WSServerHandshakeError as why:
        if why.status in (401, 403):
            return Check("websocket", OK, f"{url} asks for a token ({why.status}), which the node sends")
        return Check(
            "websocket",
            FAIL,
            f"{url} answered {why.status} to the upgrade",
            "check the path of the transport URL, and that a proxy before the app passes WebSockets on",
        )
    except (aiohttp.ClientError, OSError, TimeoutError) as why:
        return Check("websocket", FAIL, f"{url}: {str(why) or type(why).__name__}", _dial_fix(why, "stream route"))
    return Check("websocket", OK, f"{url} takes connections")
