"""Ids: the golden form, and the node that comes back out of them."""

from __future__ import annotations

import base64
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import WireError
from offhook.wire.ids import MAX_NODE, mint_id, node_of, read_server_call_id, server_call_id


def test_golden_form() -> None:
    """Other nodes and stored ids depend on this layout."""
    minted = mint_id(0x2A5, bytes(range(16)))
    assert minted == "00010203-0405-82a5-8809-0a0b0c0d0e0f"
    assert mint_id(0, b"\xff" * 16) == "ffffffff-ffff-8000-bfff-ffffffffffff"
    assert node_of(minted) == 0x2A5
    assert node_of(minted.upper()) == 0x2A5
    call = server_call_id(7, minted)
    assert base64.b64decode(call).decode() == f"https://node-7.offhook.invalid/conv/{minted}?i=0&e=7"
    assert read_server_call_id(call) == (7, minted)
    assert read_server_call_id(call.rstrip("=")) == (7, minted)


@given(st.integers(0, MAX_NODE), st.binary(min_size=16, max_size=16))
def test_ids_are_version_8_guids_that_carry_their_node(node: int, random16: bytes) -> None:
    minted = mint_id(node, random16)
    parsed = uuid.UUID(minted)
    assert (parsed.version, parsed.variant, str(parsed)) == (8, uuid.RFC_4122, minted)
    assert node_of(minted) == node
    assert read_server_call_id(server_call_id(node, minted)) == (node, minted)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_different_randomness_gives_different_ids(one: bytes, other: bytes) -> None:
    """110 of the 128 bits are random; only the fixed ones may be lost."""
    free = bytes([0xFF] * 6 + [0, 0, 0x3F] + [0xFF] * 7)
    same = all((a ^ b) & mask == 0 for a, b, mask in zip(one, other, free, strict=True))
    assert (mint_id(1, one) == mint_id(1, other)) is same


@pytest.mark.parametrize(("node", "size"), [(-1, 16), (MAX_NODE + 1, 16), (0, 15), (0, 17)])
def test_wrong_arguments_are_mistakes_of_ours(node: int, size: int) -> None:
    with pytest.raises(ValueError, match="4095"):
        mint_id(node, bytes(size))


@pytest.mark.parametrize(
    "text", ["", "cc-1", str(uuid.UUID(int=5, version=4)), "00010203-0405-82a5-0809-0a0b0c0d0e0f", "x" * 99999]
)
def test_foreign_ids_are_refused(text: str) -> None:
    with pytest.raises(WireError, match="not made by Offhook"):
        node_of(text)


@given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_any_text_is_an_id_or_the_one_error(text: str) -> None:
    for read in (node_of, read_server_call_id):
        with pytest.raises(WireError):
            read(text)


def test_server_call_ids_of_others_are_refused() -> None:
    too_high = base64.b64encode(b"https://node-9999.offhook.invalid/conv/00010203-0405-82a5-8809-0a0b0c0d0e0f?i=0&e=1")
    for text in ("aHR0cHM6Ly9jb252ZXJzYXRpb251cmwvdGVzdA", too_high.decode(), None):
        with pytest.raises(WireError, match="serverCallId"):
            read_server_call_id(text)  # type: ignore[arg-type]
