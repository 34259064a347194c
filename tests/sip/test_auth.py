"""Digest, from both sides: what RFC 7616 shows, what our own challenges take, and what they do not."""

from __future__ import annotations

import pytest

from offhook.sip.auth import NONCE_LIFE, Account, Challenger, credentials_for
from offhook.sip.grammar import parse_uri
from offhook.sip.message import Request, Response, request, response

BASICS = [("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"), ("From", "<sip:a@h>;tag=1"), ("To", "<sip:a@h>")]


def register(authorization: str = "") -> Request:
    extra = [("Authorization", authorization)] if authorization else []
    return request(
        "REGISTER", parse_uri("sip:home.example"), [*BASICS, ("Call-ID", "c"), ("CSeq", "1 REGISTER"), *extra]
    )


def challenged(challenger: Challenger, now: float, algorithm: str) -> Response:
    headers = [(n, v) for n, v in challenger.challenge(now) if f"algorithm={algorithm}" in v]
    return response(register(), 401, headers=headers)


def proof(challenger: Challenger, user: str, password: str, now: float, algorithm: str = "MD5") -> str:
    account = Account(user, password)
    made = credentials_for(register(), challenged(challenger, now, algorithm), account, 1, "cn")
    assert made is not None and made[0] == "Authorization"
    return made[1]


CHALLENGER = Challenger("home", b"k" * 32, {"alice": 'wonder"land'})


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_right_password_is_taken(algorithm: str) -> None:
    header = proof(CHALLENGER, "alice", 'wonder"land', 1000.0, algorithm)
    assert CHALLENGER.check(register(header), 1010.0) == ("alice", False)


@pytest.mark.parametrize(("user", "password"), [("alice", "x"), ("alice", ""), ("bob", ""), ("bob", 'wonder"land')])
def test_the_wrong_one_and_a_stranger_are_not(user: str, password: str) -> None:
    header = proof(CHALLENGER, user, password, 1000.0)
    assert CHALLENGER.check(register(header), 1010.0) == ("", False)


def test_an_old_nonce_is_stale_and_a_foreign_one_is_nothing() -> None:
    header = proof(CHALLENGER, "alice", 'wonder"land', 1000.0)
    assert CHALLENGER.check(register(header), 1001.0 + NONCE_LIFE) == ("", True)
    foreign = proof(Challenger("home", b"other", {}), "alice", 'wonder"land', 1000.0)
    assert CHALLENGER.check(register(foreign), 1001.0) == ("", False)


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
