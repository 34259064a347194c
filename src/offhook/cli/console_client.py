"""The command line's side of a node's console API: a signed GET, and one signed WebSocket for a simulated leg.

Every request carries the same HMAC signature as the REST API (protocol.md section 4.1), over an empty body.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from offhook.errors import ConfigError, OffhookError
from offhook.wire.signing import sign_hmac

DEFAULT_NODE = "http://127.0.0.1:8480"
LOCAL_KEY = "b2ZmaG9vay1sb2NhbC1kZXZlbG9wbWVudC1rZXktMDAwMQ=="  # public on purpose: a loopback node's documented key
KEY_VARIABLE = "OFFHOOK_ACCESS_KEY"
_WAIT = aiohttp.ClientTimeout(total=10, connect=5)


class NodeUnreachable(OffhookError):
    """The node did not answer, or did not accept us; the message is one line with the fix.

    `fix` stands for itself where the fault is known for sure: then it is not that no node is there.
    """

    def __init__(self, what: str, fix: str = "", status: int = 0) -> None:
        """`status`: what the node answered, if it did."""
        super().__init__(f"{what}: {fix}" if fix else what)
        self.what = what
        self.fix = fix
        self.status = status


@dataclass(frozen=True)
class NodeAddress:
    """Where a node listens and the key to sign with. `origin` is scheme://host[:port] without a path."""

    origin: str
    key: bytes

    @property
    def host(self) -> str:
        """The Host header as it is signed: with the port, unless it is the scheme's own."""
        return urlsplit(self.origin).netloc

    def headers(self, target: str) -> dict[str, str]:
        """Signature headers for a GET of `target` (path and query as sent)."""
        signed = sign_hmac("GET", target, self.host, formatdate(usegmt=True), b"", self.key)
        return dict(signed)


def node_address(text: str | None) -> NodeAddress:
    """Reads `--node`: an http(s) URL, or a whole connection string when the node has a key of its own.

    The key is that of the connection string, else of OFFHOOK_ACCESS_KEY, else the documented local one.
    Raises ConfigError.
    """
    url, key = text or DEFAULT_NODE, os.environ.get(KEY_VARIABLE) or LOCAL_KEY
    if "accesskey=" in url.lower():
        fields = dict(part.split("=", 1) for part in url.split(";") if "=" in part)
        lower = {name.strip().lower(): value for name, value in fields.items()}
        url, key = lower.get("endpoint", ""), lower["accesskey"]
    try:
        parts = urlsplit(url)
        port, usable = parts.port, parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or not parts.hostname:
        raise ConfigError(f"--node: '{url}' is not an http(s) URL like {DEFAULT_NODE}")
    try:
        raw_key = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("--node: the access key is not base64; copy it as `offhook dev` prints it") from None
    own_port = {"http": 80, "https": 443}[parts.scheme]
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return NodeAddress(f"{parts.scheme}://{name}" + (f":{port}" if port and port != own_port else ""), raw_key)


@asynccontextmanager
async def _session(address: NodeAddress) -> AsyncIterator[aiohttp.ClientSession]:
    trust = ssl.create_default_context() if address.origin.startswith("https:") else True
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust), timeout=_WAIT) as session:
        yield session


def _unreachable(address: NodeAddress, why: BaseException) -> NodeUnreachable:
    if isinstance(why, aiohttp.ClientConnectorCertificateError):
        reason = getattr(why.certificate_error, "verify_message", "") or str(why.certificate_error)
        return NodeUnreachable(
            f"the node at {address.origin} shows a certificate that is not trusted here ({reason})",
            "set SSL_CERT_FILE to the node's caBundle (ca-bundle.pem in its state directory), or use its http address",
        )
    if isinstance(why, TimeoutError):
        fix = "it did not answer in time"
    elif isinstance(why, aiohttp.ClientConnectorError):
        fix = "nothing listens there: start one with  offhook dev"
    else:
        fix = str(why) or type(why).__name__
    return NodeUnreachable(f"no node at {address.origin}: {fix}")


def _refused(address: NodeAddress, status: int, path: str, said: str = "") -> NodeUnreachable:
    if status == 401:
        return NodeUnreachable(
            f"the node at {address.origin} refused our key",
            f"give its connection string as --node, or set {KEY_VARIABLE}",
            status,
        )
    if said:
        return NodeUnreachable(f"the node at {address.origin} says: {said}", status=status)
    what = f"{address.origin}{path} answered HTTP {status}: is it an Offhook node of this version?"
    return NodeUnreachable(what, status=status)


def _said(data: bytes) -> str:
    """The message of an error body, on one line; empty for anything else."""
    try:
        message = json.loads(data)["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return "".join(c if c.isprintable() else " " for c in message)[:500] if isinstance(message, str) else ""


async def fetch(address: NodeAddress, path: str) -> Any:
    """Signed GET of a console path; the decoded JSON. Raises NodeUnreachable."""
    try:
        async with (
            _session(address) as session,
            session.get(address.origin + path, headers=address.headers(path), allow_redirects=False) as response,
        ):
            data = await response.read()
            if response.status != 200:
                raise _refused(address, response.status, path, _said(data))
            return json.loads(data)
    except (aiohttp.ClientError, OSError, TimeoutError) as why:
        raise _unreachable(address, why) from why
    except ValueError as why:
        raise NodeUnreachable(f"{address.origin}{path} answered no JSON: is it an Offhook node?") from why


async def download(address: NodeAddress, path: str, target: Path) -> int:
    """Signed GET of a console path into a file, whole or not at all; its bytes. NodeUnreachable, ConfigError."""
    draft = target.with_name(f".{target.name}.part")
    wait = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
    size = 0
    try:
        async with (
            _session(address) as session,
            session.get(
                address.origin + path, headers=address.headers(path), allow_redirects=False, timeout=wait
            ) as response,
        ):
            if response.status != 200:
                raise _refused(address, response.status, path, _said(await response.read()))
            with draft.open("wb") as file:
                async for piece in response.content.iter_chunked(1 << 16):
                    await asyncio.to_thread(file.write, piece)
                    size += len(piece)
        draft.replace(target)
    except (aiohttp.ClientError, TimeoutError) as why:
        raise _unreachable(address, why) from why
    except OSError as why:
        raise ConfigError(f"cannot write {target}: {why.strerror or why}") from why
    finally:
        draft.unlink(missing_ok=True)
    return size


def status(address: NodeAddress) -> dict[str, Any]:
    """The node's status object (the keys of `dev --json`'s first line). Raises NodeUnreachable."""
    found = asyncio.run(fetch(address, "/console/api/status"))
    if not isinstance(found, dict):
        raise NodeUnreachable(f"{address.origin}/console/api/status is no object: is it an Offhook node?")
    return found


def trace(address: NodeAddress, call_id: str) -> dict[str, Any]:
    """The trace of one call, by call id or call connection id. Raises NodeUnreachable."""
    found: dict[str, Any] = asyncio.run(fetch(address, f"/console/api/calls/{quote(call_id, safe='')}"))
    return found


@asynccontextmanager
async def open_leg(address: NodeAddress) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The socket of one simulated leg or phone. Raises NodeUnreachable when it cannot be opened."""
    path = "/console/api/leg"
    async with _session(address) as session:
        try:
            socket = await session.ws_connect(
                address.origin + path, headers=address.headers(path), max_msg_size=0, heartbeat=20.0
            )
        except aiohttp.WSServerHandshakeError as why:
            raise _refused(address, why.status, path) from why
        except (aiohttp.ClientError, OSError, TimeoutError) as why:
            raise _unreachable(address, why) from why
        async with socket:
            yield socket
