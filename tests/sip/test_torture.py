"""RFC 4475: every message has one outcome; and tens of thousands of bent ones raise nothing and keep nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.sip.link import Open
from tests.sip.test_endpoint import Desk, invite

from offhook.sip.endpoint import Settings, SipEndpoint
from offhook.sip.transaction import Peer

MESSAGES = {path.stem: path.read_bytes() for path in (Path(__file__).parents[1] / "fixtures/rfc4475").glob("*.dat")}
PEER = Peer("udp", "192.0.2.2", 5060)

# What comes back: a status, "call" for an INVITE that is let in, "" for nothing (a response, or not to be answered).
OUTCOMES = {
    # valid ones (§3.1.1)
    "wsinv": 481,  # it has a To tag of no dialog here
    "intmeth": 501,
    "esc01": "call",
    "escnull": 403,
    "esc02": 501,  # RE%47IST%45R is not REGISTER
    "lwsdisp": 200,
    "longreq": "call",
    "dblreq": 403,  # the second request in the datagram is not looked at
    "semiuri": 200,
    "transports": 200,
    "mpart01": 405,
    "unreason": "",
    "noreason": "",
    # invalid ones (§3.1.2)
    "badinv01": 400,
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "scalarlg": "",
    "quotbal": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": "call",  # may be taken for what is meant
    "trws": 200,  # the same
    "escruri": "call",  # headers in the Request-URI are ignored
    "baddate": "call",  # we have no use for Date
    "regbadct": 400,
    "badaspec": 200,  # blanks in brackets are understood
    "baddn": 200,  # as is a display name without its quotes
    "badvers": 505,
    "mismatch01": 400,
    "mismatch02": 400,
    "bigcode": "",
    # of transactions and applications (§§3.2, 3.3)
    "badbranch": 200,
    "insuf": 400,
    "unkscm": 416,
    "novelsc": 416,
    "unksm2": 403,
    "bext01": 420,
    "invut": 415,
    "regaut01": 403,
    "multi01": 400,
    "mcl01": 400,
    "bcast": "",
    "zeromf": 200,
    "cparam01": 403,
    "cparam02": 403,
    "regescrt": 403,
    "sdp01": 406,
    # of RFC 2543 (§3.4)
    "inv2543": "call",
}


def outcome(desk: Desk, data: bytes) -> int | str:
    desk.endpoint.received(data, PEER, desk.now)
    packets = desk.endpoint.drain_packets()
    desk.events += desk.endpoint.drain_events()
    if not packets:
        return ""
    (first, _), *_ = packets
    status = int(first.split()[1])
    return "call" if status == 100 and desk.events else status


def test_every_message_is_here() -> None:
    assert set(OUTCOMES) == set(MESSAGES)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_each_has_its_outcome(name: str) -> None:
    assert outcome(Desk(), MESSAGES[name]) == OUTCOMES[name]


def test_requests_with_an_empty_branch_are_told_apart() -> None:
    """`z9hG4bK` and nothing behind it is no branch (badbranch)."""
    desk = Desk()
    first = outcome(desk, MESSAGES["badbranch"])
    second = outcome(desk, MESSAGES["badbranch"].replace(b"CSeq: 8 ", b"CSeq: 9 "))
    assert (first, second) == (200, 200)


def bent(chance: random.Random, data: bytes) -> bytes:
    """The message with a few bytes changed, cut, doubled or moved."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at, size = chance.randrange(len(made) + 1), chance.randint(1, 12)
        kind = chance.randrange(6)
        if kind == 0:
            made[at : at + size] = b""
        elif kind == 1:
            made[at:at] = bytes(chance.randrange(256) for _ in range(size))
        elif kind == 2:
            made[at:at] = made[at : at + size]
        elif kind == 3:
            made[at : at + 1] = chance.choice([b"\r\n", b'"', b"<", b">", b";", b",", b"=", b"@", b":", b" ", b"\0"])
        elif kind == 4:
            made[at : at + size] = str(chance.getrandbits(chance.choice([7, 31, 64, 200]))).encode()
        else:
            del made[max(at, 1) :]
    return bytes(made)


def bombard(count: int, seed: int) -> SipEndpoint:
    chance = random.Random(seed)
    words = iter(range(10**9))
    endpoint = SipEndpoint(
        Settings({"udp": ("192.0.2.1", 5060), "tcp": ("192.0.2.1", 5060)}),
        Open(),
        lambda: f"w{next(words)}",
        lambda: 0.5,
    )
    originals = [*MESSAGES.values(), invite().replace("\n", "\r\n").encode()]
    for number in range(count):
        data = bent(chance, chance.choice(originals))
        endpoint.received(data, PEER, number / 1000)
        endpoint.advance(number / 1000)
        endpoint.drain_packets()
        for event in endpoint.drain_events():
            event.session.hang_up(number / 1000)
    # Nobody acknowledges anything: all is given up in the end.
    for second in range(200):
        endpoint.advance(count / 1000 + second)
        endpoint.drain_packets()
    return endpoint


def test_fifty_thousand_bent_messages_raise_nothing_and_leave_nothing() -> None:
    endpoint = bombard(50_000, 1)
    assert endpoint.idle and endpoint.next_deadline() is None
    counters = endpoint.counters
    assert counters.garbage > 1000 and counters.refused > 1000 and counters.requests > 10_000
