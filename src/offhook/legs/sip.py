"""SipLeg: one SIP session with its audio, as a leg of a call (RFC 3264 for what is agreed on)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from offhook.audio.codecs import codec, is_there
from offhook.audio.wideband import OPUS_RATE
from offhook.errors import AudioError, LegError, SipError
from offhook.legs.leg import Answered, Dtmf, Ended, LegEnd, LegEvent, RateChanged, Refused, Ringing
from offhook.legs.rtp import RtpFormat, RtpPort
from offhook.legs.rtp_sockets import RtpSocket
from offhook.legs.srtp import Srtp
from offhook.sip import events, sdp
from offhook.sip.grammar import Address, Uri
from offhook.sip.sdp import Agreed, Audio, Crypto, Description, Format
from offhook.sip.session import Session

KNOWN = {
    "G722": Format(9, "G722", 8000),
    "PCMU": Format(0, "PCMU", 8000),
    "PCMA": Format(8, "PCMA", 8000),
    "OPUS": Format(111, "OPUS", 48000, 2, f"maxplaybackrate={OPUS_RATE};sprop-stereo=0;stereo=0;useinbandfec=1"),
    "L16": Format(96, "L16", 16000),
}
"""What we speak, as we describe it (RFC 3551 §6, RFC 7587 §7); L16 is taken when asked for and never offered."""
EVENTS = {8000: 101, 48000: 110, 16000: 102}
"""Payload types of keys by clock: they keep time with the codec (RFC 4733 §2.1)."""


@dataclass(frozen=True, slots=True)
class MediaRules:
    """How calls sound: `codecs` in the order in which they are offered.

    `latch`: media may come from elsewhere than was signalled (NAT). `keys_in_sound`: where the other side knows no
    telephone events, keys are listened for in its sound.
    """

    codecs: tuple[str, ...] = ("G722", "PCMU", "PCMA", "OPUS", "L16")
    latch: bool = True
    keys_in_sound: bool = False

    @property
    def formats(self) -> tuple[Format, ...]:
        """What may be spoken, as far as its library is there."""
        known = (KNOWN[name] for name in self.codecs)
        return tuple(each for each in known if is_there(each.name, each.clock))

    @property
    def offered(self) -> tuple[Format, ...]:
        """What a call of ours offers."""
        return tuple(each for each in self.formats if each.name != "L16")


# What a refusal by the called side means to the app: rows of the results table (protocol.md §3.9, §9 row 21).
OUTCOMES = {
    403: "refused",
    404: "unreachable",
    408: "set_up_timeout",
    410: "unreachable",
    480: "not_answered",
    484: "unreachable",
    486: "busy",
    487: "not_answered",
    600: "busy",
    603: "declined",
    604: "unreachable",
}

# How a caller is refused, by the code that it is told (leg.LegEnd).
STATUSES = {200: 603, 403: 403, 404: 404, 408: 480, 480: 480, 486: 486, 487: 480, 429: 503, 503: 503}


class Signaller(Protocol):
    """What a leg needs of the trunk that made it."""

    media_host: str
    rules: MediaRules

    def now(self) -> float:
        """Monotonic seconds."""

    def pump(self) -> None:
        """Put on the network what the session has to say."""

    def gone(self, leg: SipLeg) -> None:
        """The leg is over."""


class SipLeg:
    """One endpoint on SIP. Its audio flows once both sides have agreed on a codec."""

    def __init__(
        self,
        leg_id: str,
        signaller: Signaller,
        port: RtpPort,
        media: RtpSocket,
        event: Callable[[str, LegEvent], None],
        description_id: int,
        new_key: Callable[[int], bytes],
    ) -> None:
        self.leg_id = leg_id
        self.rate: int | None = None
        self.port = port
        self.session: Session | None = None
        self.dialled: tuple[Address, tuple[tuple[str, str], ...]] = (Address(Uri()), ())
        """From and further headers that it was dialled with."""
        self.held = False
        self._signaller = signaller
        self._media = media
        self._event = event
        self._description_id = description_id
        self._version = 0
        self._local = Audio(signaller.media_host, media.port, (), EVENTS, ptime=20)
        self._offer: Description | None = None
        self._agreed: Agreed | None = None
        self._keys: tuple[Crypto | None, Crypto | None] = (None, None)
        self._new_key = new_key
        self._answer = b""
        self._up = False
        self._over = False

    # Leg --------------------------------------------------------------------------------------------------------

    def answer(self, rate: int) -> None:
        """Take an inbound call; an outbound one is up already. Telephone audio keeps its own rate."""
        if self.session is not None and self.session.inbound and not self._up:
            self._up = True
            self.session.accept(self._answer, self._signaller.now())
            self._signaller.pump()

    def hang_up(self, end: LegEnd) -> None:
        """Leave: refuse, cancel or BYE."""
        if self._over:
            return
        session, now = self.session, self._signaller.now()
        self._finish()
        if session is not None:
            session.hang_up(now, STATUSES.get(end.code, 480))
            self._signaller.pump()

    def abandon(self) -> None:
        """The session is refused before it became a call: no event follows, the port is given back."""
        self._finish()

    # set-up -----------------------------------------------------------------------------------------------------

    def invited(self, session: Session, offer: bytes) -> None:
        """An inbound session. SipError when its description cannot be agreed to (488)."""
        self.session = session
        if offer:
            self._answer = self._agree_to(offer)
        else:
            self._answer = self.offer()

    def offer(self, *, encrypted: bool = False) -> bytes:
        """A description that offers what we speak, with encrypted media or with plain."""
        if encrypted and not self._local.cryptos:
            suite = sdp.new_crypto(1, "AES_CM_128_HMAC_SHA1_80", self._new_key)
            self._local = replace(self._local, profile="RTP/SAVP", cryptos=(suite,))
        formats = self._signaller.rules.offered
        clocks = {each.clock for each in formats}
        keys = {clock: payload for clock, payload in EVENTS.items() if clock in clocks}
        self._local = replace(self._local, formats=formats, events=keys, direction="sendrecv", index=0, rtcp_mux=False)
        return self._write(None)

    def ring(self) -> None:
        """Let the caller hear that it rings."""
        if self.session is not None:
            self.session.ring(self._signaller.now())

    @property
    def may_redial(self) -> bool:
        """Whether a call of ours that was not taken may still be tried elsewhere."""
        return not self._over and not self._up and self.session is not None and not self.session.inbound

    def replace(self, session: Session, offer: bytes) -> bytes:
        """Go on with another session; our answer. SipError, AudioError when it cannot, and all stays as it was."""
        answer = self._agree_to(offer) if offer else self.offer()
        self.session = session
        return answer

    # what the session says --------------------------------------------------------------------------------------

    def took(self, event: events.Event) -> None:
        """Act on what happened to the session."""
        match event:
            case events.Progress():
                self._event(self.leg_id, Ringing())
            case events.Answered(_, body):
                self._answered(body)
            case events.Confirmed(_, body):
                if body and self._offer is None:
                    self._answered(body)
            case events.Reoffered(_, offer):
                self._reoffered(offer)
            case events.Reanswered(_, status, body):
                if status < 300 and body:
                    self._use(sdp.agree(self._local, sdp.read(body).audio))
            case events.Told(_, kind, body):
                self._told(kind, body)
            case events.TransferAsked(session):
                # Who takes part in a call is the app's to say (docs/phones.md).
                session.transfer.decide(603, self._signaller.now())
            case events.Over():
                self._ended(event)

    def media_lost(self) -> None:
        """Nothing has come for too long: the endpoint is gone without a word."""
        current = self.session
        self._event(self.leg_id, Ended("media_lost"))
        if current is not None and not self._over:
            self.hang_up(LegEnd(410, 0, "media lost", "service"))

    def pressed(self, key: str) -> None:
        """A key, by telephone event or INFO."""
        if not self._over:
            self._event(self.leg_id, Dtmf(key))

    def _answered(self, body: bytes) -> None:
        """Their answer to our offer."""
        try:
            self._use(sdp.agree(self._local, sdp.read(body).audio))
        except (SipError, AudioError, LegError) as error:
            self._give_up(f"their answer cannot be used: {error}")
            return
        if self.session is not None and not self.session.inbound and not self._up:
            self._up = True
            self._event(self.leg_id, Answered())

    def _reoffered(self, offer: bytes) -> None:
        """Hold, another address or another codec; what cannot be agreed to leaves everything as it was (488)."""
        current, now = self.session, self._signaller.now()
        if current is None:
            return
        try:
            answer = self._agree_to(offer) if offer else self.offer()
        except (SipError, AudioError):
            current.reanswer(488, b"", now)
        else:
            current.reanswer(200, answer, now)

    def _told(self, kind: str, body: bytes) -> None:
        """Keys by INFO: `application/dtmf-relay` has Signal=5, `application/dtmf` the key alone."""
        text = body.decode("ascii", "replace")
        key = ""
        if kind == "application/dtmf-relay":
            for line in text.splitlines():
                name, _, value = line.partition("=")
                if name.strip().lower() == "signal":
                    key = value.strip().upper()
        elif kind == "application/dtmf":
            key = text.strip().upper()
        key = {"10": "*", "11": "#"}.get(key, key)
        if len(key) == 1 and key in "0123456789*#ABCD":
            self.pressed(key)

    def _ended(self, over: events.Over) -> None:
        if self._over:
            return
        was_up, inbound = self._up, self.session is not None and self.session.inbound
        self._finish()
        if was_up or inbound:
            self._event(self.leg_id, Ended("" if over.theirs and not over.status else _loss(over.status)))
        else:
            self._event(self.leg_id, Refused(OUTCOMES.get(over.status, "leg_failed")))

    # inside -----------------------------------------------------------------------------------------------------

    def _agree_to(self, offer: bytes) -> bytes:
        """Agree to an offer and use it; our answer. SipError, AudioError when it cannot be agreed to."""
        description = sdp.read(offer)
        formats = self._signaller.rules.formats
        capable = replace(self._local, formats=formats, events=EVENTS, direction="sendrecv")
        ours, agreed = sdp.answer_to(description, capable, self._new_key, self._agreed)
        self._use(agreed)
        self._offer, self._local = description, ours
        return self._write(description)

    def _use(self, agreed: Agreed) -> None:
        try:
            nowhere = ipaddress.ip_address(agreed.host).is_unspecified or not agreed.port
        except ValueError:
            raise SipError(f"media to {agreed.host!r}, which is no address") from None
        chosen = codec(agreed.send.name, agreed.send.clock)
        changed = self._up and chosen.rate != self.rate
        self.rate = chosen.rate
        self._agreed = agreed
        keys = (agreed.ours, agreed.theirs)
        if keys != self._keys:
            ours, theirs = keys
            self.port.secure(None if ours is None or theirs is None else Srtp(ours.suite, ours.key, theirs.key))
            self._keys = keys
        self.held = not agreed.we_hear
        self.port.use(
            RtpFormat(
                chosen,
                agreed.send.payload,
                agreed.receive.payload,
                agreed.send_event,
                frozenset(agreed.receive_events),
                agreed.we_send,
                agreed.we_hear,
                agreed.comfort,
                self._signaller.rules.keys_in_sound and agreed.send_event is None,
            ),
            (agreed.host, agreed.port),
            None if nowhere else (agreed.host, agreed.rtcp_port),
        )
        if changed:
            self._event(self.leg_id, RateChanged())

    def _write(self, offer: Description | None) -> bytes:
        self._version += 1
        return sdp.write(self._local, self._description_id, self._version, offer)

    def _give_up(self, reason: str) -> None:
        current, now = self.session, self._signaller.now()
        self._finish()
        self._event(self.leg_id, Refused("leg_failed"))
        if current is not None:
            current.hang_up(now)
            self._signaller.pump()

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self.port.farewell()
            self._media.close()
            self._signaller.gone(self)


def _loss(status: int) -> str:
    """How a session that did not end by a BYE ended."""
    return {408: "media_lost", 481: "media_lost", 487: ""}.get(status, "")
