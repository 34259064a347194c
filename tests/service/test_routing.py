"""The tables of trunks, users, numbers and limits."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.service.routing import (
    SOURCES,
    NumberRule,
    Rate,
    SipPlan,
    Sources,
    Table,
    TrunkRule,
    User,
    is_name,
    is_pattern,
)


def net(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


NEAR = TrunkRule("near", "near.example", allow=(net("192.0.2.0/28"),), prefixes=("+1555*",), strip=1)
FAR = TrunkRule("far", "far.example", allow=(net("2001:db8::/32"),), prefixes=("+*", "*"), add="00", plus=False)
IN_ONLY = TrunkRule("in", allow=(net("198.51.100.1/32"),))
TABLE = Table(
    SipPlan(
        "127.0.0.1",
        users=(User("anna", "x", "+15550001"), User("7000", "x")),
        trunks=(NEAR, FAR, IN_ONLY),
        numbers=(NumberRule("+1555*"), NumberRule("+15550*"), NumberRule("+15550001", calls=1), NumberRule("support")),
        destinations=("+1555*", "+49*", "+33100"),
    )
)


@pytest.mark.parametrize(
    ("host", "name"),
    [("192.0.2.15", "near"), ("192.0.2.16", None), ("2001:db8::9", "far"), ("198.51.100.1", "in"), ("::1", None)],
)
def test_a_trunk_is_known_by_where_its_packets_come_from(host: str, name: str | None) -> None:
    found = TABLE.trunk_of(host)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("number", "names"),
    [
        ("+15551234", ["near", "far"]),
        ("+4930", ["far"]),
        ("+3312", []),
        ("911", []),
        ("+1", []),
        ("+33100", ["far"]),
        ("+331001", []),
    ],
)
def test_who_carries_a_number(number: str, names: list[str]) -> None:
    assert [trunk.name for trunk in TABLE.outbound(number)] == names


def test_a_trunk_that_names_one_number_carries_no_other_and_comes_first() -> None:
    one = TrunkRule("one", "one.example", prefixes=("+15550001",))
    table = Table(SipPlan("127.0.0.1", trunks=(NEAR, one), destinations=("+*",)))
    assert [trunk.name for trunk in table.outbound("+15550001")] == ["one", "near"]
    assert [trunk.name for trunk in table.outbound("+155500012")] == ["near"]


@pytest.mark.parametrize(
    ("trunk", "dialled"),
    [
        (NEAR, "5551234"),
        (FAR, "0015551234"),
        (TrunkRule("t"), "+15551234"),
        (TrunkRule("t", plus=False), "15551234"),
        (TrunkRule("t", strip=1, add="+44"), "+445551234"),
    ],
)
def test_a_number_as_a_trunk_wants_it(trunk: TrunkRule, dialled: str) -> None:
    assert trunk.number("+15551234") == dialled


@pytest.mark.parametrize(
    ("number", "pattern"),
    [("+15550001", "+15550001"), ("+15550002", "+15550*"), ("+15559", "+1555*"), ("Support", "support")],
)
def test_the_closest_rule_of_a_number(number: str, pattern: str) -> None:
    rule = TABLE.number_of(number)
    assert rule is not None and rule.pattern == pattern


def test_a_number_that_no_rule_has() -> None:
    assert TABLE.number_of("+44") is None
    assert Table(SipPlan("127.0.0.1")).number_of("+44") is not None, "without rules all numbers are ours"


def test_limits_count_up_and_down() -> None:
    table = Table(SipPlan("127.0.0.1"))
    rules = [("number", 2, 0.0), ("trunk", 3, 0.0)]
    assert [table.begin(rules, 0.0) for _ in range(3)] == ["", "", "number"]
    table.end(["number", "trunk"])
    assert table.begin([("trunk", 2, 0.0)], 0.0) == ""
    assert table.begin(rules, 0.0) == ""
    assert table.live == {"number": 2, "trunk": 3}
    assert table.begin(rules, 0.0) == "number"
    for names in (["number", "trunk"], ["number", "trunk"], ["trunk"]):
        table.end(names)
    assert table.live == {}


def test_a_call_that_is_refused_takes_nothing_of_any_rate() -> None:
    table = Table(SipPlan("127.0.0.1"))
    full, number = ("trunk", 1, 0.0), ("number", 0, 2.0)
    assert table.begin([number, full], 0.0) == ""
    assert [table.begin([number, full], 0.0) for _ in range(9)] == ["trunk"] * 9
    assert [table.begin([number], 0.0) for _ in range(2)] == ["", "number"]


def test_a_users_name_goes_before_anothers_number() -> None:
    table = Table(SipPlan("127.0.0.1", users=(User("+15550001", "x"), User("berta", "x", "+15550001"))))
    found = table.user_of("+15550001")
    assert found is not None and found.name == "+15550001", "who proved to be one user is not taken for another"


def test_a_rate() -> None:
    rate = Rate(2.0, 0.0)
    assert [rate.take(0.0) for _ in range(3)] == [True, True, False]
    assert rate.take(0.5) and not rate.take(0.5)
    assert all(Rate(0.0, 0.0).take(0.0) for _ in range(1000))


@given(st.lists(st.floats(0, 0.5), max_size=200), st.floats(0.1, 20))
def test_a_rate_is_never_exceeded(pauses: list[float], rate: float) -> None:
    bucket, now, taken = Rate(rate, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
    assert taken <= max(rate, 1.0) + rate * now + 1e-6


def test_a_scan_from_many_sources_is_bounded_in_memory() -> None:
    sources = Sources(5.0)
    for number in range(3 * SOURCES):
        assert sources.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(sources) == SOURCES


@pytest.mark.parametrize("text", ["+1555", "1555*", "*", "+*", "+1*", "112"])
def test_patterns(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["", "+", "1*5", "abc", "+1 555", "8:acs:x", "**"])
def test_no_patterns(text: str) -> None:
    assert not is_pattern(text)


@pytest.mark.parametrize(("text", "named"), [("support", True), ("a.b-c_1", True), ("1555", False), ("sup*", False)])
def test_names(text: str, named: bool) -> None:
    assert is_name(text) is named
