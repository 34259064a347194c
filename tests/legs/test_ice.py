"""Checks of an ICE-lite agent: who proves itself is answered, everybody else hears nothing."""

from __future__ import annotations

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from offhook.legs import ice
from offhook.legs.ice import Credentials, IceLite
from offhook.legs.latch import Address

HERE, THERE = ("192.0.2.1", 4000), ("192.0.2.2", 4001)
OURS = Credentials("ouruser1", "ourpassword0123456789012")


def check(*, nominate: bool = False, name: str = "ouruser1:them", key: str = OURS.password, **more: object) -> bytes:
    attributes: dict[str, object] = {"USERNAME": name, "PRIORITY": 1, "ICE-CONTROLLING": 7, **more}
    if nominate:
        attributes["USE-CANDIDATE"] = None
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)
    if key:
        message.add_message_integrity(key.encode())
    return bytes(message)


def answer(agent: IceLite, data: bytes, source: Address, now: float = 1.0) -> stun.Message | None:
    message = ice.parse(data)
    reply = None if message is None else agent.answer(message, source, now)
    return None if reply is None else stun.parse_message(reply)


def test_a_good_check_is_answered_with_where_it_came_from_and_signed() -> None:
    agent = IceLite(OURS, "them")
    reply = answer(agent, check(), HERE)
    assert reply is not None and reply.message_class == stun.Class.RESPONSE
    assert reply.attributes["XOR-MAPPED-ADDRESS"] == HERE
    assert reply.check_message_integrity(OURS.password.encode()) and "FINGERPRINT" in reply.attributes
    assert (agent.selected, agent.checked_at) == (HERE, 1.0)


def test_media_follows_what_was_nominated_last() -> None:
    agent = IceLite(OURS, "them")
    answer(agent, check(), HERE)
    answer(agent, check(nominate=True), THERE)
    assert agent.selected == THERE
    answer(agent, check(), HERE)
    assert agent.selected == THERE, "a check that nominates nothing changes nothing"
    answer(agent, check(nominate=True), HERE)
    assert agent.selected == HERE


@pytest.mark.parametrize(
    "data",
    [
        check(key=""),
        check(key="another"),
        check(name="ouruser1:somebody"),
        check(name="ouruser1"),
        check(name="ouruser1:them:more"),
        check(name="another1:them"),
        check()[:-1],
        check() + b"\0",
        bytes(stun.Message(stun.Method.BINDING, stun.Class.INDICATION, attributes={"USERNAME": "ouruser1:them"})),
        bytes(stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST, attributes={"USERNAME": "ouruser1:them"})),
        b"",
        bytes(20),
        check(SOFTWARE="x" * 1400),
    ],
)
def test_nothing_else_is_answered_or_changes_anything(data: bytes) -> None:
    agent = IceLite(OURS, "them")
    assert answer(agent, data, HERE) is None
    assert agent.selected is None and agent.checked_at is None


def test_who_wants_us_to_choose_is_told_that_we_do_not() -> None:
    data = check()
    message = stun.parse_message(data)
    del message.attributes["ICE-CONTROLLING"]
    message.attributes["ICE-CONTROLLED"] = 7
    message.add_message_integrity(OURS.password.encode())
    agent = IceLite(OURS, "them")
    reply = answer(agent, bytes(message), HERE)
    assert reply is not None and reply.error_code == 487 and agent.selected is None


def test_an_answer_is_no_larger_than_what_was_asked() -> None:
    """Nothing to gain for who has packets sent to somebody else."""
    agent = IceLite(OURS, "them")
    data = check()
    message = ice.parse(data)
    assert message is not None
    reply = agent.answer(message, ("2001:db8::1", 65535), 1.0)
    assert reply is not None and len(reply) <= len(data)


def test_whom_a_check_is_for_is_read_without_the_rest() -> None:
    assert ice.called(check()) == "ouruser1"
    assert ice.called(check(name="only")) == "only"
    assert ice.called(check()[:22]) == ice.called(b"") == ""


def test_names_are_fresh_and_of_the_characters_of_ice() -> None:
    made = {Credentials.fresh() for _ in range(50)}
    assert len(made) == 50
    assert all(len(one.ufrag) == 8 and len(one.password) == 24 and (one.ufrag + one.password).isalnum() for one in made)


def test_addresses_are_written_in_one_way() -> None:
    assert ice.plain(("::ffff:192.0.2.1", 5, 0, 0)) == ("192.0.2.1", 5)
    assert ice.plain(("fe80::1%eth0", 5, 0, 2)) == ("fe80::1%eth0", 5)
    assert ice.plain(("192.0.2.1", 5)) == ("192.0.2.1", 5)


@given(st.binary(max_size=200), st.integers(0, 150), st.binary(min_size=1, max_size=4))
def test_hostile_bytes_never_raise(noise: bytes, at: int, change: bytes) -> None:
    agent = IceLite(OURS, "them")
    good = check()
    broken = good[:at] + change + good[at + len(change) :]
    for data in (noise, b"\0\1" + noise, b"\0\1\0\0\x21\x12\xa4\x42" + noise, broken):
        ice.called(data)
        reply = answer(agent, data, HERE)
        assert reply is None or data[:-8] == good[:-8], "behind the signature stands only a checksum"
