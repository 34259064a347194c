"""Ids that we mint carry the number of the node that owns the call (protocol.md §3.5, RFC 9562 version 8).

A GUID reads xxxxxxxx-xxxx-8NNN-vxxx-xxxxxxxxxxxx: NNN is the node in hexadecimal, v the variant (8, 9, a, b),
x random. Randomness is an argument; this room draws none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import uuid
from typing import Final

from offhook.errors import WireError

MAX_NODE: Final = 0xFFF

_GUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-8(?P<node>[0-9a-f]{3})-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)
_SERVER_CALL: Final = re.compile(
    r"https://node-(?P<node>[0-9]{1,4})\.offhook\.invalid/conv/(?P<guid>[0-9a-f-]{36})\?i=0&e=[0-9]+",
    re.ASCII | re.IGNORECASE,
)


def mint_id(node: int, random16: bytes) -> str:
    """A new GUID of `node` (0 to 4095) from 16 random bytes. ValueError for a node or length out of range."""
    if not 0 <= node <= MAX_NODE or len(random16) != 16:
        raise ValueError("mint_id needs a node from 0 to 4095 and exactly 16 random bytes")
    raw = bytearray(random16)
    raw[6:8] = (0x8000 | node).to_bytes(2, "big")
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return str(uuid.UUID(bytes=bytes(raw)))


def sibling_id(id: str, name: str) -> str:
    """Another id of the same node: an id of ours with other digits at its end, which follow from a name."""
    return id[:-12] + hashlib.sha256(f"{id}/{name}".encode()).hexdigest()[:12]


def node_of(id: str) -> int:
    """The node inside an id of ours, in any letter case. WireError for any other text: no call here has it."""
    match = _GUID.fullmatch(id) if isinstance(id, str) else None
    if match is None:
        raise WireError("This id was not made by Offhook; use callConnectionId as the service gave it", "id")
    return int(match["node"], 16)


def server_call_id(node: int, call_guid: str) -> str:
    """The serverCallId of a call: base64 of a URL-like text, opaque to apps; it may end in '='."""
    text = f"https://node-{node}.offhook.invalid/conv/{call_guid}?i=0&e={node}"
    return base64.b64encode(text.encode("ascii")).decode("ascii")


def read_server_call_id(text: str) -> tuple[int, str]:
    """Node and call GUID of a serverCallId, with or without its padding. WireError for any other text."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        inner = base64.b64decode(padded, validate=True).decode("ascii")
    except (AttributeError, ValueError, binascii.Error):
        inner = ""
    match = _SERVER_CALL.fullmatch(inner)
    if match is None or int(match["node"]) > MAX_NODE:
        raise WireError("This serverCallId was not made by Offhook", "serverCallId")
    return int(match["node"]), match["guid"]
