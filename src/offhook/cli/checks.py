"""The single checks of `offhook doctor`: each looks at one thing and says what it found and what to do about it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import certifi

from offhook.cli.console_client import NodeAddress, NodeUnreachable
from offhook.service.app_environment import TRUST_VARIABLES
from offhook.service.checks import FAIL, NO_NODE, OK, SKIP, Check, handshake, is_here, reason

MAX_SKEW_SECONDS = 300
_WAIT = aiohttp.ClientTimeout(total=10, connect=5)


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


async def clock(address: NodeAddress, status: Mapping[str, Any] | None) -> Check:
    """How far this clock is from the node's: signatures are refused beyond five minutes."""
    if status is None:
        return Check("clock", SKIP, NO_NODE)
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
        return [Check("trust", SKIP, NO_NODE)]
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
        problem = await handshake(status, _trusting(name, value))
    except (OSError, ssl.SSLError) as why:
        return Check("trust", FAIL, f"{name}={value}: cannot be read as PEM: {why}", fix)
    if problem is None:
        return Check("trust", OK, f"{name} {'vouches for' if value else 'is not set, and not needed for'} the node")
    if not isinstance(problem, ssl.SSLError):
        return Check("trust", SKIP, f"{name} cannot be tried: {reason(problem)}")
    state = f"{name}={value}" if value else f"{name} is not set"
    return Check("trust", FAIL, f"{state}: {_READERS[name]} will not trust the node ({reason(problem)})", fix)


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
    if status is not None and is_here(str(status.get("caBundle"))):
        files.append(str(status.get("caBundle")))
    for path in files:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as why:
            return Check("trust", FAIL, f"{path}: cannot be read as PEM: {why}", "give --trust a PEM file of CAs")
    return context
