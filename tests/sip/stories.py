"""Stories of a call between two endpoints, each with its end: what must hold whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Callable

from tests.sip.link import ANSWER, OFFER, Answered, Link, Side, Told

from offhook.sip.auth import Account, Challenger
from offhook.sip.endpoint import Verdict
from offhook.sip.events import Incoming, Reanswered, Reoffered
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.message import Request
from offhook.sip.transaction import Peer

SETTLE = 12.0
"""Longer than a lost packet can delay a step."""
LONG = 80.0
"""Longer than anything that remembers (64 T1 twice)."""

Story = Callable[[Link], None]


def begin(link: Link) -> None:
    """A call that is up on both sides."""
    link.call()
    link.run(SETTLE)
    assert link.us.sessions[0].state == "up" and link.them.sessions[0].state == "up"


def end(link: Link, side: Side) -> None:
    side.sessions[0].hang_up(link.now)
    link.run(LONG)


def once(side: Side, kind: type) -> None:
    assert len(side.named(kind)) == 1, (kind.__name__, side.story)


def plain(link: Link) -> None:
    begin(link)
    end(link, link.us)
    once(link.us, Answered)


def refused(link: Link) -> None:
    link.them.guard.verdict = Verdict(486)
    link.call()
    link.run(LONG)
    assert link.us.story == ["Over 486"]


def early_media(link: Link) -> None:
    """183 with a description, reliably (RFC 3262), then the answer."""
    link.them.answers = False
    link.call()
    link.run(SETTLE)
    link.them.sessions[0].ring(link.now, 183, ANSWER)
    link.run(SETTLE)
    link.them.sessions[0].accept(ANSWER, link.now)
    link.run(SETTLE)
    end(link, link.them)
    once(link.us, Answered)
    assert "Progress 183" in link.us.story


def late_offer(link: Link) -> None:
    link.call(offer=b"")
    link.run(SETTLE)
    end(link, link.us)
    once(link.us, Answered)


def given_up(link: Link) -> None:
    """CANCEL while it rings."""
    link.them.answers = False
    session = link.call()
    link.run(SETTLE)
    link.them.sessions[0].ring(link.now)
    link.run(SETTLE)
    session.hang_up(link.now)
    link.run(LONG)
    assert link.us.story[-1] == "Over 487" and "Answered" not in link.us.story


def given_up_too_late(link: Link) -> None:
    """CANCEL and 200 cross."""
    link.them.answers = False
    session = link.call()
    link.run(SETTLE)
    link.them.sessions[0].accept(ANSWER, link.now)
    session.hang_up(link.now)
    link.run(LONG)
    assert "Answered" not in link.us.story


def challenged(link: Link) -> None:
    """401, then the password (RFC 7616)."""
    challenger = Challenger("home", b"k" * 32, {"alice": "secret"})

    def admit(request: Request, peer: Peer, now: float) -> Verdict:
        if challenger.check(request, now)[0] == "alice":
            return Verdict()
        return Verdict(401, headers=tuple(challenger.challenge(now)))

    link.them.guard.admit = admit  # type: ignore[method-assign]
    link.account = Account("alice", "secret")
    begin(link)
    end(link, link.us)
    once(link.us, Answered)


def held_by_us(link: Link) -> None:
    held(link, link.us, link.them)


def held_by_them(link: Link) -> None:
    held(link, link.them, link.us)


def held(link: Link, side: Side, other: Side) -> None:
    """Hold and unhold: each offer is heard once and answered once."""
    begin(link)
    for number, direction in enumerate((b"a=sendonly\r\n", b"a=sendrecv\r\n"), 1):
        assert side.sessions[0].reoffer(OFFER + direction, link.now)
        link.run(SETTLE)
        offers = [event.offer for event in other.events if isinstance(event, Reoffered)]
        answers = [event.status for event in side.events if isinstance(event, Reanswered)]
        assert len(offers) == number and offers[-1].endswith(direction) and answers == [200] * number
    end(link, other)


def refused_change(link: Link) -> None:
    begin(link)
    link.them.answers = False
    link.us.sessions[0].reoffer(OFFER, link.now)
    link.run(SETTLE)
    link.them.sessions[0].reanswer(488, b"", link.now)
    link.run(SETTLE)
    assert [event.status for event in link.us.events if isinstance(event, Reanswered)] == [488]
    assert link.us.sessions[0].state == "up"
    end(link, link.us)


def glare(link: Link) -> None:
    """Both change at once: 491, and again one after the other (RFC 3261 §14.1)."""
    begin(link)
    for side in (link.us, link.them):
        assert side.sessions[0].reoffer(OFFER, link.now)
    link.run(4 * SETTLE)
    assert link.us.sessions[0].state == link.them.sessions[0].state == "up"
    for side in (link.us, link.them):
        assert [event.status for event in side.events if isinstance(event, Reanswered)] == [200]
    end(link, link.us)


def keys(link: Link) -> None:
    """INFO: each key arrives once and in order."""
    begin(link)
    for key in (b"Signal=5", b"Signal=#"):
        link.us.sessions[0].tell("application/dtmf-relay", key, link.now)
        link.run(SETTLE)
    assert [event.body for event in link.them.events if isinstance(event, Told)] == [b"Signal=5", b"Signal=#"]
    end(link, link.us)


def refreshed(link: Link) -> None:
    """Session timers over an hour (RFC 4028)."""
    begin(link)
    link.run(3600.0)
    assert link.us.sessions[0].state == link.them.sessions[0].state == "up"
    end(link, link.them)


def taken_over(link: Link) -> None:
    """INVITE with Replaces: the new call stands for the old one (RFC 3891)."""
    begin(link)
    theirs = link.them.sessions[0]
    assert theirs.dialog is not None
    call, ours, other = theirs.dialog.id
    link.them.answers = False
    old = link.us.sessions[0]
    new = link.us.endpoint.invite(
        parse_uri("sip:bob@127.0.0.2"), link.them.peer, Address(Uri("sip", "carol", "127.0.0.1")), OFFER, link.now,
        [("Replaces", f"{call};to-tag={ours};from-tag={other}")],
    )  # fmt: skip
    link.run(SETTLE)
    incoming = link.them.named(Incoming)[-1]
    assert isinstance(incoming, Incoming) and incoming.replaces is theirs
    incoming.session.accept(ANSWER, link.now)
    theirs.hang_up(link.now)
    link.run(SETTLE)
    assert old.state == "over" and new.state == "up"
    new.hang_up(link.now)
    link.run(LONG)


def forked(link: Link) -> None:
    """Two phones take the call at once: the first is kept, the other gets ACK and BYE."""
    link.call()
    link.run(SETTLE)
    assert link.us.sessions[0].state == "up"
    once(link.us, Answered)
    states = sorted(side.sessions[0].state for side in (link.them, link.third) if side.sessions)
    assert states in (["over", "up"], ["up"]), states
    end(link, link.us)
