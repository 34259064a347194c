"""The signalling sockets: connections of ours and of others, TLS by name, both families, and what cannot be sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.live import until
from tests.tls import Authority

from offhook.errors import ConfigError
from offhook.legs import sip_sockets
from offhook.legs.sip_sockets import Place, SipSockets, mapped, place_of, unmapped
from offhook.sip.transaction import Peer

PING, MESSAGE = b"\r\n\r\n", b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Owner:
    """Keeps what it is told."""

    messages: list[tuple[bytes, Peer]] = field(default_factory=list)
    problems: list[tuple[Peer, str]] = field(default_factory=list)
    gone: list[Peer] = field(default_factory=list)
    kept_: set[Place] = field(default_factory=set)
    open: bool = True
    late: float = 0.0

    def now(self) -> float:
        return time.monotonic() + self.late

    def received(self, data: bytes, peer: Peer) -> None:
        self.messages.append((data, peer))

    def hears(self, peer: Peer) -> bool:
        return self.open

    def kept(self) -> set[Place]:
        return self.kept_

    def broken(self, peer: Peer, reason: str) -> None:
        self.problems.append((peer, reason))

    def closed(self, peer: Peer) -> None:
        self.gone.append(peer)


@contextlib.asynccontextmanager
async def sockets(
    host: str = "127.0.0.1", tls: sip_sockets.Contexts | None = None
) -> AsyncIterator[tuple[SipSockets, Owner]]:
    owner = Owner()
    made = SipSockets(owner)
    await made.start(host, 0, tls)
    try:
        yield made, owner
    finally:
        made.close()


class Taking(asyncio.Protocol):
    """A place that takes connections: how many, and what comes."""

    def __init__(self) -> None:
        self.connections: list[asyncio.BaseTransport] = []
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connections.append(transport)

    def data_received(self, data: bytes) -> None:
        self.got += data


@contextlib.asynccontextmanager
async def place(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, Taking]]:
    taking = Taking()
    server = await asyncio.get_running_loop().create_server(lambda: taking, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], taking
    finally:
        for connection in taking.connections:
            connection.close()
        server.close()


async def test_several_messages_to_one_place_go_by_one_connection() -> None:
    async with place() as (port, there), sockets() as (ours, _):
        peer = Peer("tcp", "127.0.0.1", port)
        for word in (b"one", b"two", b"three", b"four"):
            ours.send(word, peer)
        await until(lambda: there.got == b"onetwothreefour", "all of them in order")
        ours.send(b"five", peer)
        await until(lambda: there.got.endswith(b"five"), "one more")
        assert len(there.connections) == 1


async def test_a_place_that_takes_no_connection_is_told_once() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        peer = Peer("tcp", "127.0.0.1", nobody.getsockname()[1])
        async with sockets() as (ours, owner):
            for _ in range(3):
                ours.send(b"x", peer)
            await until(lambda: owner.problems, "a problem")
            assert [found for found, _ in owner.problems] == [peer]


@pytest.mark.parametrize("name", ["carrier.example", ""])
async def test_tls_shows_the_name_that_was_asked_for(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    asked: list[str | None] = []
    context = authority.server(name or "127.0.0.1")
    context.sni_callback = lambda _, said, __: asked.append(said)
    tls = (authority.server("node"), authority.client())
    async with place(context) as (port, there), sockets(tls=tls) as (ours, owner):
        ours.send(b"hello", Peer("tls", "127.0.0.1", port, name=name))
        await until(lambda: there.got or owner.problems, "a connection")
        assert there.got == b"hello" and asked == [name or None]


async def test_tls_refuses_another_name_and_says_so(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = (authority.server("node"), authority.client())
    async with place(authority.server("other.example")) as (port, there), sockets(tls=tls) as (ours, owner):
        ours.send(b"hello", Peer("tls", "127.0.0.1", port, name="carrier.example"))
        await until(lambda: owner.problems, "the reason")
        assert "not valid for 'carrier.example'" in owner.problems[0][1] and not there.got


async def test_tls_is_not_plain_where_it_was_not_set_up() -> None:
    async with place() as (port, there), sockets() as (ours, owner):
        ours.send(b"secret", Peer("tls", "127.0.0.1", port))
        await until(lambda: owner.problems, "the reason")
        assert "TLS" in owner.problems[0][1] and not there.got


@pytest.mark.parametrize(
    "peer", [Peer("udp", "127.0.0.1", 65536), Peer("udp", "no..name", 5060), Peer("udp", "255.255.255.255", 9)],
)  # fmt: skip
async def test_a_datagram_that_cannot_be_sent_is_told(peer: Peer) -> None:
    async with sockets() as (ours, owner):
        ours.send(b"x", peer)
        await until(lambda: owner.problems, "a problem")
        assert owner.problems[0][0] == peer and owner.problems[0][1]
        ours.send(b"y", Peer("udp", "127.0.0.1", ours.ports["udp"]))
        await until(lambda: owner.messages, "the socket is there still")


async def test_both_families_on_one_port_by_their_own_addresses() -> None:
    async with sockets("::") as (ours, owner):
        for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            with socket.socket(family, socket.SOCK_DGRAM) as phone:
                phone.bind((host, 0))
                phone.setblocking(False)
                phone.sendto(b"x", (host, ours.ports["udp"]))
                await until(lambda: owner.messages, "a datagram")
                _, peer = owner.messages.pop()
                assert peer == Peer("udp", host, phone.getsockname()[1])
                ours.send(b"back", peer)
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(phone, 99), 5) == b"back"
            _, writer = await asyncio.open_connection(host, ours.ports["tcp"])
            writer.write(MESSAGE)
            await until(lambda: owner.messages, "a message")
            _, peer = owner.messages.pop()
            assert (peer.transport, peer.host) == ("tcp", host) and peer.flow
            writer.close()


def test_addresses_of_both_families() -> None:
    assert unmapped(("::ffff:192.0.2.1", 5)) == ("192.0.2.1", 5) and mapped(("192.0.2.1", 5)) == ("::ffff:192.0.2.1", 5)
    assert unmapped(("2001:db8::1", 5)) == mapped(("2001:db8::1", 5)) == ("2001:db8::1", 5)


async def closed(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(99), 5) == b""
    return True


async def test_who_is_not_heard_gets_no_connection() -> None:
    async with sockets() as (ours, owner):
        owner.open = False
        reader, writer = await asyncio.open_connection("127.0.0.1", ours.ports["tcp"])
        assert await closed(reader) and not owner.gone
        writer.close()


async def test_one_source_has_so_many_connections_beside_those_of_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_sockets, "STRANGERS", 2)
    async with sockets() as (ours, owner):
        held = []
        for _ in range(3):  # phones behind one address, each registered
            held.append(await asyncio.open_connection("127.0.0.1", ours.ports["tcp"]))
            owner.kept_.add(("tcp", "127.0.0.1", held[-1][1].get_extra_info("sockname")[1]))
        held += [await asyncio.open_connection("127.0.0.1", ours.ports["tcp"]) for _ in range(2)]
        await until(lambda: len(ours._connections) == 5, "five connections")
        reader, writer = await asyncio.open_connection("127.0.0.1", ours.ports["tcp"])
        assert await closed(reader) and len(ours._connections) == 5
        for _, each in [*held, (reader, writer)]:
            each.close()


async def test_strangers_give_way_before_a_phone_that_has_long_been_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_sockets, "CONNECTIONS", 2)
    async with sockets() as (ours, owner):
        phone, stranger = [await asyncio.open_connection("127.0.0.1", ours.ports["tcp"]) for _ in range(2)]
        owner.kept_.add(("tcp", "127.0.0.1", phone[1].get_extra_info("sockname")[1]))
        await until(lambda: len(ours._connections) == 2, "both")
        third = await asyncio.open_connection("127.0.0.1", ours.ports["tcp"])
        assert await closed(stranger[0])
        await until(lambda: len(ours._connections) == 2, "one has given way")
        assert {place_of(each.peer) for each in ours._connections.values() if each.peer} >= owner.kept_
        for _, each in (phone, stranger, third):
            each.close()


@pytest.mark.parametrize(
    ("said", "patience", "kept", "stays"),
    [(b"", 14, False, True), (b"", 16, False, False), (PING, 16, False, False), (MESSAGE, 16, False, True),
     (MESSAGE, 601, False, False), (MESSAGE, 601, True, True)],
)  # fmt: skip
async def test_how_long_a_silent_connection_stays(said: bytes, patience: float, kept: bool, stays: bool) -> None:
    async with sockets() as (ours, owner):
        reader, writer = await asyncio.open_connection("127.0.0.1", ours.ports["tcp"])
        writer.write(said + MESSAGE[:10])
        await until(lambda: ours._connections and (said != MESSAGE or owner.messages), "a connection")
        if kept:
            owner.kept_.add(("tcp", "127.0.0.1", writer.get_extra_info("sockname")[1]))
        if said == PING:
            assert await reader.readexactly(2) == b"\r\n"
        owner.late = patience
        ours._tidy()
        if stays:
            writer.write(MESSAGE[10:])
            await until(lambda: len(owner.messages) == 1 + (said == MESSAGE), "it is heard still")
        else:
            assert await closed(reader) and not ours._connections
        writer.close()


async def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    async with sockets() as (ours, _):
        with pytest.raises(ConfigError, match=r"UDP port \d+ \(Address already in use\).*\[sip\] port"):
            await SipSockets(Owner()).start("127.0.0.1", ours.ports["udp"])
    with pytest.raises(ConfigError, match=r"192.0.2.77.*Cannot assign"):
        await SipSockets(Owner()).start("192.0.2.77", 0)
