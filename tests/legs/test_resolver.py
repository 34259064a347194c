"""Where a SIP domain is served: against a name server of our own on a real socket (RFC 3263)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest

from offhook.errors import LegError
from offhook.legs.resolver import Resolver, Service, ordered
from offhook.sip.transaction import Peer

ZONE = {
    ("carrier.example.", "NAPTR"): [
        '20 50 "s" "SIP+D2U" "" _sip._udp.carrier.example.',
        '10 50 "s" "SIPS+D2T" "" _sips._tcp.carrier.example.',
        '5 50 "s" "SIP+D2S" "" _sip._sctp.carrier.example.',
    ],
    ("_sips._tcp.carrier.example.", "SRV"): ["10 0 5071 one.carrier.example."],
    ("pointing.example.", "NAPTR"): [
        '10 50 "s" "SIP+D2T" "" _sip._tcp.farm.example.',
        '5 1 "a" "SIP+D2U" "" x.example.',
    ],
    ("_sip._tcp.farm.example.", "SRV"): ["10 0 5075 two.carrier.example."],
    ("_sip._tcp.pointing.example.", "SRV"): ["10 0 5099 gone.carrier.example."],
    ("_sip._udp.carrier.example.", "SRV"): [
        "20 0 5062 two.carrier.example.",
        "10 0 5061 one.carrier.example.",
        "30 0 5063 gone.carrier.example.",
    ],
    ("one.carrier.example.", "A"): ["192.0.2.1"],
    ("one.carrier.example.", "AAAA"): ["2001:db8::1"],
    ("two.carrier.example.", "A"): ["192.0.2.2", "192.0.2.3"],
    ("_sip._udp.nowhere.example.", "SRV"): ["0 0 0 ."],
    ("plain.example.", "A"): ["192.0.2.9"],
}


class NameServer(asyncio.DatagramProtocol):
    """Answers from the zone."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: Any) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        (asked,) = question.question
        kind = dns.rdatatype.to_text(asked.rdtype)
        records = ZONE.get((asked.name.to_text(), kind))
        if records:
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *records))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), source)


@pytest.fixture
async def resolver() -> AsyncIterator[Resolver]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    yield Resolver(lambda: 0.5, transport.get_extra_info("sockname")[:2])
    transport.close()


async def test_services_come_in_their_order_with_all_their_addresses(resolver: Resolver) -> None:
    found = await resolver.locate("carrier.example", transport="udp")
    assert found[:2] == [Peer("udp", "192.0.2.1", 5061), Peer("udp", "2001:db8::1", 5061)]
    assert {*found[2:]} == {Peer("udp", "192.0.2.2", 5062), Peer("udp", "192.0.2.3", 5062)}


async def test_the_domain_says_which_transport_it_prefers(resolver: Resolver) -> None:
    first, *_ = await resolver.locate("carrier.example")
    assert first == Peer("tls", "192.0.2.1", 5071)


async def test_the_domain_says_where_its_services_are(resolver: Resolver) -> None:
    """RFC 3263 §4.1: the replacement of the NAPTR record is the name to look up; the domain stays the TLS name."""
    found = await resolver.locate("pointing.example")
    assert {*found} == {Peer("tcp", "192.0.2.2", 5075), Peer("tcp", "192.0.2.3", 5075)}
    assert {peer.name for peer in found} == {"pointing.example"}


@pytest.mark.parametrize("host", ["sip..x", "x" * 70 + ".example", "\udcff.example"])
@pytest.mark.parametrize(("port", "transport"), [(0, ""), (0, "tls"), (5060, "udp")])
@pytest.mark.parametrize("system", [True, False])
async def test_a_name_that_can_be_none_is_not_found(
    resolver: Resolver, host: str, port: int, transport: str, system: bool
) -> None:
    resolver._system = system
    with pytest.raises(LegError, match="has no address"):
        await resolver.locate(host, port, transport)


@pytest.mark.parametrize(("transport", "port"), [("udp", 5060), ("tcp", 5060), ("tls", 5061)])
async def test_without_services_the_address_and_the_usual_port(resolver: Resolver, transport: str, port: int) -> None:
    assert await resolver.locate("plain.example", transport=transport) == [Peer(transport, "192.0.2.9", port)]


async def test_a_port_needs_no_services(resolver: Resolver) -> None:
    assert await resolver.locate("one.carrier.example", 5099, "tcp") == [
        Peer("tcp", "192.0.2.1", 5099),
        Peer("tcp", "2001:db8::1", 5099),
    ]


@pytest.mark.parametrize(("host", "port", "peer"), [
    ("192.0.2.7", 0, Peer("udp", "192.0.2.7", 5060)),
    ("[2001:db8::7]", 5070, Peer("udp", "2001:db8::7", 5070)),
])  # fmt: skip
async def test_an_address_is_taken_as_it_is(resolver: Resolver, host: str, port: int, peer: Peer) -> None:
    assert await resolver.locate(host, port) == [peer]


@pytest.mark.parametrize("host", ["nowhere.example", "missing.example"])
async def test_a_domain_that_is_not_there_is_named(resolver: Resolver, host: str) -> None:
    with pytest.raises(LegError, match=host):
        await resolver.locate(host, transport="udp")


def test_weights_share_the_calls() -> None:
    heavy, light = Service(10, 90, 1, "heavy"), Service(10, 10, 2, "light")
    last = Service(20, 0, 3, "last")
    firsts = [ordered([last, light, heavy], partial(float, n / 100))[0].target for n in range(100)]
    assert 85 <= firsts.count("heavy") <= 95 and "last" not in firsts
    assert [s.target for s in ordered([heavy, last, light], lambda: 0.99)][-1] == "last"
