"""Handshakes without a network: lost flights, hostile datagrams, wrong certificates."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from offhook.errors import SipError
from offhook.legs import dtls
from offhook.legs.dtls import Handshake, Identity

ONE, TWO = Identity(), Identity()


class Pair:
    """A client and a server; what they send waits until `pass_on`."""

    def __init__(self, client: Identity = ONE, server_expects: str = ONE.fingerprint) -> None:
        self.to_server: list[bytes] = []
        self.to_client: list[bytes] = []
        self.client = Handshake(client, TWO.fingerprint, self.to_server.append, client=True)
        self.server = Handshake(TWO, server_expects, self.to_client.append)
        self.client.begin()

    def pass_on(self, rounds: int = 20) -> None:
        for _ in range(rounds):
            waiting = self.to_server[:], self.to_client[:]
            self.to_server.clear()
            self.to_client.clear()
            for data in waiting[0]:
                self.server.take(data)
            for data in waiting[1]:
                self.client.take(data)


def test_keys_of_both_sides_fit() -> None:
    pair = Pair()
    pair.pass_on()
    assert pair.server.keys is not None and pair.client.keys is not None
    assert pair.server.keys.ours == pair.client.keys.theirs and pair.server.keys.theirs == pair.client.keys.ours
    assert pair.server.keys.ours != pair.server.keys.theirs


def test_a_lost_flight_is_sent_again() -> None:
    pair = Pair()
    pair.to_server.clear()
    end = time.monotonic() + 5
    while not pair.to_server and time.monotonic() < end:
        pair.client.look()
        time.sleep(0.02)
    pair.pass_on()
    assert pair.server.keys is not None


def test_the_last_flight_is_repeated_for_who_has_not_got_it() -> None:
    pair = Pair()
    while pair.server.keys is None:
        last = pair.to_server[:]
        pair.pass_on(1)
    pair.to_client.clear()
    for data in last:
        pair.server.take(data)
    pair.pass_on()
    assert pair.server.keys is not None and not pair.server.failed


def test_a_certificate_with_another_fingerprint_fails_by_name() -> None:
    pair = Pair(server_expects=Identity().fingerprint)
    pair.pass_on()
    assert pair.server.keys is None and "a=fingerprint" in pair.server.failed


def test_a_client_without_a_certificate_fails_by_name() -> None:
    bare = Identity()
    bare.client = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    pair = Pair(client=bare)
    pair.pass_on()
    assert pair.server.keys is None and "certificate" in pair.server.failed


def test_a_client_that_wants_no_srtp_fails_by_name() -> None:
    """It would have keys for nothing that we can send."""
    plain = Identity()
    plain.client.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_32")
    pair = Pair(client=plain, server_expects=plain.fingerprint)
    pair.pass_on()
    assert pair.server.keys is None and "use_srtp" in pair.server.failed


def test_what_comes_after_the_end_is_read_to_its_last_record() -> None:
    """Nothing of it waits inside for ever: a browser could fill our memory."""
    pair = Pair()
    pair.pass_on()
    client = pair.client._connection
    for _ in range(20):
        client.send(b"nobody reads this")
    pair.server.take(client.bio_read(dtls.LARGEST))
    with pytest.raises(SSL.WantReadError):
        pair.server._connection.recv(1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "no hash"),
        ("sha-1 " + "AA:" * 19 + "AA", "sha-1"),
        ("sha-256 " + "AA:" * 30 + "AA", "32 pairs"),
        ("sha-256", "only sha-256"),
        ("sha-256 " + "G0:" * 31 + "G0", "32 pairs"),
    ],
)
def test_fingerprints_that_are_refused(value: str, said: str) -> None:
    with pytest.raises(SipError, match=said):
        dtls.fingerprint(value)
    assert dtls.fingerprint("SHA-256 " + "aa:" * 31 + "aa") == "AA:" * 31 + "AA"


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_hostile_datagrams_never_raise(noise: list[bytes], at: int, change: bytes) -> None:
    """Before, within and after a handshake; noise alone does not end it."""
    pair = Pair()
    for data in noise:
        pair.server.take(data)
        pair.server.take(b"\x16\xfe\xfd" + data)
        pair.server.take(b"\x14\xfe\xff" + data)
    hello = pair.to_server[0]
    broken = hello[:at] + change + hello[at + len(change) :]
    Handshake(TWO, ONE.fingerprint, lambda data: None).take(broken)
    pair.pass_on()
    for data in noise:
        pair.server.take(b"\x15\xfe\xfd" + data)
        pair.server.take(b"\x17\xfe\xfd" + data)
    pair.server.look()


@given(st.lists(st.integers(0, 1400), max_size=12))
def test_flights_leave_in_whole_records(sizes: list[int]) -> None:
    records = [b"\x16" + bytes(10) + size.to_bytes(2) + bytes(size) for size in sizes]
    sent = list(dtls.datagrams(b"".join(records)))
    assert b"".join(sent) == b"".join(records)
    assert all(len(data) <= dtls.MTU or data in records for data in sent)
