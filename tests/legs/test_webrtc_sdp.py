"""Descriptions of browsers and our answers, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offhook.errors import SipError
from offhook.legs import webrtc_sdp
from offhook.legs.ice import Credentials
from offhook.legs.webrtc_sdp import Side

FINGERPRINT = ":".join(["AB"] * 32)
SIDE = Side(
    (("192.0.2.1", 8481), ("2001:db8::1", 8481)),
    Credentials("ouruser1", "ourpassword0123456789012"),
    FINGERPRINT,
    7,
    1,
    2,
)
# As Chromium writes it, without the lines that say nothing here.
CHROMIUM = f"""v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:jMpi
a=ice-pwd:7dKLoM8KYsDJ3/Z9SfNQ3W6A
a=ice-options:trickle
a=fingerprint:sha-256 {FINGERPRINT}
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=msid:- 3bbe2a2e-28a3-4a3f-8d6a-0c6e8b5a0d0e
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:1001 cname:ZwYyqF0
""".replace("\n", "\r\n")
MORE = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n"
)


def lines(text: str) -> list[str]:
    assert text.endswith("\r\n")
    return text.split("\r\n")


def test_an_offer_of_chromium_is_answered_line_by_line() -> None:
    offer = webrtc_sdp.read(CHROMIUM)
    assert (offer.format.name, offer.format.payload, offer.ufrag) == ("OPUS", 111, "jMpi")
    assert offer.events == {48000: 110} and offer.we_hear and offer.we_send
    said = lines(webrtc_sdp.answer(offer, SIDE))
    assert said[:6] == ["v=0", "o=offhook 1 2 IN IP4 192.0.2.1", "s=-", "t=0 0", "a=ice-lite", "a=group:BUNDLE 0"]
    for line in (
        "m=audio 8481 UDP/TLS/RTP/SAVPF 111 110",
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:110 telephone-event/48000",
        "a=fmtp:110 0-16",
        "a=ice-ufrag:ouruser1",
        "a=ice-pwd:ourpassword0123456789012",
        f"a=fingerprint:sha-256 {FINGERPRINT}",
        "a=setup:passive",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 8481 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::1 8481 typ host",
        "a=end-of-candidates",
    ):
        assert line in said, line
    parameters = next(line for line in said if line.startswith("a=fmtp:111"))
    assert "useinbandfec=1" in parameters and "stereo=0" in parameters


def test_the_browsers_order_decides_among_codecs_and_keys_keep_time_with_it() -> None:
    offer = webrtc_sdp.read(CHROMIUM.replace("SAVPF 111 63 9 0 8 13", "SAVPF 63 0 111 9 8 13"))
    assert (offer.format.name, offer.events) == ("PCMU", {8000: 126})
    firefox = CHROMIUM.replace("a=rtpmap:110 telephone-event/48000\r\n", "").replace(" 110 126", " 126")
    assert webrtc_sdp.read(firefox).events == {8000: 126}, "it sends keys at the clock that it has"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_directions_are_turned(theirs: str, ours: str) -> None:
    offer = webrtc_sdp.read(CHROMIUM.replace("a=sendrecv", f"a={theirs}"))
    assert (offer.we_send, offer.we_hear) == ("send" in ours, "recv" in ours)
    assert f"a={ours}" in lines(webrtc_sdp.answer(offer, SIDE))


def test_everything_but_the_first_audio_is_refused_in_its_place() -> None:
    said = lines(webrtc_sdp.answer(webrtc_sdp.read(CHROMIUM + MORE + CHROMIUM[CHROMIUM.index("m=audio") :]), SIDE))
    media = [line for line in said if line.startswith("m=")]
    assert media == [
        "m=audio 8481 UDP/TLS/RTP/SAVPF 111 110",
        "m=video 0 UDP/TLS/RTP/SAVPF 96",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 0 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
    ]
    assert [line for line in said if line.startswith("a=group")] == ["a=group:BUNDLE 0"]


def test_of_several_hashes_of_a_certificate_the_known_one_is_taken() -> None:
    more = CHROMIUM.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1 AA:BB\r\na=fingerprint:SHA-256")
    assert webrtc_sdp.read(more).fingerprint == FINGERPRINT


def test_attributes_may_stand_for_the_whole_session() -> None:
    moved = [line for line in lines(CHROMIUM) if line.startswith(("a=fingerprint", "a=setup", "a=ice-ufrag"))]
    rest = [line for line in lines(CHROMIUM) if line not in moved]
    at = rest.index("a=group:BUNDLE 0")
    assert webrtc_sdp.read("\r\n".join([*rest[:at], *moved, *rest[at:]])).ufrag == "jMpi"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("v=0", "x=0", "no v= line"),
        ("m=audio", "m=video", "no m=audio"),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "no m=audio"),
        ("a=rtcp-mux\r\n", "", "rtcp-mux"),
        ("a=setup:actpass", "a=setup:passive", "a=setup"),
        ("a=setup:actpass\r\n", "", "a=setup"),
        ("a=ice-ufrag:jMpi\r\n", "", "ice-ufrag"),
        ("a=ice-ufrag:jMpi", "a=ice-ufrag:a b", "ice-ufrag"),
        ("sha-256", "sha-1", "only sha-256"),
        (FINGERPRINT, FINGERPRINT[:-3], "32 pairs"),
        ("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 63 13 110", "no codec in common"),
        ("a=mid:0", "a=mid:a\tb c", "a=mid"),
        ("SAVPF 111", "SAVPF 300 111", "payload type|no codec|description"),
    ],
)
def test_what_cannot_be_taken_is_named(old: str, new: str, said: str) -> None:
    with pytest.raises(SipError, match=said):
        webrtc_sdp.read(CHROMIUM.replace(old, new))


def test_descriptions_have_bounds() -> None:
    for text in (CHROMIUM + "a=x\r\n" * 60_000, CHROMIUM + MORE * 40, CHROMIUM.replace("111", "111" + " 96" * 200, 1)):
        with pytest.raises(SipError):
            webrtc_sdp.read(text)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 60), st.text(max_size=30)), max_size=6), st.text(max_size=200))
def test_any_text_is_read_or_refused(changes: list[tuple[int, str]], noise: str) -> None:
    said = lines(CHROMIUM)
    for at, text in changes:
        said[at % len(said)] = text
    for text in (noise, "v=" + noise, "\r\n".join(said)):
        try:
            offer = webrtc_sdp.read(text)
        except SipError:
            continue
        made = lines(webrtc_sdp.answer(offer, SIDE))
        assert sum(line.startswith("m=") for line in made) == len(offer.media)
