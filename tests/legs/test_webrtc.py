"""A browser's leg: what it says to its call and to its page, in every state."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import numpy as np
import pytest
from tests.legs.test_webrtc_path import BROWSER, HERE, Port, World
from tests.legs.test_webrtc_sdp import CHROMIUM, FINGERPRINT

from offhook.audio import rtp
from offhook.audio.codecs import codec
from offhook.errors import SipError
from offhook.legs import webrtc_sdp
from offhook.legs.leg import Answered, Dtmf, Ended, KeySent, LegEnd, LegEvent, RateChanged, Refused
from offhook.legs.srtp import Srtp
from offhook.legs.webrtc import BrowserLeg, Told
from offhook.legs.webrtc_path import CONSENT_SECONDS, SET_UP_SECONDS

OFFER = CHROMIUM.replace(FINGERPRINT, BROWSER.fingerprint).replace("jMpi", "them")
PCMU = OFFER.replace("SAVPF 111 63 9 0", "SAVPF 0 111 63 9")
END = LegEnd(0, 0, "", "callee")


class Browser(World):
    """A leg on a port without a socket, and its browser."""

    def __init__(self, *, inbound: bool) -> None:
        self.port = Port()
        self.events: list[LegEvent] = []
        self.said: list[tuple[str, object]] = []
        self.notes: list[tuple[str, dict[str, object]]] = []

        def say(name: str) -> Callable[[object], None]:
            return lambda what: self.said.append((name, what))

        def note(name: str, detail: dict[str, object]) -> None:
            self.notes.append((name, detail))

        told = Told(say("taken"), say("key"), say("problem"), say("ended"), note)
        self.leg = BrowserLeg(
            "leg", lambda _, event: self.events.append(event), self.port, lambda: self.port.now, secrets.randbits, told,
            inbound=inbound,
        )  # fmt: skip
        self.port.candidates = (("127.0.0.1", 1),)
        self.path = self.leg.path

    def agree(self, text: str = OFFER) -> str:
        self.leg.agree(webrtc_sdp.read(text))
        self.names = self.path._ices[-1].ours
        return self.leg.description

    def talk(self, text: str = PCMU) -> Srtp:
        """Up to a call that is up, and what the browser encrypts with."""
        self.agree(text)
        theirs = self.up()
        self.leg.answer(16000)
        return theirs

    def send(self, theirs: Srtp, number: int, value: int = 0) -> None:
        self.port.came(theirs.protect(rtp.build(0, number, number * 160, 7, bytes([value]) * 160)), HERE)

    def names_said(self) -> list[str]:
        return [name for name, _ in self.said]


def test_a_browser_that_calls_is_answered_with_our_description_once() -> None:
    browser = Browser(inbound=True)
    answer = browser.agree()
    assert browser.up() and browser.events == [] and browser.said == []
    browser.leg.answer(16000)
    browser.leg.answer(16000)
    assert browser.said == [("taken", answer)]
    assert browser.leg.rate == 16000


def test_a_browser_that_is_rung_has_answered_when_its_media_is_up() -> None:
    browser = Browser(inbound=False)
    browser.agree()
    assert browser.check(HERE) and browser.events == []
    browser.shake()
    assert browser.events == [Answered()]
    browser.leg.answer(16000)
    assert browser.said == [], "it has our description since it accepted"


def test_what_is_said_and_pressed_before_the_call_is_up_nobody_hears() -> None:
    browser = Browser(inbound=True)
    browser.agree(PCMU)
    theirs = browser.up()
    browser.send(theirs, 1)
    browser.leg.press("1")
    assert browser.leg.port.counters.received == 0 and browser.events == []
    browser.leg.answer(8000)
    browser.send(theirs, 2)
    browser.leg.press("1")
    assert browser.leg.port.counters.received == 1 and browser.events == [Dtmf("1")]


def test_nothing_is_sent_before_there_are_keys_nor_while_it_holds() -> None:
    browser = Browser(inbound=True)
    browser.agree(PCMU)
    browser.leg.answer(8000)
    frame = np.zeros(160, np.int16)
    assert browser.check(HERE)
    browser.port.sent.clear()
    browser.leg.port.write(frame, ())
    assert browser.port.sent == []
    browser.shake()
    browser.port.sent.clear()
    browser.leg.port.write(frame, ())
    assert len(browser.port.sent) == 1 and frame.tobytes() not in browser.port.sent[0][0]
    browser.leg.hold(True)
    browser.leg.port.write(frame, ())
    assert len(browser.port.sent) == 1
    browser.leg.hold(False)
    browser.leg.hold(False)
    browser.leg.port.write(frame, ())
    assert len(browser.port.sent) == 2
    assert browser.notes[-2:] == [("hold", {}), ("unhold", {})]


def test_who_holds_is_not_heard_but_its_keys_are() -> None:
    browser = Browser(inbound=True)
    theirs = browser.talk()
    browser.leg.hold(True)
    for number in range(1, 20):
        browser.send(theirs, number)
        browser.port.now += 0.02
        assert not browser.leg.port.read().any()  # type: ignore[union-attr]
    event = rtp.build(126, 20, 20 * 160, 7, rtp.build_event("5", 160, end=False), marker=True)
    browser.port.came(theirs.protect(event), HERE)
    assert browser.events == [Dtmf("5")]


def test_keys_go_out_as_events_and_the_page_is_told() -> None:
    browser = Browser(inbound=True)
    browser.talk()
    browser.leg.send_key("3")
    for _ in range(20):
        browser.leg.port.write(None, ())
    assert browser.said[-1] == ("key", "3") and browser.events == [KeySent("3")]


def test_another_codec_of_another_rate_is_told_to_the_call() -> None:
    browser = Browser(inbound=True)
    browser.talk(PCMU)
    browser.agree(PCMU)
    assert browser.events == []
    browser.agree(OFFER)
    assert browser.events == [RateChanged()] and browser.leg.port.rate == codec("OPUS", 48000).rate


def test_a_description_that_cannot_be_taken_changes_nothing() -> None:
    browser = Browser(inbound=True)
    theirs = browser.talk()
    with pytest.raises(SipError):
        browser.agree(OFFER.replace("a=rtcp-mux\r\n", ""))
    browser.send(theirs, 1)
    assert browser.leg.port.counters.received == 1 and browser.leg.rate == 8000


@pytest.mark.parametrize(
    ("inbound", "up", "lost", "event"),
    [
        (True, False, "", Ended("")),
        (True, False, "media_lost", Ended("")),
        (True, True, "", Ended("")),
        (True, True, "media_lost", Ended("media_lost")),
        (False, False, "", Refused("declined")),
        (False, False, "media_lost", Refused("unreachable")),
        (False, True, "media_lost", Ended("media_lost")),
    ],
)
def test_how_it_leaves(inbound: bool, up: bool, lost: str, event: LegEvent) -> None:
    browser = Browser(inbound=inbound)
    if up:
        browser.talk()
    browser.events.clear()
    browser.leg.leave(lost)
    assert browser.events == [event]
    browser.leg.hang_up(END)
    browser.leg.hang_up(END)
    browser.leg.leave()
    assert browser.events == [event] and browser.names_said().count("ended") == 1
    assert not browser.port._names and not browser.port._sources, "nothing of it is left"


def test_media_that_does_not_come_up_ends_the_call_and_says_what_to_do() -> None:
    browser = Browser(inbound=False)
    browser.agree()
    browser.port.now += SET_UP_SECONDS
    browser.path.look(browser.port.now)
    (refused,) = browser.events
    assert isinstance(refused, Refused) and refused.outcome == "set_up_timeout"
    assert "--webrtc-host" in str(browser.said[0][1]) and browser.said[0][0] == "problem"
    assert browser.notes == [("media failed", {"reason": browser.said[0][1]})]


def test_a_browser_that_is_gone_ends_the_call_as_lost() -> None:
    browser = Browser(inbound=True)
    browser.talk()
    browser.port.now += CONSENT_SECONDS
    browser.path.look(browser.port.now)
    assert browser.events == [Ended("media_lost")]
