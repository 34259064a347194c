"""Session timers: who refreshes, who gives up, and what is too brief (RFC 4028)."""

from __future__ import annotations

import pytest
from tests.sip.link import Link, Over
from tests.sip.test_endpoint import Desk, invite, statuses

from offhook.sip.message import Request, Response

HOUR = 3600.0


def refreshes(link: Link, who: str) -> list[float]:
    """When a side sent something that refreshes."""
    return link.sent(who, "UPDATE") + link.sent(who, "INVITE")[1:]


def test_the_caller_refreshes_by_update_and_the_call_goes_on_for_hours() -> None:
    link = Link()
    session, theirs = link.up()
    assert session.timer.interval == theirs.timer.interval == 1800
    assert session.timer.ours and not theirs.timer.ours
    link.run(4 * HOUR)
    assert session.state == theirs.state == "up"
    assert len(link.sent("us", "UPDATE")) == 16 and not refreshes(link, "them")
    session.hang_up(link.now)
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle
    assert link.us.endpoint.next_deadline() is None and link.them.endpoint.next_deadline() is None


def test_a_peer_without_update_is_refreshed_by_the_same_description() -> None:
    link = Link()
    session, theirs = link.up()
    assert session.dialog is not None
    session.dialog.allowed.discard("update")
    link.them.answers = True
    link.run(1000)
    assert len(link.sent("us", "INVITE")) == 2 and session.state == "up"
    assert not [told for told in link.us.story if told.startswith("Reanswered")], "a refresh is no change"
    again = link.log[_index(link, "us INVITE", 2)][2]
    assert again.body == session.invite.body


def test_whoever_hears_no_refresh_ends_the_call() -> None:
    link = Link()
    session, theirs = link.up()
    link.loses = lambda number, message: isinstance(message, Request) and message.method == "UPDATE"
    link.run(2 * HOUR)
    assert session.state == theirs.state == "over"
    assert link.us.story[-1] == "Over 408"
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_the_called_side_gives_up_before_the_interval_is_over() -> None:
    link = Link()
    _, theirs = link.up()
    began = link.now
    link.loses = lambda number, message: True
    link.run(1800)
    (over,) = link.them.named(Over)
    assert isinstance(over, Over) and over.status == 408 and "refreshed" in over.reason
    assert link.sent("them", "BYE")[0] - began == pytest.approx(1800 - 32, abs=2)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_interval_below_the_least_is_refused_with_the_least(method: str) -> None:
    link = Link()
    session, _ = link.up()
    headers = [("Session-Expires", "60"), ("Supported", "timer"), ("Contact", "<sip:a@127.0.0.1>")]
    answers: list[Response] = []
    session.ask(method, link.now, headers, on_answer=lambda answer, at: answers.append(answer))
    link.run(1)
    final = answers[-1]
    assert final.status_code == 422 and final.headers.get_first("min-se") == "90"
    assert session.state == "up"


def test_who_knows_no_timers_gets_no_422() -> None:
    """A proxy has asked on its behalf (RFC 4028 §9): we refresh, as often as is sensible at the most."""
    desk = Desk()
    assert statuses(desk.get(invite(more="Session-Expires: 60\n"))) == [100]
    desk.session.accept(b"", desk.now)
    (answer,) = desk.take()
    assert answer.headers.get_first("session-expires") == "90;refresher=uas"
    assert statuses(Desk().get(invite(more="Session-Expires: 60\nSupported: timer\n"))) == [100, 422]


def test_a_422_is_met_with_a_longer_interval() -> None:
    link = Link()
    link.them.answers = False
    session = link.call()
    link.run(0.1)
    link.them.sessions[0].refuse(422, link.now, [("Min-SE", "3600")])
    link.them.answers = True
    link.run(1)
    assert session.state == "up" and session.timer.interval == 3600
    second = link.log[_index(link, "us INVITE", 2)][2]
    assert second.headers.get_first("session-expires") == "3600" and second.headers.get_first("min-se") == "3600"
    assert second.headers.get_first("cseq") == "2 INVITE"


def test_a_422_that_asks_for_nothing_new_ends_the_try() -> None:
    link = Link()
    link.them.answers = False
    session = link.call()
    link.run(0.1)
    link.them.sessions[0].refuse(422, link.now, [("Min-SE", "90")])
    link.run(1)
    assert session.state == "over" and link.us.story[-1] == "Over 422"


def test_a_side_that_knows_no_timer_is_refreshed_by_the_called_one() -> None:
    """A proxy on the way may ask for a timer that the caller cannot keep."""
    link = Link()
    link.them.answers = False
    link.call()
    link.run(0.1)
    theirs = link.them.sessions[0]
    theirs.invite.headers.remove("Supported")
    theirs.accept(b"", link.now)
    link.run(1)
    assert theirs.timer.ours
    answer = link.log[_index(link, "them 200 INVITE", 1)][2]
    assert answer.headers.get_first("session-expires") == "1800;refresher=uas"
    assert not answer.headers.get("require")


def test_without_the_header_in_the_answer_there_is_no_timer() -> None:
    link = Link()
    link.them.answers = False
    session = link.call()
    link.run(0.1)
    theirs = link.them.sessions[0]
    theirs.invite.headers.remove("Session-Expires")
    theirs.accept(b"", link.now)
    link.run(1)
    assert not session.timer.interval and not theirs.timer.interval
    link.run(5 * HOUR)
    assert session.state == "up" and not refreshes(link, "us")


@pytest.mark.parametrize("value", ["", "soon", "-5", "9" * 30, "1800;refresher=me", "0"])
def test_an_interval_that_cannot_be_read(value: str) -> None:
    link = Link()
    link.them.answers = False
    link.call()
    link.run(0.1)
    theirs = link.them.sessions[0] if link.them.sessions else None
    assert theirs is not None
    theirs.invite.headers.set_single("Session-Expires", value)
    theirs.accept(b"", link.now)
    link.run(10)
    assert theirs.state == "up"


def _index(link: Link, what: str, which: int) -> int:
    return [i for i, told in enumerate(link.messages) if told == what][which - 1]
