"""A browser's peer against our side of a media path, with every packet tapped both ways.

What we use of aioice, pyOpenSSL and pylibsrtp is named here with its signature: where one of them changes, this fails
first and says which.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import aioice
import pylibsrtp
import pytest
from aioice import ice as aioice_agent
from aioice import stun
from OpenSSL import SSL
from tests.live import until
from tests.webrtc_peer import WebRtcPeer

from offhook.audio import rtcp, rtp
from offhook.legs import webrtc_sdp
from offhook.legs.dtls import Handshake, Identity, Keys
from offhook.legs.srtp import Srtp
from offhook.legs.webrtc_path import MediaPath
from offhook.legs.webrtc_sockets import WebRtcSockets

PINS = Path(__file__).parents[2] / "requirements"
USED = {
    stun.parse_message: "(data: bytes) -> aioice.stun.Message",
    stun.Message.__init__: "(self, message_method: aioice.stun.Method, message_class: aioice.stun.Class,"
    " transaction_id: bytes | None = None, attributes: dict[str, typing.Any] | None = None) -> None",
    stun.Message.add_message_integrity: "(self, key: bytes) -> None",
    stun.Message.check_message_integrity: "(self, key: bytes) -> bool",
    aioice_agent.get_host_addresses: "(use_ipv4: bool, use_ipv6: bool) -> list[str]",
    SSL.Context.set_tlsext_use_srtp: "(self, profiles: 'bytes') -> 'None'",
    SSL.Connection.export_keying_material: "(self, label: 'bytes', olen: 'int', context: 'bytes | None' = None)"
    " -> 'bytes'",
    SSL.Connection.get_selected_srtp_profile: "(self) -> 'bytes'",
    SSL.Connection.DTLSv1_get_timeout: "(self) -> 'int | None'",
    SSL.Connection.DTLSv1_handle_timeout: "(self) -> 'bool'",
    SSL.Connection.set_ciphertext_mtu: "(self, mtu: 'int') -> 'None'",
    SSL.Connection.bio_read: "(self, bufsiz: 'int') -> 'bytes'",
    SSL.Connection.bio_write: "(self, buf: '_Buffer') -> 'int'",
}
"""What we call, and how it takes it."""


@pytest.mark.parametrize("package", ["aioice", "pyopenssl", "pylibsrtp"])
def test_the_libraries_are_the_ones_that_are_pinned(package: str) -> None:
    pins = re.findall(rf"^{package}==(\S+)", (PINS / "dev.txt").read_text("utf-8"), re.MULTILINE)
    assert [importlib.metadata.version(package)] == pins, "look through what is used of it, then pin the new version"


@pytest.mark.parametrize(("used", "signature"), USED.items(), ids=[each.__qualname__ for each in USED])
def test_what_we_use_is_called_as_before(used: Callable[..., object], signature: str) -> None:
    assert str(inspect.signature(used)) == signature


def test_what_we_use_by_name_is_there() -> None:
    for name in ("DTLS_SERVER_METHOD", "DTLS_CLIENT_METHOD", "OP_NO_QUERY_MTU", "OP_NO_RENEGOTIATION", "OP_NO_TICKET"):
        assert isinstance(getattr(SSL, name), int), name
    for name in ("USERNAME", "USE-CANDIDATE", "ICE-CONTROLLED", "XOR-MAPPED-ADDRESS", "ERROR-CODE"):
        assert name in stun.ATTRIBUTES_BY_NAME, name
    for name in ("remote_is_lite", "remote_username", "remote_password"):
        assert hasattr(aioice.Connection(ice_controlling=True), name), name
    for name in ("SRTP_PROFILE_AEAD_AES_128_GCM", "SRTP_PROFILE_AES128_CM_SHA1_80"):
        assert hasattr(pylibsrtp.Policy, name), name


class OurSide:
    """A path of ours, tapped."""

    def __init__(self) -> None:
        self.sockets = WebRtcSockets("127.0.0.1", 0, (), asyncio.get_running_loop().time)
        self.sockets.start()
        self.keys: list[Srtp] = []
        self.encrypted: list[bytes] = []
        self.failures: list[tuple[str, str]] = []
        self.path = MediaPath(
            self.sockets,
            asyncio.get_running_loop().time,
            ready=self.keys.append,
            packet=lambda data, now: self.encrypted.append(data),
            failed=lambda outcome, reason: self.failures.append((outcome, reason)),
            note=lambda name, detail: None,
        )

    def answer(self, text: str, identity: str | None = None) -> str:
        offer = webrtc_sdp.read(text)
        credentials = self.path.agree(offer.ufrag, identity or offer.fingerprint)
        side = webrtc_sdp.Side(self.sockets.candidates, credentials, self.sockets.identity.fingerprint, 7, 1, 1)
        return webrtc_sdp.answer(offer, side)


async def test_packets_and_reports_pass_both_ways() -> None:
    """What one side protects, the other takes: RTP and RTCP, under the keys of the handshake."""
    ours, peer = OurSide(), WebRtcPeer()
    try:
        await peer.connect(ours.answer(await peer.offer()))
        await until(lambda: ours.keys and peer.srtp, "keys on both sides")
        srtp, theirs = ours.keys[0], peer.srtp
        assert theirs is not None
        report = rtcp.build(7, "offhook", 1.0, None, None)
        for number in range(50):
            peer.say(bytes([number]) * 80)
            ours.path.send(srtp.protect(rtp.build(111, number, number * 960, 7, bytes([number]) * 80)))
        peer.report(rtcp.build(peer.ssrc, "peer", 1.0, None, None))
        ours.path.send(srtp.protect_control(report))
        await until(lambda: len(ours.encrypted) == 51 and len(peer.packets) == 50 and peer.reports, "all packets")
        taken = [data for data in ours.encrypted if not rtcp.is_rtcp(data)]
        assert [packet.payload for packet in peer.heard] == [bytes([n]) * 80 for n in range(50)]
        opened = [rtp.parse(srtp.unprotect(data) or b"") for data in taken]
        assert [packet.payload for packet in opened if packet is not None] == [bytes([n]) * 80 for n in range(50)]
        control = next(data for data in ours.encrypted if rtcp.is_rtcp(data))
        assert rtcp.parse(srtp.unprotect_control(control) or b"") is not None
        assert peer.reports == [report] and peer.forged == 0
        assert all(bytes([n]) * 80 not in data for n, data in enumerate(taken)), "nothing is in the clear on the wire"
        assert ours.path.remote is not None and not ours.failures
    finally:
        await peer.close()
        ours.sockets.close()


async def test_another_certificate_than_described_gives_no_keys() -> None:
    ours, peer = OurSide(), WebRtcPeer()
    try:
        answer = ours.answer(await peer.offer(), Identity().fingerprint)
        connecting = asyncio.ensure_future(peer.connect(answer))
        await until(lambda: ours.failures, "the refusal")
        assert "fingerprint" in ours.failures[0][1] and not ours.keys and not ours.path.up
        connecting.cancel()
    finally:
        await peer.close()
        ours.sockets.close()


@pytest.mark.parametrize("profile", ["SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"])
def test_both_sides_of_a_handshake_have_the_same_keys(profile: str) -> None:
    """Without a network: flights are handed over, one of them lost and sent again by the timer."""
    one, two = Identity(), Identity()
    one.client.set_tlsext_use_srtp(profile.encode())
    to_server: list[bytes] = []
    to_client: list[bytes] = []
    client = Handshake(one, two.fingerprint, to_server.append, client=True)
    server = Handshake(two, one.fingerprint, to_client.append)
    client.begin()
    while client.keys is None or server.keys is None:
        assert to_server or to_client
        for data in [to_server.pop(0) for _ in list(to_server)]:
            server.take(data)
        for data in [to_client.pop(0) for _ in list(to_client)]:
            assert len(data) <= 1200
            client.take(data)
    assert isinstance(server.keys, Keys) and client.keys == Keys(
        server.keys.suite, server.keys.theirs, server.keys.ours
    )
    assert server.keys.suite in profile.replace("AES128_CM_SHA1_80", "AES_CM_128_HMAC_SHA1_80")
