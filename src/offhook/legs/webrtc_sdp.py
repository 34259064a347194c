"""A browser's session description, and our answer to it (RFC 8829, RFC 9143, RFC 8842, RFC 8839).

We take its first audio; everything else in it is refused with port 0 (RFC 3264 §6). Its candidates are passed over: it
checks its ways to us, not we ours to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aiosipua.sdp import MediaDescription, SdpMessage

from offhook.audio.codecs import is_there
from offhook.audio.wideband import OPUS_RATE
from offhook.errors import SipError
from offhook.legs.dtls import fingerprint
from offhook.legs.ice import Credentials
from offhook.legs.latch import Address
from offhook.sip.sdp import TELEPHONE_EVENT, Format, parse

MAX_BODY: Final = 32 * 1024
MAX_MEDIA: Final = 64
PROFILES: Final = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF")
SPOKEN: Final = (("OPUS", 48000, 2), ("G722", 8000, 1), ("PCMU", 8000, 1), ("PCMA", 8000, 1))
"""Codecs by name, clock and channels; which is used is by the order of the browser."""
OPUS_PARAMETERS: Final = f"minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0;maxplaybackrate={OPUS_RATE}"
DIRECTIONS: Final = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
"""What a direction of theirs is answered with."""
_STATIC: Final = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000)}
_ICE_CHARS: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,64}")
_WORD: Final = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a browser offers as far as we use it. `events`: telephone-event's payload types by clock."""

    index: int
    mid: str
    profile: str
    format: Format
    events: dict[int, int]
    direction: str
    ufrag: str
    fingerprint: str
    media: tuple[tuple[str, str, str, str], ...]
    """All m= lines: media, profile, formats, mid."""

    @property
    def we_send(self) -> bool:
        """Whether it wants to hear us."""
        return self.direction in ("sendrecv", "recvonly")

    @property
    def we_hear(self) -> bool:
        """Whether it will say something."""
        return self.direction in ("sendrecv", "sendonly")


def read(text: str) -> Offer:
    """An offer. SipError names what it lacks."""
    if len(text) > MAX_BODY:
        raise SipError(f"a session description of {len(text)} characters is longer than {MAX_BODY}")
    parsed = parse(text, MAX_MEDIA)
    for index, line in enumerate(parsed.media):
        if line.media == "audio" and line.port and line.proto.upper() in PROFILES:
            return _offer(parsed, index, line)
    raise SipError("the description has no m=audio line that a browser's call has (UDP/TLS/RTP/SAVPF)")


def _offer(parsed: SdpMessage, index: int, line: MediaDescription) -> Offer:
    if "rtcp-mux" not in line.attributes:
        raise SipError("a=rtcp-mux is missing: RTP and RTCP come to one port here (RFC 8834 §4.5)")
    if _attribute(parsed, line, "setup") not in ("actpass", "active"):
        raise SipError("a=setup must be actpass or active: the browser begins the DTLS handshake")
    ufrag = _attribute(parsed, line, "ice-ufrag")
    if not _ICE_CHARS.fullmatch(ufrag):
        raise SipError("a=ice-ufrag is missing or no name of ICE (RFC 8839 §5.4)")
    events: dict[int, int] = {}
    chosen = None
    for codec in line.codecs:
        name, clock = _STATIC.get(codec.payload_type, ("", 0))
        name, clock = codec.encoding_name.upper() or name, codec.clock_rate or clock
        if not 0 <= codec.payload_type <= 127:
            raise SipError(f"the description has payload type {codec.payload_type}")
        if name == TELEPHONE_EVENT.upper():
            events.setdefault(clock or 8000, codec.payload_type)
        elif chosen is None and (name, clock, codec.channels or 1) in SPOKEN and is_there(name, clock):
            chosen = Format(codec.payload_type, name, clock, codec.channels or 1)
    if chosen is None:
        spoken = ", ".join(name for name, clock, _ in SPOKEN if is_there(name, clock))
        raise SipError(f"no codec in common: the browser offers none of {spoken}")
    return Offer(
        index=index,
        mid=_mid(line),
        profile=line.proto,
        format=chosen,
        # Keys keep time with the codec (RFC 4733 §2.1); a browser that has no such clock sends them all the same.
        events={chosen.clock: events[chosen.clock]} if chosen.clock in events else events,
        direction=_direction(parsed, line),
        ufrag=ufrag,
        fingerprint=_fingerprint(parsed, line),
        media=tuple((m.media, m.proto, " ".join(m.formats), _mid(m)) for m in parsed.media),
    )


def _attributes(parsed: SdpMessage, line: MediaDescription, name: str) -> list[str]:
    """An attribute of a line, or of the session where it may stand for all lines, as often as it is there."""
    return [str(value or "").strip() for value in line.attributes.get(name) or parsed.attributes.get(name) or []]


def _attribute(parsed: SdpMessage, line: MediaDescription, name: str) -> str:
    """The first of them; empty when it is missing."""
    return next(iter(_attributes(parsed, line, name)), "")


def _fingerprint(parsed: SdpMessage, line: MediaDescription) -> str:
    """Of several hashes of one certificate the one that we know (RFC 8122 §5.1)."""
    values = _attributes(parsed, line, "fingerprint")
    return fingerprint(next((value for value in values if value.lower().startswith("sha-256")), (values or [""])[0]))


def _mid(line: MediaDescription) -> str:
    values = line.attributes.get("mid") or []
    mid = str(values[0] or "").strip() if values else ""
    if mid and not _TOKEN.fullmatch(mid):
        raise SipError("a=mid is no token (RFC 5888 §4)")
    return mid


def _direction(parsed: SdpMessage, line: MediaDescription) -> str:
    for attributes in (line.attributes, parsed.attributes):
        for name in DIRECTIONS:
            if name in attributes:
                return name
    return "sendrecv"


@dataclass(frozen=True, slots=True)
class Side:
    """What we say of ourselves: where we are, our names in checks and handshake, and our stream."""

    candidates: tuple[Address, ...]
    credentials: Credentials
    fingerprint: str
    ssrc: int
    session: int
    version: int


def answer(offer: Offer, side: Side) -> str:
    """Our answer, with lines ended as RFC 8866 has it."""
    host, _ = side.candidates[0]
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=offhook {side.session} {side.version} IN {family} {host}",
        "s=-",
        "t=0 0",
        "a=ice-lite",
    ]
    if offer.mid:
        lines.append(f"a=group:BUNDLE {offer.mid}")
    for index, (media, profile, formats, mid) in enumerate(offer.media):
        if index == offer.index:
            lines += _audio(offer, side, family)
            continue
        words = " ".join(word for word in formats.split() if _WORD.fullmatch(word)) or "0"
        lines += [f"m={media} 0 {profile} {words}", "c=IN IP4 0.0.0.0", "a=inactive"]
        if mid:
            lines.append(f"a=mid:{mid}")
    return "\r\n".join(lines) + "\r\n"


def _audio(offer: Offer, side: Side, family: str) -> list[str]:
    host, port = side.candidates[0]
    spoken = offer.format
    payloads = " ".join(str(payload) for payload in (spoken.payload, *offer.events.values()))
    name = spoken.name.lower() if spoken.name == "OPUS" else spoken.name
    channels = f"/{spoken.channels}" if spoken.channels > 1 else ""
    lines = [
        f"m=audio {port} {offer.profile} {payloads}",
        f"c=IN {family} {host}",
        f"a={DIRECTIONS[offer.direction]}",
        "a=rtcp-mux",
        f"a=rtpmap:{spoken.payload} {name}/{spoken.clock}{channels}",
    ]
    if offer.mid:
        lines.append(f"a=mid:{offer.mid}")
    if spoken.name == "OPUS":
        lines.append(f"a=fmtp:{spoken.payload} {OPUS_PARAMETERS}")
    for clock, payload in offer.events.items():
        lines += [f"a=rtpmap:{payload} {TELEPHONE_EVENT}/{clock}", f"a=fmtp:{payload} 0-16"]
    lines += [
        "a=ptime:20",
        f"a=ice-ufrag:{side.credentials.ufrag}",
        f"a=ice-pwd:{side.credentials.password}",
        f"a=fingerprint:sha-256 {side.fingerprint}",
        "a=setup:passive",
        "a=msid:offhook offhook-audio",
        f"a=ssrc:{side.ssrc} cname:offhook",
    ]
    for number, (address, at) in enumerate(side.candidates):
        priority = (126 << 24) | ((65535 - number) << 8) | 255  # RFC 8445 §5.1.2.1
        lines.append(f"a=candidate:{number + 1} 1 udp {priority} {address} {at} typ host")
    lines.append("a=end-of-candidates")
    return lines
