"""Digest, from both sides: what RFC 7616 shows, what our own challenges take, and what they do not."""

from __future__ import annotations

import hashlib

import pytest

from offhook.sip import auth
from offhook.sip.auth import NONCE_LIFE, Account, Challenger, credentials_for
from offhook.sip.grammar import parse_uri
from offhook.sip.message import Request, Response, request, response

BASICS = [("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"), ("From", "<sip:a@h>;tag=1"), ("To", "<sip:a@h>")]


def register(authorization: str = "") -> Request:
    extra = [("Authorization", authorization)] if authorization else []
    return request(
        "REGISTER", parse_uri("sip:home.example"), [*BASICS, ("Call-ID", "c"), ("CSeq", "1 REGISTER"), *extra]
    )


def challenged(challenger: Challenger, now: float, algorithm: str, source: str = "") -> Response:
    headers = [(n, v) for n, v in challenger.challenge(now, source=source) if f"algorithm={algorithm}" in v]
    return response(register(), 401, headers=headers)


def proof(
    challenger: Challenger, user: str, password: str, now: float, algorithm: str = "MD5", source: str = ""
) -> str:
    account = Account(user, password)
    made = credentials_for(register(), challenged(challenger, now, algorithm, source), account, 1, "cn")
    assert made is not None and made[0] == "Authorization"
    return made[1]


def by_hand(challenger: Challenger, uri: str = "sip:home.example", count: int = 0, nonce: str = "") -> str:
    """Credentials with a count of one's own, or as before there were counts (RFC 2617 §3.2.2: no qop)."""
    nonce = nonce or next(iter(challenger.challenge(0.0)))[1].partition('nonce="')[2].partition('"')[0]
    ha1 = hashlib.md5(b'alice:home:wonder"land').hexdigest()
    ha2 = hashlib.md5(f"REGISTER:{uri}".encode()).hexdigest()
    counted = f"{count:08x}:c:auth:" if count else ""
    proved = hashlib.md5(f"{ha1}:{nonce}:{counted}{ha2}".encode()).hexdigest()
    qop = f', qop=auth, nc={count:08x}, cnonce="c"' if count else ""
    return f'Digest username="alice", realm="home", nonce="{nonce}", uri="{uri}", response="{proved}"{qop}'


CHALLENGER = Challenger("home", b"k" * 32, {"alice": 'wonder"land'})


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_right_password_is_taken(algorithm: str) -> None:
    header = proof(CHALLENGER, "alice", 'wonder"land', 1000.0, algorithm)
    assert CHALLENGER.check(register(header), 1010.0) == ("alice", False)


@pytest.mark.parametrize(("user", "password"), [("alice", "x"), ("alice", ""), ("bob", ""), ("bob", 'wonder"land')])
def test_the_wrong_one_and_a_stranger_are_not(user: str, password: str) -> None:
    header = proof(CHALLENGER, user, password, 1000.0)
    assert CHALLENGER.check(register(header), 1010.0) == ("", False)


def test_an_old_nonce_and_a_foreign_one_are_stale() -> None:
    """The password is right: the phone tries again with a new nonce and asks nobody (RFC 7616 §3.3)."""
    header = proof(CHALLENGER, "alice", 'wonder"land', 1000.0)
    assert CHALLENGER.check(register(header), 1001.0 + NONCE_LIFE) == ("", True)
    foreign = proof(Challenger("home", b"other", {}), "alice", 'wonder"land', 1000.0)
    assert CHALLENGER.check(register(foreign), 1001.0) == ("", True)


def test_a_nonce_is_good_where_it_was_given() -> None:
    header = proof(CHALLENGER, "alice", 'wonder"land', 1000.0, source="192.0.2.7")
    assert CHALLENGER.check(register(header), 1001.0, "198.51.100.9") == ("", True)
    assert CHALLENGER.check(register(header), 1001.0, "192.0.2.7") == ("alice", False)


def test_each_count_is_good_once_and_no_two_challenges_share_a_nonce() -> None:
    nonces = {v.partition('nonce="')[2].partition('"')[0] for _ in range(3) for _, v in CHALLENGER.challenge(0.0)}
    assert len(nonces) == 3
    nonce = nonces.pop()
    counts = [(1, True), (1, False), (3, True), (2, False), (4, True)]
    for count, good in counts:
        checked = CHALLENGER.check(register(by_hand(CHALLENGER, count=count, nonce=nonce)), 1.0)
        assert checked == (("alice", False) if good else ("", True)), count


def test_a_phone_that_counts_nothing_uses_a_nonce_once() -> None:
    header = by_hand(CHALLENGER)
    assert CHALLENGER.check(register(header), 1.0) == ("alice", False)
    assert CHALLENGER.check(register(header), 2.0) == ("", True)
    assert CHALLENGER.check(register(by_hand(CHALLENGER)), 3.0) == ("alice", False)


def test_used_nonces_are_bounded_and_what_is_forgotten_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "USED_NONCES", 3)
    challenger = Challenger("home", b"k", {"alice": 'wonder"land'})
    headers = [by_hand(challenger, count=1) for _ in range(6)]
    unused = headers.pop(1)
    assert all(challenger.check(register(header), 1.0) == ("alice", False) for header in headers)
    assert len(challenger._used) == 3
    assert [challenger.check(register(header), 2.0) for header in (*headers, unused)] == [("", True)] * 6


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("sip:home.example", True),
        ("sip:HOME.example:5060", True),
        ("sip:home.example;transport=udp", True),
        ("sip:+1555@home.example", False),
        ("sip:away.example", False),
        ("sip:home.example:5070", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_credentials_are_of_the_address_that_is_asked_for(uri: str, good: bool) -> None:
    """RFC 7616 §3.4.6: what was captured with one number opens no other; spellings of one address are one."""
    assert CHALLENGER.check(register(by_hand(CHALLENGER, uri)), 1.0) == (("alice", False) if good else ("", False))


def test_another_uri_or_method_does_not_verify() -> None:
    header = proof(CHALLENGER, "alice", 'wonder"land', 1000.0)
    changed = register(header)
    changed.method = "INVITE"
    assert CHALLENGER.check(changed, 1001.0) == ("", False)
    assert CHALLENGER.check(register(header.replace('uri="sip:home', 'uri="sip:away')), 1001.0) == ("", False)


@pytest.mark.parametrize("header", ["", "Digest", "Basic abc", "Digest username=", 'Digest realm="home", nonce="é"'])
def test_no_proof_at_all(header: str) -> None:
    assert CHALLENGER.check(register(header), 1.0) == ("", False)


def test_of_several_challenges_the_first_that_can_be_met() -> None:
    headers = [
        ("WWW-Authenticate", 'Digest realm="x", nonce="n", algorithm=AKAv1-MD5'),
        ("WWW-Authenticate", 'Basic realm="x"'),
        ("WWW-Authenticate", 'Digest realm="other", nonce="n", algorithm=MD5-sess-2'),
        ("WWW-Authenticate", 'Digest realm="mine", nonce="n", qop="auth-int, auth", opaque="o"'),
    ]
    answer = response(register(), 401, headers=headers)
    made = credentials_for(register(), answer, Account("u", "p"), 1, "cn")
    assert made is not None and 'realm="mine"' in made[1] and "qop=auth," in made[1] and 'opaque="o"' in made[1]


def test_refused_credentials_are_not_sent_again_unless_the_nonce_was_stale() -> None:
    account = Account("u", "p")
    plain = response(register(), 401, headers=[("WWW-Authenticate", 'Digest realm="r", nonce="n"')])
    stale = response(register(), 401, headers=[("WWW-Authenticate", 'Digest realm="r", nonce="n2", stale=TRUE')])
    assert credentials_for(register(), plain, account, 2, "cn") is None
    assert credentials_for(register(), stale, account, 2, "cn") is not None
    assert credentials_for(register(), stale, account, 4, "cn") is None
