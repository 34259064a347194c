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

from offhook.cli.console_client import NodeAddress
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


async def port(address: NodeAddress, status: Mapping[str, Any] | None, refusal: str) -> Check:
    """Whether the node answers; if not, whether its port is free, or taken by another program."""
    if status is not None:
        return Check("port", OK, f"a node answers at {address.origin}")
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
    """A handshake with the node's TLS endpoint that trusts the local CA alone."""
    if status is None:
        return Check("tls", SKIP, _NO_NODE)
    parts = urlsplit(str(status.get("endpoint")))
    try:
        trust = ssl.create_default_context(cafile=str(status.get("caFile")))
    except (OSError, ssl.SSLError) as why:
        return Check(
            "tls", FAIL, f"cannot read the CA {status.get('caFile')}: {why}", "run it on the node's machine, or copy it"
        )
    problem = await _handshake(parts.hostname or "", parts.port or 443, trust)
    if problem is None:
        return Check("tls", OK, f"{parts.netloc} shows a certificate of the local CA")
    return Check(
        "tls",
        FAIL,
        f"{parts.netloc}: {problem}",
        "stop the node, delete the certificates in its --state directory, start it again, restart your app",
    )


async def _handshake(host: str, number: int, trust: ssl.SSLContext) -> str | None:
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(host, number, ssl=trust, server_hostname=host), timeout=5
        )
    except (OSError, TimeoutError) as why:  # ssl.SSLError is an OSError
        return str(why) or type(why).__name__
    writer.close()
    return None


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


def trust_variables(status: Mapping[str, Any] | None) -> list[Check]:
    """Whether the programs started from this environment would trust the node's certificate."""
    if status is None:
        return [Check("trust", SKIP, _NO_NODE)]
    return [_trust_variable(name, str(status.get("caFile"))) for name in TRUST_VARIABLES]


_READERS = {
    "SSL_CERT_FILE": "Python's async SDK",
    "REQUESTS_CA_BUNDLE": "Python's sync SDK",
    "NODE_EXTRA_CA_CERTS": "Node.js",
}


def _trust_variable(name: str, ca_file: str) -> Check:
    fix = "start the app with  offhook exec -- CMD , or paste the export lines of  offhook dev"
    value = os.environ.get(name)
    if not value:
        return Check("trust", FAIL, f"{name} is not set: {_READERS[name]} will not trust the node", fix)
    try:
        ours = _certificates(ca_file)
        theirs = _certificates(value)
    except (OSError, ssl.SSLError) as why:
        return Check("trust", FAIL, f"{name}={value}: cannot be read as PEM: {why}", fix)
    if ours <= theirs:
        return Check("trust", OK, f"{name} holds the node's CA")
    return Check("trust", FAIL, f"{name}={value} does not hold the node's CA (another --state, or an old one?)", fix)


def _certificates(path: str) -> set[bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=path)
    return set(context.get_ca_certs(binary_form=True))


def outbound_trust(status: Mapping[str, Any] | None, extra: list[Path]) -> ssl.SSLContext | Check:
    """What a node would trust when it dials the app: the public roots, its own CA, and --trust."""
    context = ssl.create_default_context()
    files = [str(path) for path in extra]
    if status is not None:
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
