"""Session descriptions: what the other side can hear and where (RFC 8866, RFC 3264, RFC 4568, RFC 4733)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from aiosipua.sdp import MediaDescription, SdpMessage, parse_sdp

from offhook.errors import SipError
from offhook.sip.grammar import number

KIND = "application/sdp"
TELEPHONE_EVENT = "telephone-event"
COMFORT_NOISE = "CN"

MAX_BODY = 16 * 1024
MAX_MEDIA = 32
MAX_FORMATS = 128
"""Bytes of a description, its m= lines, and the payload types of each, of which RTP has no more."""

Direction = str
_WINDOW: Final = re.compile(r"WSH\s*=", re.IGNORECASE)
_FLIPPED: Final = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


@dataclass(frozen=True, slots=True)
class Format:
    """One codec of an m= line. `clock` is the RTP clock in Hz, which for G.722 is 8000 (RFC 3551 §4.5.2)."""

    payload: int
    name: str  # in capitals
    clock: int
    channels: int = 1
    fmtp: str = ""

    def same(self, other: Format) -> bool:
        """Whether both mean one codec."""
        return (self.name, self.clock, self.channels) == (other.name, other.clock, other.channels)


@dataclass(frozen=True, slots=True)
class Crypto:
    """An a=crypto line (RFC 4568 §9.1)."""

    tag: int
    suite: str
    key: str  # inline:… with its lifetime and MKI
    params: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether we can do all that it asks for: a suite of ours, one key without an MKI, no parameter that changes
        how packets are made. A window size is only a hint, and one with a dash may be passed over (§6.3)."""
        plain = ";" not in self.key and not any(":" in part for part in self.key.split("|")[1:])
        return self.suite in SUITES and plain and all(p.startswith("-") or _WINDOW.match(p) for p in self.params)


@dataclass(frozen=True, slots=True)
class Audio:
    """The audio of one side, `direction` as that side sees it; `events`: telephone-event's payload types by clock."""

    host: str
    port: int
    formats: tuple[Format, ...]
    events: dict[int, int]
    direction: Direction = "sendrecv"
    ptime: int | None = None
    profile: str = "RTP/AVP"
    cryptos: tuple[Crypto, ...] = ()
    rtcp_port: int | None = None
    index: int = 0
    """Which of the m= lines it is."""
    rtcp_mux: bool = False
    """RTP and RTCP on one port (RFC 5761)."""

    @property
    def held(self) -> bool:
        """Whether that side does not want to hear anything (RFC 3264 §8.4; 0.0.0.0 is the old way, §8.4)."""
        return self.direction in ("sendonly", "inactive") or self.host in ("0.0.0.0", "::") or self.port == 0


@dataclass(frozen=True, slots=True)
class Description:
    """A whole session description as far as we use it; `media` are all m= lines as (media, proto, formats)."""

    audio: Audio | None
    media: tuple[tuple[str, str, tuple[str, ...]], ...]
    version: str = ""


SUITES: Final = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
"""Crypto suites that we speak, with the bytes of key and salt (RFC 4568 §6.2, RFC 7714 §12)."""

NewKey = Callable[[int], bytes]
"""Makes so many random bytes."""

# RFC 3551 §6.
_STATIC: Final = {
    0: Format(0, "PCMU", 8000),
    8: Format(8, "PCMA", 8000),
    9: Format(9, "G722", 8000),
    10: Format(10, "L16", 44100, 2),
    11: Format(11, "L16", 44100),
    13: Format(13, "CN", 8000),
}


def read(body: bytes) -> Description:
    """A description; SipError when it is none."""
    if len(body) > MAX_BODY:
        raise SipError(f"a session description of {len(body)} bytes is longer than {MAX_BODY}")
    parsed = parse(body.decode("utf-8", "replace"))
    media = tuple((m.media, m.proto, tuple(m.formats)) for m in parsed.media)
    audio = None
    for index, line in enumerate(parsed.media):
        usable = line.media == "audio" and line.proto.upper() in ("RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF")
        if usable and (audio is None or audio.port == 0):
            audio = _audio(parsed, line, index)
    return Description(audio, media, parsed.origin.session_version)


def parse(text: str, most_media: int = MAX_MEDIA) -> SdpMessage:
    """The lines of a description of bounded size; SipError when it is none, or has too many m= lines or formats."""
    if not text.lstrip().startswith("v="):
        raise SipError("this is no session description: no v= line")
    try:
        parsed = parse_sdp(text)
    except (ValueError, IndexError, TypeError) as error:
        raise SipError(f"this is no session description: {error}") from None
    if len(parsed.media) > most_media or any(len(line.formats) > MAX_FORMATS for line in parsed.media):
        raise SipError(f"the description has more than {most_media} m= lines, or than {MAX_FORMATS} formats in one")
    return parsed


def _audio(parsed: SdpMessage, line: MediaDescription, index: int) -> Audio:
    connection = line.connection or parsed.connection
    if connection is None and line.port:
        raise SipError("the description has no c= line")
    if not 0 <= line.port <= 65535:
        raise SipError(f"the description has port {line.port}")
    formats = []
    events: dict[int, int] = {}
    for codec in line.codecs:
        name = codec.encoding_name.upper()
        known = _STATIC.get(codec.payload_type)
        if not 0 <= codec.payload_type <= 127:
            raise SipError(f"the description has payload type {codec.payload_type}")
        if name == TELEPHONE_EVENT.upper():
            events.setdefault(codec.clock_rate or 8000, codec.payload_type)
        elif name:
            channels = codec.channels or 1
            formats.append(Format(codec.payload_type, name, codec.clock_rate, channels, codec.fmtp or ""))
        elif known is not None:
            formats.append(known)
    return Audio(
        "0.0.0.0" if connection is None else connection.address.partition("/")[0],
        line.port,
        tuple(formats),
        events,
        _direction(parsed, line),
        _number(line.attributes.get("ptime")),
        line.proto.upper(),
        tuple(crypto for value in line.attributes.get("crypto", ()) if (crypto := _crypto(value)) is not None),
        _number(line.attributes.get("rtcp")) or None,
        index,
        "rtcp-mux" in line.attributes,
    )


def _direction(parsed: SdpMessage, line: MediaDescription) -> Direction:
    for attributes in (line.attributes, parsed.attributes):
        for name in _FLIPPED:
            if name in attributes:
                return name
    return "sendrecv"


def _number(values: list[str] | None) -> int | None:
    word = values[0].split()[0] if values and values[0].split() else ""
    value = number(word)
    return value if value is not None and value <= 65535 else None


def _crypto(value: str) -> Crypto | None:
    words = value.split()
    tag = number(words[0]) if len(words) >= 3 else None
    if tag is None or tag >= 10**9 or not words[2].startswith("inline:"):
        return None
    return Crypto(tag, words[1].upper(), words[2], tuple(words[3:]))


# answering ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides have settled on: `send` and `receive` are the same codec with each side's payload type."""

    send: Format
    receive: Format
    send_event: int | None
    """Their payload type of telephone-event at the codec's clock; None: they cannot take it."""
    receive_events: dict[int, int]
    """Clock by payload type of every telephone-event that may come."""
    host: str
    port: int
    rtcp_port: int
    ptime: int
    we_send: bool
    we_hear: bool
    theirs: Crypto | None = None
    """The key that they encrypt with; None: plain media."""
    ours: Crypto | None = None
    """The key that we encrypt with."""
    comfort: int | None = None
    """Payload type of comfort noise at the codec's clock (RFC 3389 §4); None: they send none."""


def new_crypto(tag: int, suite: str, new_key: NewKey) -> Crypto:
    """A fresh key for a suite."""
    return Crypto(tag, suite, "inline:" + base64.b64encode(new_key(SUITES[suite])).decode())


def encrypted(audio: Audio) -> bool:
    """Whether a side wants its media encrypted."""
    return "SAVP" in audio.profile


def _keys(local: Audio, remote: Audio) -> tuple[Crypto | None, Crypto | None]:
    """Our key and theirs for an answer to our offer; SipError when only one side encrypts."""
    if encrypted(local) != encrypted(remote):
        raise SipError("one side wants encrypted media and the other plain")
    if not encrypted(local):
        return None, None
    for theirs in remote.cryptos:
        for ours in local.cryptos:
            if (ours.tag, ours.suite) == (theirs.tag, theirs.suite) and theirs.usable:
                return ours, theirs
    raise SipError("no crypto suite in common")


def agree(local: Audio, remote: Audio | None) -> Agreed:
    """Settle on the first of their formats that we have too; SipError when there is none (488).

    The order is theirs: an answer's by right, an offer's because it should be kept (RFC 3264 §6.1).
    """
    if remote is None:
        raise SipError("the description has no audio that we can speak")
    our_key, their_key = _keys(local, remote)
    for theirs in remote.formats:
        ours = next((f for f in local.formats if f.same(theirs) and f.name != COMFORT_NOISE), None)
        if ours is None:
            continue
        clock = ours.clock
        event = remote.events.get(clock)
        hears = remote.direction in ("sendrecv", "recvonly") and not remote.held
        speaks = remote.direction in ("sendrecv", "sendonly")
        return Agreed(
            theirs,
            ours,
            event if clock in local.events else None,
            {payload: rate for rate, payload in local.events.items()},
            remote.host,
            remote.port,
            # The last port has none above it.
            remote.port if remote.rtcp_mux and local.rtcp_mux else remote.rtcp_port or min(remote.port + 1, 65535),
            remote.ptime or 20,
            hears and local.direction in ("sendrecv", "sendonly"),
            speaks and local.direction in ("sendrecv", "recvonly"),
            their_key,
            our_key,
            next((f.payload for f in remote.formats if (f.name, f.clock) == (COMFORT_NOISE, clock)), None),
        )
    ours_named, theirs_named = (", ".join(f.name for f in side.formats) or "none" for side in (local, remote))
    raise SipError(f"no codec in common: they have {theirs_named}, we {ours_named}")


def answer_to(offer: Description, local: Audio, new_key: NewKey, former: Agreed | None = None) -> tuple[Audio, Agreed]:
    """Our side of the answer and what is agreed: their payload numbers, one codec, direction turned (RFC 3264 §6).

    Encrypted media is answered with a key of our own for the first line that we can use (RFC 4568 §7.1.1); the key of
    `former`, what held before a change, is kept while theirs is: another one would begin to count packets anew.
    """
    if offer.audio is not None:
        local = replace(local, profile=offer.audio.profile, cryptos=(), rtcp_mux=offer.audio.rtcp_mux)
        if encrypted(offer.audio):
            line = next((c for c in offer.audio.cryptos if c.usable), None)
            if line is None:
                raise SipError("encrypted media without a key, or of suites and parameters that we do not speak")
            kept = former.ours if former is not None and former.theirs == line else None
            local = replace(local, cryptos=(kept or new_crypto(line.tag, line.suite, new_key),))
    agreed = agree(local, offer.audio)
    assert offer.audio is not None
    theirs = offer.audio
    events = {rate: payload for rate, payload in theirs.events.items() if rate == agreed.send.clock}
    wanted = _FLIPPED[theirs.direction]
    direction = wanted if local.direction == "sendrecv" else _narrow(wanted, local.direction)
    chosen = replace(agreed.send, fmtp=agreed.receive.fmtp)  # parameters say what each side takes
    formats: tuple[Format, ...] = (chosen,)
    if agreed.comfort is not None:
        formats += (Format(agreed.comfort, COMFORT_NOISE, chosen.clock),)
    ours = replace(local, formats=formats, events=events, direction=direction, index=theirs.index)
    settled = replace(
        agreed,
        receive=chosen,
        send_event=events.get(agreed.send.clock),
        # Phones that offered several clocks send on any of them.
        receive_events={payload: rate for rate, payload in theirs.events.items()},
    )
    return ours, settled


def _narrow(one: Direction, other: Direction) -> Direction:
    sends = "send" in one and "send" in other
    hears = "recv" in one and "recv" in other
    return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
        (sends, hears), "inactive"
    )


def write(audio: Audio, session: int, version: int, offer: Description | None = None) -> bytes:
    """A description of our audio. For an answer, `offer` decides the m= lines: those that we refuse get port 0."""
    family = "IP6" if ":" in audio.host else "IP4"
    lines = ["v=0", f"o=offhook {session} {version} IN {family} {audio.host}", "s=-", f"c=IN {family} {audio.host}"]
    lines.append("t=0 0")
    media = offer.media if offer is not None else (("audio", audio.profile, ()),)
    for index, (kind, proto, formats) in enumerate(media):
        if index == audio.index:
            lines += _media_lines(audio)
        else:
            lines.append(f"m={kind} 0 {proto} {' '.join(formats) or '0'}")
    return ("\r\n".join(lines) + "\r\n").encode()


def _media_lines(audio: Audio) -> list[str]:
    payloads = [str(f.payload) for f in audio.formats] + [str(payload) for payload in audio.events.values()]
    lines = [f"m=audio {audio.port} {audio.profile} {' '.join(payloads)}"]
    for f in audio.formats:
        channels = f"/{f.channels}" if f.channels > 1 else ""
        lines.append(f"a=rtpmap:{f.payload} {f.name.lower() if f.name == 'OPUS' else f.name}/{f.clock}{channels}")
        if f.fmtp:
            lines.append(f"a=fmtp:{f.payload} {f.fmtp}")
    for clock, payload in audio.events.items():
        lines += [f"a=rtpmap:{payload} {TELEPHONE_EVENT}/{clock}", f"a=fmtp:{payload} 0-16"]
    lines += [f"a=crypto:{crypto.tag} {crypto.suite} {crypto.key}" for crypto in audio.cryptos]
    if audio.rtcp_mux:
        lines.append("a=rtcp-mux")
    lines += [f"a=ptime:{audio.ptime or 20}", f"a={audio.direction}"]
    return lines
