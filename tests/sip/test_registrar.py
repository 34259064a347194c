"""Registrations: several contacts, refreshing, leaving, and requests that contradict themselves."""

from __future__ import annotations

import pytest

from offhook.sip.grammar import parse_uri
from offhook.sip.message import Response, request
from offhook.sip.registrar import CONTACTS, LONGEST, Registrar
from offhook.sip.transaction import Peer

PEER = Peer("udp", "192.0.2.7", 5070)
NEAR = "<sip:bob@192.0.2.7:5070>"


class Desk:
    def __init__(self) -> None:
        self.registrar = Registrar()
        self.number = 0

    def send(
        self,
        *contacts: str,
        expires: str | None = None,
        now: float = 0.0,
        number: int = 0,
        call: str = "c",
        peer: Peer = PEER,
    ) -> Response:
        self.number += 1
        headers = [("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"), ("From", "<sip:bob@h>;tag=1"), ("To", "<sip:bob@h>")]
        headers += [("Call-ID", call), ("CSeq", f"{number or self.number} REGISTER")]
        headers += [("Contact", contact) for contact in contacts]
        headers += [("Expires", expires)] if expires is not None else []
        made = request("REGISTER", parse_uri("sip:h"), headers)
        return self.registrar.register("bob", made, peer, "tag", now)

    def contacts(self, now: float) -> list[str]:
        return [str(binding.contact) for binding in self.registrar.bindings("bob", now)]


def test_a_contact_holds_until_it_expires() -> None:
    desk = Desk()
    answer = desk.send(NEAR, expires="100")
    assert answer.status_code == 200 and answer.headers.get("contact") == [f"{NEAR};expires=100"]
    assert desk.contacts(99) == ["sip:bob@192.0.2.7:5070"]
    assert desk.contacts(100) == [] and len(desk.registrar) == 0


def test_several_contacts_the_newest_first_and_each_with_its_own_time() -> None:
    desk = Desk()
    desk.send("<sip:bob@192.0.2.8>;expires=200")
    desk.send(f"{NEAR};expires=100", now=1)
    assert desk.contacts(1) == ["sip:bob@192.0.2.7:5070", "sip:bob@192.0.2.8"]
    assert desk.contacts(150) == ["sip:bob@192.0.2.8"]
    assert desk.registrar.users(150) == ["bob"] and desk.registrar.users(300) == []


def test_refreshed_asked_for_and_removed() -> None:
    desk = Desk()
    desk.send(NEAR, expires="100")
    desk.send(NEAR, expires="100", now=90)
    assert len(desk.send(now=150).headers.get("contact")) == 1  # a question only
    desk.send(f"{NEAR};expires=0", now=160)
    assert desk.contacts(161) == []
    desk.send(NEAR, "<sip:bob@192.0.2.8>", now=170)
    assert desk.send("*", expires="0", now=180).status_code == 200
    assert desk.contacts(181) == []


@pytest.mark.parametrize(
    ("contacts", "expires", "status"),
    [(("*",), None, 400), (("*",), "60", 400), (("*", NEAR), "0", 400), ((NEAR,), "5", 423), ((NEAR,), "0", 200)],
)
def test_requests_that_make_no_sense(contacts: tuple[str, ...], expires: str | None, status: int) -> None:
    desk = Desk()
    assert desk.send(*contacts, expires=expires).status_code == status
    assert desk.contacts(1) == []


def test_too_short_says_how_long() -> None:
    assert Desk().send(NEAR, expires="5").headers.get_first("min-expires") == "30"


@pytest.mark.parametrize(("said", "seconds"), [(None, 3600), ("99999999999", LONGEST), ("soon", 3600)])
def test_how_long_when_it_is_not_said_or_too_long(said: str | None, seconds: int) -> None:
    answer = Desk().send(NEAR, expires=said)
    assert answer.headers.get("contact") == [f"{NEAR};expires={seconds}"]


def test_an_older_request_changes_nothing() -> None:
    desk = Desk()
    desk.send(NEAR, number=5)
    assert desk.send(f"{NEAR};expires=0", number=5).status_code == 500
    assert desk.send(f"{NEAR};expires=0", number=4).status_code == 500
    assert desk.send(f"{NEAR};expires=60", number=1, call="after a restart").status_code == 200


def test_contacts_are_bounded() -> None:
    desk = Desk()
    desk.send(*(f"<sip:bob@192.0.2.{n}>" for n in range(CONTACTS)))
    assert desk.send("<sip:bob@192.0.2.200>", now=1).status_code == 200
    assert len(desk.contacts(1)) == CONTACTS
    assert desk.contacts(1)[0] == "sip:bob@192.0.2.200" and "sip:bob@192.0.2.0" not in desk.contacts(1)


def test_the_way_back_through_a_nat_and_along_a_connection() -> None:
    desk = Desk()
    desk.send("<sip:bob@10.0.0.5>", peer=Peer("udp", "198.51.100.1", 3333))
    (binding,) = desk.registrar.bindings("bob", 1)
    assert binding.behind_nat and binding.peer.port == 3333
    flow = Peer("tcp", "192.0.2.7", 5070, 4)
    desk.send(NEAR, peer=flow)
    desk.registrar.forget(flow)
    assert desk.contacts(1) == ["sip:bob@10.0.0.5"]
    desk.registrar.forget(Peer("udp", "198.51.100.1", 3333))
    assert len(desk.registrar) == 0
