"""Sessions of the console and logins that fail: bounded, and over when they should be."""

from __future__ import annotations

import os

from offhook.service.console_logins import (
    FREE_TRIES,
    MOST_SESSIONS,
    MOST_SOURCES,
    TRY_EVERY,
    ConsoleRule,
    Sessions,
    Tries,
    same,
)


def test_a_session_lives_for_its_hours_and_no_longer() -> None:
    sessions = Sessions(3600.0, os.urandom)
    one, other = sessions.begin(0.0), sessions.begin(10.0)
    assert one != other and len(bytes.fromhex(one)) * 8 == 256
    assert sessions.alive(one, 3599.0) and sessions.alive(other, 3609.0)
    assert not sessions.alive(one, 3600.0) and sessions.alive(other, 3600.0)
    sessions.end(other)
    assert not sessions.alive(other, 3600.0)
    assert not sessions.alive("", 0.0) and not sessions.alive("\ud800", 0.0)


def test_of_too_many_sessions_the_oldest_ends() -> None:
    sessions = Sessions(3600.0, os.urandom)
    made = [sessions.begin(float(n)) for n in range(MOST_SESSIONS + 1)]
    assert [sessions.alive(session, 300.0) for session in made] == [False] + [True] * MOST_SESSIONS


def test_a_source_that_fails_too_often_waits() -> None:
    tries = Tries()
    for _ in range(FREE_TRIES):
        assert tries.wait("192.0.2.1", 100.0) == 0
        tries.failed("192.0.2.1", 100.0)
    assert tries.wait("192.0.2.1", 100.0) == TRY_EVERY and tries.wait("192.0.2.1", 101.5) == 9
    assert tries.wait("192.0.2.2", 100.0) == 0, "others need not wait"
    assert tries.wait("192.0.2.1", 110.0) == 0
    tries.failed("192.0.2.1", 110.0)
    assert tries.wait("192.0.2.1", 110.0) == TRY_EVERY, "one more try, not five"
    assert tries.wait("192.0.2.1", 110.0 + FREE_TRIES * TRY_EVERY) == 0
    tries.forget("192.0.2.1")
    assert tries.wait("192.0.2.1", 110.0) == 0


def test_a_network_of_ipv6_is_one_source_and_a_mapped_address_is_ipv4() -> None:
    tries = Tries()
    for n in range(FREE_TRIES):
        tries.failed(f"2001:db8::{n + 1}", 0.0)
        tries.failed("::ffff:192.0.2.9", 0.0)
    assert tries.wait("2001:db8::ffff:1%eth0", 0.0) and not tries.wait("2001:db8:0:1::1", 0.0)
    assert tries.wait("192.0.2.9", 0.0)


def test_the_table_of_sources_is_bounded() -> None:
    tries = Tries()
    for n in range(MOST_SOURCES * 2):
        tries.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    assert len(tries._debts) == MOST_SOURCES


def test_secrets_are_compared_whole_and_told_to_nobody() -> None:
    assert same("a", "a") and not same("a", "b") and not same("a", "aa") and not same("é", "e")
    assert "geheim" not in repr(ConsoleRule(token="geheim"))
    assert not ConsoleRule().pages and ConsoleRule(open=True).pages and ConsoleRule(token="x").pages
