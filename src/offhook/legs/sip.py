"""SipLeg: one SIP session with its audio, as a leg of a call (RFC 3264 for what is agreed on)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from offhook.audio.codecs import codec, is_there
from offhook.audio.wideband import OPUS_RATE
from offhook.errors import AudioError, LegError, SipError
from offhook.legs.leg import Answered, Dtmf, Ended, KeySent, LegEnd, LegEvent, RateChanged, Referred, Refused, Ringing
from offhook.legs.rtp import RtpFormat, RtpPort
from offhook.legs.rtp_sockets import RtpSocket
from offhook.legs.srtp import Srtp, inline_key
from offhook.sip import events, sdp
from offhook.sip.grammar import Address, Uri
from offhook.sip.nat import literal
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

    `latch`: media may come from hosts that the signalling neither named nor came from. `keys_in_sound`: where the other
    side knows no telephone events, keys are listened for in its sound. `timeout`: seconds without a packet after which
    a call is given up, 0 for never.
    """

    codecs: tuple[str, ...] = ("G722", "PCMU", "PCMA", "OPUS", "L16")
    latch: bool = False
    keys_in_sound: bool = False
    timeout: float = 30.0

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


SRTP = ("off", "optional", "required")
"""Whether media is encrypted: never; where signalling is or they ask for it; always (RFC 4568 §7)."""


class SipLeg:
    """One endpoint on SIP. Its audio flows once both sides have agreed on a codec.

    A call of ours may ring in several places at once, as branches with a session each: who answers first is it.
    """

    def __init__(
        self,
        leg_id: str,
        signaller: Signaller,
        port: RtpPort,
        media: RtpSocket,
        event: Callable[[str, LegEvent], None],
        description_id: int,
        new_key: Callable[[int], bytes],
        srtp: str = "optional",
    ) -> None:
        self.leg_id = leg_id
        self.rate: int | None = None
        self.port = port
        self.session: Session | None = None
        self.dialled: tuple[Address, tuple[tuple[str, str], ...]] = (Address(Uri()), ())
        """From and further headers that it was dialled with."""
        self.held = False
        """Whether one side does not want to hear now, so that it may be silent."""
        self.expected_since: float | None = None
        """Since when packets should come; None: not now."""
        self.srtp = srtp
        self._branches: dict[Session, Audio] = {}  # ours that are not answered yet, each with what it was offered
        self._refusals: list[tuple[int, str]] = []  # of branches: status and detail
        self._signaller = signaller
        self._media = media
        self._event = event
        self._description_id = description_id
        self._version = 0
        self._local = Audio(signaller.media_host, media.port, (), EVENTS, ptime=20)
        self._lines: Description | None = None  # what decides the m= lines of the session
        self._open = False  # an offer of ours waits for its answer
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
            self._expect()
            self.session.accept(self._answer, self._signaller.now())
            self._signaller.pump()

    def send_key(self, key: str) -> None:
        """See `Leg`: as a telephone event (RFC 4733), or in the sound where the endpoint does not know those."""
        self.port.press(key)

    def drop_keys(self) -> None:
        """See `Leg`."""
        self.port.drop_keys()

    def refer(self, target: Uri, referrer: Address | None) -> bool:
        """Ask the endpoint to call `target` itself (RFC 3515); `Referred` follows. False when it does not do that."""
        current = self.session
        if current is None or current.dialog is None or not self._up or self._over:
            return False
        if current.dialog.allowed and "refer" not in current.dialog.allowed:
            return False
        asked = current.refer(target, self._signaller.now(), referrer=referrer)
        self._signaller.pump()
        return asked

    def hang_up(self, end: LegEnd) -> None:
        """Leave: refuse, cancel or BYE."""
        if self._over:
            return
        sessions, now = {*self._branches, self.session}, self._signaller.now()
        self._finish()
        for session in sessions:
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
        self._answer = self._agree_to(offer) if offer else self.offer(encrypted=self.srtp == "required")

    def offer(self, *, encrypted: bool) -> bytes:
        """A description that offers what we speak, with encrypted media or with plain.

        Within a session it has the m= lines that this has already (RFC 3264 §8).
        """
        cryptos: tuple[Crypto, ...] = ()
        if encrypted:
            cryptos = self._local.cryptos or (sdp.new_crypto(1, "AES_CM_128_HMAC_SHA1_80", self._new_key),)
        formats = self._signaller.rules.offered
        clocks = {each.clock for each in formats}
        self._local = replace(
            self._local,
            formats=formats,
            events={clock: payload for clock, payload in EVENTS.items() if clock in clocks},
            direction="sendrecv",
            profile="RTP/SAVP" if encrypted else "RTP/AVP",
            cryptos=cryptos,
            index=0 if self._lines is None else self._local.index,
            rtcp_mux=False,
        )
        self._open = True
        return self._write(self._lines)

    def offer_to(self, transport: str) -> bytes:
        """What a call of ours over this transport offers at first."""
        return self.offer(encrypted=self.srtp == "required" or (self.srtp == "optional" and transport == "tls"))

    def plain_offer(self, session: Session) -> bytes | None:
        """What to offer a branch that wants no encrypted media; None: that is all that may be, or was offered."""
        if self.srtp != "optional" or not sdp.encrypted(self._branches.get(session, self._local)):
            return None
        made = self.offer(encrypted=False)
        self._branches[session] = self._local
        return made

    def ringing_at(self, session: Session) -> None:
        """One more branch: it was offered what `offer` gave last."""
        self._branches[session] = self._local
        self.session = self.session or session

    def moved(self, old: Session, new: Session) -> None:
        """A branch is tried elsewhere with what was offered before."""
        self._branches[new] = self._branches.pop(old, self._local)
        if self.session is old:
            self.session = new

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
        if offer:
            answer = self._agree_to(offer)
        else:
            self._lines = None  # the new session has none yet
            answer = self.offer(encrypted=sdp.encrypted(self._local))
        self.session = session
        return answer

    # what the session says --------------------------------------------------------------------------------------

    def took(self, event: events.Event, detail: str = "") -> None:
        """Act on what happened to the session; `detail`: why it cannot be reached."""
        if event.session is not self.session and event.session not in self._branches:
            return  # a branch that we have left
        match event:
            case events.Progress():
                self._event(self.leg_id, Ringing())
            case events.Answered(session, body):
                self._choose(session)
                self._answered(body)
            case events.Confirmed(_, body):
                if self._open and body:
                    self._answered(body)
                self._open = False
            case events.Reoffered(_, offer):
                self._reoffered(offer)
            case events.Reanswered(_, status, body):
                if status < 300 and body:
                    self._answered(body)
            case events.Told(_, kind, body):
                self._told(kind, body)
            case events.Transferred():
                self._transferred(event)
            case events.TransferAsked(session):
                # Who takes part in a call is the app's to say (docs/phones.md).
                session.transfer.decide(603, self._signaller.now())
            case events.Over():
                self._ended(event, detail)

    def _transferred(self, event: events.Transferred) -> None:
        """How our REFER went. Who has agreed to it and then leaves has done it: many say no more of it than that."""
        if not event.final or (not event.status and not event.session.transfer.taken):
            return
        failed = event.status >= 300
        outcome = OUTCOMES.get(event.status, "leg_failed") if failed else ""
        self._event(self.leg_id, Referred(outcome, event.refused, event.reason if failed else ""))

    def _choose(self, session: Session) -> None:
        """One branch was answered: the others are hung up (RFC 3261 §16.7 step 10)."""
        self._local = self._branches.pop(session, self._local)
        self.session = session
        others, self._branches = [*self._branches], {}
        for other in others:
            other.hang_up(self._signaller.now())

    def media_lost(self) -> None:
        """Nothing has come for too long: the endpoint is gone without a word."""
        current = self.session
        self._event(self.leg_id, Ended("media_lost"))
        if current is not None and not self._over:
            self.hang_up(LegEnd(410, 0, "media lost", "service"))

    def pressed(self, key: str) -> None:
        """A key that came with the audio: as a telephone event, or in the sound of who knows none."""
        self._pressed(key, in_sound=self._agreed is not None and self._agreed.send_event is None)

    def key_sent(self, key: str) -> None:
        """A key of ours has been sent to its end."""
        if not self._over:
            self._event(self.leg_id, KeySent(key))

    def _pressed(self, key: str, *, in_sound: bool) -> None:
        if not self._over:
            self._event(self.leg_id, Dtmf(key, in_sound))

    def _answered(self, body: bytes) -> None:
        """Their answer to our offer."""
        self._open = False
        try:
            self._use(sdp.agree(self._local, sdp.read(body).audio))
        except (SipError, AudioError, LegError) as error:
            self._give_up(f"their answer cannot be used: {error}")
            return
        if self.session is not None and not self.session.inbound and not self._up:
            self._up = True
            self._expect()
            self._event(self.leg_id, Answered())

    def _reoffered(self, offer: bytes) -> None:
        """Hold, another address or another codec; what cannot be agreed to leaves everything as it was (488)."""
        current, now = self.session, self._signaller.now()
        if current is None:
            return
        try:
            answer = self._agree_to(offer) if offer else self.offer(encrypted=sdp.encrypted(self._local))
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
            self._pressed(key, in_sound=False)

    def _ended(self, over: events.Over, detail: str) -> None:
        if self._over or self._still_rings(over, detail):
            return
        was_up, inbound = self._up, self.session is not None and self.session.inbound
        self._finish()
        if was_up or inbound:
            self._event(self.leg_id, Ended("" if over.theirs and not over.status else _loss(over.status)))
            return
        status, detail = min(self._refusals, key=_weight, default=(over.status, detail))
        self._event(self.leg_id, Refused(OUTCOMES.get(status, "leg_failed"), detail))

    def _still_rings(self, over: events.Over, detail: str) -> bool:
        """Whether a branch is over and others are not; a 6xx speaks for all of them (RFC 3261 §16.7 step 5)."""
        if self._branches.pop(over.session, None) is None:
            return False
        self._refusals.append((over.status, detail))
        if self.session is over.session and self._branches:
            self.session = next(iter(self._branches))
        if over.status >= 600:
            for other in self._branches:
                other.hang_up(self._signaller.now())
        return bool(self._branches)

    # inside -----------------------------------------------------------------------------------------------------

    def _agree_to(self, offer: bytes) -> bytes:
        """Agree to an offer and use it; our answer. SipError, AudioError when it cannot be agreed to."""
        description = sdp.read(offer)
        if description.audio is not None:
            self._check(description.audio)
        formats = self._signaller.rules.formats
        capable = replace(self._local, formats=formats, events=EVENTS, direction="sendrecv")
        ours, agreed = sdp.answer_to(description, capable, self._new_key, self._agreed)
        self._use(agreed)
        self._lines, self._local, self._open = description, ours, False
        return self._write(description)

    def _check(self, theirs: Audio) -> None:
        """Whether media is encrypted as our rule wants it; SipError when not."""
        if self.srtp == "required" and not sdp.encrypted(theirs):
            raise SipError("their media is not encrypted, and srtp is required here")
        if self.srtp == "off" and sdp.encrypted(theirs):
            raise SipError("their media is encrypted, and srtp is off here")

    def _expect(self) -> None:
        """Packets are to come, from now on or still; a side that is on hold may be silent."""
        if self.held or not self._up:
            self.expected_since = None
        elif self.expected_since is None:
            self.expected_since = self._signaller.now()

    def silent_since(self) -> float | None:
        """Since when nothing has come that should have; None while nothing need come."""
        if self.expected_since is None:
            return None
        return max(self.expected_since, self.port.heard_at or 0.0)

    def _use(self, agreed: Agreed) -> None:
        address = literal(agreed.host)
        if address is None:
            raise SipError(f"media to {agreed.host!r}, which is no address")
        # As sockets write it, by which packets are told to be of whom.
        host, nowhere = str(address), address.is_unspecified or not agreed.port
        chosen = codec(agreed.send.name, agreed.send.clock)
        keys = (agreed.ours, agreed.theirs)
        if keys != self._keys:
            ours, theirs = keys
            self.port.secure(None if ours is None or theirs is None else _srtp(ours, theirs, self.port.srtp))
            self._keys = keys
        changed = self._up and chosen.rate != self.rate
        self.rate = chosen.rate
        self._agreed = agreed
        self.held = nowhere or not (agreed.we_send and agreed.we_hear)
        self._expect()
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
            (host, agreed.port),
            None if nowhere else (host, agreed.rtcp_port),
            near="" if self.session is None else self.session.peer.host,
        )
        if changed:
            self._event(self.leg_id, RateChanged())

    def _write(self, offer: Description | None) -> bytes:
        self._version += 1
        return sdp.write(self._local, self._description_id, self._version, offer)

    def _give_up(self, reason: str) -> None:
        current, now = self.session, self._signaller.now()
        known = self._up or (current is not None and current.inbound)
        self._finish()
        self._event(self.leg_id, Ended("leg_failed") if known else Refused("leg_failed", reason))
        if current is not None:
            current.hang_up(now)
            self._signaller.pump()

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self.port.farewell()
            self._media.close()
            self._signaller.gone(self)


def _srtp(ours: Crypto, theirs: Crypto, before: Srtp | None) -> Srtp:
    """What encrypts under the keys of both descriptions. SipError for a bad key."""
    return Srtp(ours.suite, inline_key(ours.suite, ours.key), inline_key(theirs.suite, theirs.key), before)


def _loss(status: int) -> str:
    """How a session that did not end by a BYE ended."""
    return {408: "media_lost", 481: "media_lost", 487: ""}.get(status, "")


def _weight(refusal: tuple[int, str]) -> tuple[bool, bool, int]:
    """Which refusal of several says most: that of a person before that of a network."""
    status, _ = refusal
    return status < 600, status in (408, 480, 481, 487, 500, 503), status
