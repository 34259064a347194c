"""What becomes of requests and answers when their connection is gone (RFC 3261 §§17.1.4, 18.2.2; RFC 5923)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.sip.link import ANSWER, Open
from tests.sip.test_endpoint import Desk, answered, dial, head, invite, our_tag, reply, statuses

from offhook.sip import session
from offhook.sip.events import Over
from offhook.sip.grammar import Uri
from offhook.sip.message import Request, Response, response
from offhook.sip.registration import RegistrationState
from offhook.sip.transaction import Peer

TCP = Peer("tcp", "192.0.2.7", 5070)
"""A place as it is dialled: the connection has no number yet."""
EPHEMERAL = Peer("tcp", "192.0.2.7", 49152, 7)


def over_tcp(text: str) -> str:
    return text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace("192.0.2.7:5070>", "192.0.2.7:5070;transport=tcp>")


@pytest.mark.parametrize("trying", [False, True])
def test_a_call_fails_with_the_connection_that_it_was_dialled_by(trying: bool) -> None:
    """Also when a 100 came by it: nothing else would end it."""
    desk = Desk()
    calling, ours = dial(desk, TCP)
    if trying:
        desk.get(over_tcp(reply(ours, 100)), replace(TCP, flow=3))
    desk.endpoint.broken(replace(TCP, flow=3), desk.now)
    desk.take()
    (over,) = [e for e in desk.events if isinstance(e, Over)]
    assert over.status == 503 and calling.state == "over"
    assert desk.endpoint.idle and desk.endpoint.awaiting_answers == 0


def test_another_connection_is_no_matter() -> None:
    desk = Desk()
    calling, _ = dial(desk, TCP)
    for other in (replace(TCP, port=5071, flow=3), replace(TCP, host="192.0.2.8", flow=3), Peer("udp", TCP.host, 5070)):
        desk.endpoint.broken(other, desk.now)
    assert calling.state == "calling"


def test_a_registration_hears_of_its_lost_connection() -> None:
    desk, states = Desk(), list[RegistrationState]()
    record = Uri("sip", "a", "192.0.2.7")
    registration = desk.endpoint.register(record, record, TCP, None, states.append)
    registration.start(desk.now)
    desk.take()
    desk.endpoint.broken(replace(TCP, flow=3), desk.now)
    assert [state.status for state in states] == [503]
    registration.stop(desk.now)


def test_a_bye_goes_to_the_contact_when_the_callers_connection_is_gone() -> None:
    """Its own port was good for that connection alone."""
    for gone, to in ((False, EPHEMERAL), (True, TCP)):
        desk = Desk()
        desk.get(over_tcp(invite()), EPHEMERAL)
        desk.session.accept(ANSWER, desk.now)
        tag = our_tag(desk.take())
        desk.get(over_tcp(head("ACK", to=tag, branch="z9hG4bKack")), EPHEMERAL)
        if gone:
            desk.endpoint.broken(EPHEMERAL, desk.now)
        desk.session.hang_up(desk.now)
        (bye,) = desk.take()
        assert isinstance(bye, Request) and bye.method == "BYE"
        assert desk.sent[-1][1] == to


def test_behind_a_nat_there_is_no_other_place() -> None:
    desk = Desk()
    desk.get(over_tcp(invite()).replace("192.0.2.7:5070;transport", "10.0.0.5:5070;transport"), EPHEMERAL)
    desk.session.accept(ANSWER, desk.now)
    tag = our_tag(desk.take())
    desk.get(over_tcp(head("ACK", to=tag, branch="z9hG4bKack")), EPHEMERAL)
    desk.endpoint.broken(EPHEMERAL, desk.now)
    desk.session.hang_up(desk.now)
    desk.take()
    assert desk.sent[-1][1] == replace(EPHEMERAL, flow=0)


def test_a_new_connection_of_the_peer_takes_over() -> None:
    desk, later = Desk(), Peer("tcp", "192.0.2.7", 49153, 8)
    desk.get(over_tcp(invite()), EPHEMERAL)
    desk.session.accept(ANSWER, desk.now)
    tag = our_tag(desk.take())
    desk.get(over_tcp(head("ACK", to=tag, branch="z9hG4bKack")), EPHEMERAL)
    desk.endpoint.broken(EPHEMERAL, desk.now)
    desk.get(over_tcp(head("INFO", to=tag, cseq=2, branch="z9hG4bKinfo")), later)
    desk.session.hang_up(desk.now)
    desk.take()
    assert desk.sent[-1][1] == later


def test_an_answer_whose_connection_is_gone_goes_to_the_senders_own_port() -> None:
    """§18.2.2; and when that cannot be reached either, the call is over."""
    desk = Desk()
    desk.get(over_tcp(invite()), EPHEMERAL)
    desk.endpoint.broken(EPHEMERAL, desk.now)
    assert desk.session.state == "incoming"
    desk.session.accept(ANSWER, desk.now)
    assert statuses(desk.take()) == [200] and desk.sent[-1][1] == TCP
    assert statuses(desk.wait(0.5)) == [200] and desk.sent[-1][1] == TCP
    desk = Desk()
    desk.get(over_tcp(invite()), EPHEMERAL)
    desk.endpoint.broken(EPHEMERAL, desk.now)
    desk.endpoint.broken(TCP, desk.now)
    assert desk.session.state == "over" and desk.endpoint.idle


def test_a_repeated_200_moves_over_as_well() -> None:
    desk = Desk()
    desk.get(over_tcp(invite()), EPHEMERAL)
    desk.session.accept(ANSWER, desk.now)
    desk.take()
    desk.endpoint.broken(EPHEMERAL, desk.now)
    assert statuses(desk.wait(0.5)) == [200] and desk.sent[-1][1] == TCP


# mistakes of ours ---------------------------------------------------------------------------------------------------


class Mistaken(Open):
    """A guard with a mistake in it."""

    def register(self, request: Request, peer: Peer, now: float) -> Response:
        raise ValueError("a mistake")


def test_a_mistake_in_one_message_gets_500_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(guard=Mistaken())
    for number in range(5):
        assert statuses(desk.get(head("REGISTER", cseq=number + 1, branch=f"z9hG4bK{number}"))) == [500]
    assert desk.endpoint.counters.failed == 5 and len(caplog.records) == 1
    assert desk.endpoint.idle


@pytest.mark.parametrize("method", ["INVITE", "INFO"])
def test_a_mistake_within_a_call_gets_500_and_leaves_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise KeyError("a mistake")

    desk = Desk()
    if method == "INFO":
        tag = answered(desk)
        monkeypatch.setitem(session._IN_DIALOG, "INFO", fails)
        assert statuses(desk.get(head("INFO", to=tag, cseq=2, branch="z9hG4bKinfo"))) == [500]
        assert desk.session.state == "up"
        desk.session.hang_up(desk.now)
    else:
        monkeypatch.setattr("offhook.sip.session.SessionTimer.too_brief", fails)
        sent = desk.get(invite())
        assert statuses(sent) == [100, 500]
        desk.get(head("ACK", to=our_tag(sent)))
    for _ in range(5):
        desk.wait(40)
    assert desk.endpoint.idle and desk.endpoint.counters.failed == 1


def test_a_mistake_in_a_response_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    _, ours = dial(desk)
    monkeypatch.setattr("offhook.sip.endpoint.SipEndpoint._response", lambda *a: response(*a))
    assert desk.get(reply(ours, 180)) == [] and desk.endpoint.counters.failed == 1


def test_a_mistake_in_a_timer_keeps_none_of_the_others_from_firing() -> None:
    def fails(now: float) -> None:
        raise ValueError("a mistake")

    desk, fired = Desk(), list[float]()
    for when, what in ((1.0, fails), (2.0, fired.append), (3.0, fails)):
        desk.endpoint.timers.start(desk.now + when, what)
    desk.wait(5)
    assert fired == [desk.now] and desk.endpoint.counters.failed == 2
    assert desk.endpoint.next_deadline() is None
