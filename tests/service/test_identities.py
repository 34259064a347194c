"""Who somebody on SIP is to an app: numbers in all their spellings, names, callers and called."""

from __future__ import annotations

import pytest

from offhook.service.identities import WITHHELD, Identities, called, number_of
from offhook.service.routing import SipPlan, Table, TrunkRule, User
from offhook.sip.grammar import parse_uri
from offhook.sip.message import Request, request
from offhook.wire.identifiers import parse_raw_id

IDENTITIES = Identities("resource", Table(SipPlan("h", users=(User("anna", "pw", "+15550100001"), User("bert", "pw")))))
TRUNK = TrunkRule("carrier", username="account-17", register=True)


def invite(uri: str = "sip:+15550100002@h", to: str = "<sip:+15550100002@h>", **headers: str) -> Request:
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return request("INVITE", parse_uri(uri), [("From", "<sip:+15558887777@h>;tag=1"), ("To", to), *more])


@pytest.mark.parametrize(
    ("uri", "raw_id"),
    [
        ("sip:+12015550123@h", "4:+12015550123"),
        ("sip:12015550123@h", "4:+12015550123"),
        ("sip:+12015550123;npdi;rn=+12015550000@h;user=phone", "4:+12015550123"),
        ("sip:+12015550123;npdi@h", "4:+12015550123"),
        ("sip:5551234;phone-context=+1@h;user=phone", "4:+5551234"),
        ("sip:+1-201-555.0123@h;user=phone", "4:+12015550123"),
        ("sip:(201)555-0123@h;user=phone", "4:+2015550123"),
        ("tel:+1-201-555-0123;npdi", "4:+12015550123"),
        ("sip:8%3Aacs%3Aresource_x@h", "8:acs:resource_x"),
    ],
)
def test_numbers_as_peers_write_them(uri: str, raw_id: str) -> None:
    assert IDENTITIES.identify(called(invite(uri), None)).raw_id == raw_id


def test_a_name_has_an_id_that_stays() -> None:
    alice = IDENTITIES.identify("Alice")
    assert alice.raw_id.startswith("8:acs:resource_") and alice == IDENTITIES.identify("alice")
    assert IDENTITIES.of("anna").raw_id == "4:+15550100001"
    assert IDENTITIES.of("bert") == IDENTITIES.identify("bert")


@pytest.mark.parametrize(
    ("headers", "number"),
    [
        ({"P_Called_Party_ID": "<sip:+15550100003@h>"}, "+15550100003"),
        ({"P_Called_Party_ID": "<<<"}, "+15550100002"),
        ({}, "+15550100002"),
    ],
)
def test_a_call_to_our_registered_contact_is_for_the_number_that_was_dialled(
    headers: dict[str, str], number: str
) -> None:
    assert called(invite("sip:account-17@192.0.2.1:5060", **headers), TRUNK) == number
    assert called(invite("sip:+15550100009@192.0.2.1", **headers), TRUNK) == "+15550100009", "any other names it itself"
    assert called(invite("sip:account-17@192.0.2.1", **headers), None) == "account-17"


def test_a_registered_contact_without_any_number_is_its_own_name() -> None:
    assert called(invite("sip:account-17@192.0.2.1", to="<sip:192.0.2.1>"), TRUNK) == "account-17"


def test_who_calls_is_who_the_password_says_or_the_trunk_asserts() -> None:
    anna = User("anna", "pw", "+15550100001")
    assert IDENTITIES.caller(invite(), None, anna)[0].raw_id == "4:+15550100001"
    asserted = invite(P_Asserted_Identity="<sip:+15550100007@h>")
    assert IDENTITIES.caller(asserted, TrunkRule("t", trusted=True), None)[0].raw_id == "4:+15550100007"
    assert IDENTITIES.caller(asserted, TrunkRule("t", trusted=False), None)[0].raw_id == "4:+15558887777"


def test_a_withheld_caller_is_anonymous() -> None:
    who, display = IDENTITIES.caller(invite(Privacy="id"), TrunkRule("t", trusted=True), None)
    assert who == WITHHELD and who.raw_id == "4:anonymous" and who.is_anonymous and not display


@pytest.mark.parametrize(
    ("raw_id", "number"),
    [("4:+15550100001", "+15550100001"), ("4:anonymous", ""), ("8:acs:resource_x", ""), ("", "")],
)
def test_only_numbers_are_shown_outside(raw_id: str, number: str) -> None:
    assert number_of(parse_raw_id(raw_id) if raw_id else None) == number
