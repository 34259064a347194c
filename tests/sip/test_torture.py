"""RFC 4475: every message has one outcome; and tens of thousands of bent ones raise nothing and keep nothing."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.sip.link import Open
from tests.sip.test_endpoint import Desk, invite
from tests.sip.test_sdp import OURS

from offhook.errors import SipError
from offhook.sip import sdp
from offhook.sip.auth import Challenger
from offhook.sip.endpoint import Settings, SipEndpoint, Verdict
from offhook.sip.grammar import parse_address, parse_params, parse_uri, parse_via
from offhook.sip.identity import caller_of, custom_headers
from offhook.sip.message import Request
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
        kind = chance.randrange(7)
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
        elif kind == 5:
            made[at:at] = chance.choice(RUNS) * chance.choice([20, 400, 5000])
        else:
            del made[max(at, 1) :]
    return bytes(made)


RUNS = [b" ", b",", b";", b'"', b"\\", b"<", b">", b"=", b"@", b"(", b"9", b"a", b"-", b".", b"%41", b";a", b"/", b"\t"]
"""What a slow reader would go through again and again."""
NUMBER = b"9" * 5000
"""More digits than `int` takes."""


def stretched(data: bytes, size: int) -> Iterator[bytes]:
    """The message with one of its lines stretched by a run of one character, or a number of it by many digits: each
    line with each run, at its value's start, middle and end."""
    head, _, body = data.partition(b"\r\n\r\n")
    for part, before, after in ((head, b"", b"\r\n\r\n" + body), (body, head + b"\r\n\r\n", b"")):
        lines = part.split(b"\r\n")
        for at, line in enumerate(lines):
            name = len(line) - len(line.partition(b":" if part is head else b"=")[2])
            stretches = [
                line[:where] + run * (size // len(run)) + line[where:]
                for run in RUNS
                for where in (name, (name + len(line)) // 2, len(line))
            ]
            stretches += [re.sub(rb"[0-9]+", NUMBER, line), line[:name] + NUMBER, line[:name] + "²".encode()]
            for stretch in stretches:
                yield before + b"\r\n".join([*lines[:at], stretch, *lines[at + 1 :]]) + after


RICH = invite(
    more='Record-Route: <sip:192.0.2.20;lr>, <sip:192.0.2.30:5080;lr>\nRoute: <sip:192.0.2.1;lr>\nRequire: timer\n'
    "Session-Expires: 1800;refresher=uac\nMin-SE: 90\nSupported: timer, 100rel\nAccept: application/sdp\n"
    'Authorization: Digest username="a", realm="h", nonce="n", uri="sip:4567@192.0.2.1", response="r", nc=00000001\n'
    "P-Asserted-Identity: <sip:+1555@192.0.2.7>, <tel:+1555>\nPrivacy: none\nUser-To-User: 00;encoding=hex\n"
    "Expires: 60\nRSeq: 1\nRAck: 1 1 INVITE\nReplaces: c;to-tag=a;from-tag=b\nContent-Encoding: identity\n"
    "Content-Disposition: session;handling=required\nAllow: INVITE, ACK\nEvent: refer\nRefer-To: <sip:a@b>\n"
).replace("\n", "\r\n").encode()  # fmt: skip
RICH += (
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=ptime:20\r\na=rtcp:4001\r\n"
    b"b=AS:64\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4 WSH=64\r\n"
    b"a=sendrecv\r\n"
)
"""An INVITE with every header that anything of ours reads, and every line of a description."""


def crowded(data: bytes) -> Iterator[bytes]:
    """The message with as many small things in it as the bounds allow, and with more."""
    head, _, body = data.partition(b"\r\n\r\n")
    for count in (60, 200, 1000, 6000):
        for line in (b"Contact: <sip:a@192.0.2.1>", b"Record-Route: <sip:a@192.0.2.1;lr>", b"Via: SIP/2.0/UDP h"):
            yield head + b"\r\n" + line + b", <sip:a@b>" * count + b"\r\n\r\n" + body
            yield head + (b"\r\n" + line) * count + b"\r\n\r\n" + body
        for name in (b";tag=them", b"branch=z9hG4bKone", b";refresher=uac", b";encoding=hex", b"Digest "):
            yield data.replace(name, name + b";a=b" * count).replace(b"Digest ", b"Digest " + b"a=b, " * count)
        yield data.replace(b"INVITE sip:", b"INVITE sip:" + b"%41" * count)
        for line in (
            b"a=rtpmap:96 L16/16000",
            b"a=crypto:1 A inline:x",
            b"m=audio 1 RTP/AVP 0",
            b"a=fmtp:96 x",
            b"b=AS:1",
        ):
            yield data + (line + b"\r\n") * count
        yield data + b"m=audio 4000 RTP/AVP" + b" 0" * count + b"\r\n"


class Asks(Open):
    """A guard that reads all that one may read of a call."""

    def __init__(self) -> None:
        super().__init__()
        self.challenger = Challenger("h", b"k", {"a": "b"})

    def admit(self, request: Request, peer: Peer, now: float) -> Verdict:
        self.challenger.check(request, now)
        caller_of(request, trusted=True)
        custom_headers(request)
        with contextlib.suppress(SipError):
            offer = sdp.read(request.body)
            sdp.write(*sdp.answer_to(offer, OURS, bytes)[:1], 1, 1, offer)
        return Verdict()


@pytest.mark.parametrize("size", [300, 3000, 7000])
@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "UPDATE"])
def test_each_line_stretched_has_an_answer_and_raises_nothing(method: str, size: int) -> None:
    """Every line of a full message with a long run in it: it is read, or refused by a bound, or dropped."""
    desk, seen = Desk(guard=Asks()), set[int | str]()
    whole = RICH.replace(b"INVITE", method.encode())
    for number, data in enumerate([*stretched(whole, size), *crowded(whole)]):
        desk.now = number * 40.0
        desk.endpoint.advance(desk.now)
        desk.endpoint.drain_packets()
        seen.add(outcome(desk, data))
        for event in desk.endpoint.drain_events():
            event.session.hang_up(desk.now)
    assert desk.endpoint.counters.failed == 0
    assert seen <= {"", "call", 100, 200, 400, 403, 405, 406, 415, 416, 420, 481, 482, 488, 489, 501, 505, 513}
    for _ in range(10):
        desk.wait(40)
    assert desk.endpoint.idle


LONG = "a" + " " * 4000 + "b"


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_via, f"SIP/2.0/UDP {LONG};branch=z9hG4bKx"),
        (parse_address, f"<sip:{LONG}>"),
        (parse_uri, f"sip:{LONG}"),
        (parse_params, ";a" * 100),
    ],
)
def test_values_that_several_readers_go_through_are_bounded(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(SipError, match="longer than|more than"):
        read(text)


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
    assert counters.failed == 0
    assert counters.garbage > 1000 and counters.refused > 1000 and counters.requests > 10_000
