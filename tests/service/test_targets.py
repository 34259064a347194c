"""Whom the node may connect to: the address that is dialled counts, whatever its name said."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from offhook.service.posting import DeliveryReport, Post, Poster
from offhook.service.targets import TargetRefused, Targets, is_public, networks

STRICT = Targets()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "192.0.2.1", "64:ff9b:1::7f00:1", "fec0::1", "::7f00:1", "::ffff:0:7f00:1",
        "3fff::1", "2001:db8::1", "2001::1", "100::1", "5f00::1", "192.0.0.8", "192.88.99.1", "198.18.0.1", "240.0.0.1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused_with_the_setting(host: str) -> None:
    with pytest.raises(TargetRefused, match="allow_targets"):
        STRICT.check(host)
    Targets(private=True).check(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "2620:fe::fe"])
def test_what_is_public_is_allowed(host: str) -> None:
    STRICT.check(host)


@pytest.mark.parametrize(
    ("host", "public"),
    [("127.0.0.1", False), ("[::1]", False), ("8.8.8.8", True), ("app.example.com", True), ("LocalHost.", False)],
)
def test_what_can_be_told_of_a_host_before_it_is_looked_up(host: str, public: bool) -> None:
    assert is_public(host) is public


def test_networks_that_are_allowed() -> None:
    targets = Targets(allowed=networks(["10.20.0.0/16", "fd00::/8"]))
    targets.check("10.20.3.4")
    targets.check("fd00::1")
    targets.check("::ffff:10.20.3.4")
    with pytest.raises(TargetRefused):
        targets.check("10.21.3.4")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "2130706433", "0", "0x7f.1", "0x7f000001", "017700000001", "127.1",
        "0177.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "[::]", "localhost",
        "localhost.", "LOCALHOST", "[::127.0.0.1]", "127。0。0。1", "①②⑦.⓪.⓪.①", "user:pw@127.0.0.1",
        "8.8.8.8@127.0.0.1", "127.0.0.1%00.example.com", "[::1%25lo]",
    ],
)  # fmt: skip
async def test_no_spelling_of_this_machine_is_connected_to(host: str) -> None:
    reached: list[str] = []

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(host)
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        url = f"http://{host}:{server.sockets[0].getsockname()[1]}/x"
        reports: list[DeliveryReport] = []
        poster = Poster(None, targets=STRICT)
        await poster.send(Post("s", url, b"{}", "T", "id", dict), reports.append, tries=1)
        await poster.close()
        with pytest.raises((OSError, ValueError)):
            parts = urlsplit(url)
            await STRICT.connected(parts.hostname or "", parts.port or 0)
    assert reports[-1].status is None and reports[-1].error
    assert not reached


async def test_a_name_that_means_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def rebound(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", rebound)
    with pytest.raises(TargetRefused):
        await STRICT.connected("public.example", 80)


async def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()

    async def two(host: str, _: int, **kind: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]

    monkeypatch.setattr(loop, "getaddrinfo", two)
    made = await Targets(private=True).connected("app.example", port)
    assert made.getpeername() == ("127.0.0.1", port)
    made.close()
    server.close()
