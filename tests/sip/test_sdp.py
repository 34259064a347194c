"""Session descriptions of real phones: what is agreed on, what is refused, and what is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import SipError
from offhook.sip.sdp import Agreed, Audio, Description, Format, agree, answer_to, new_crypto, read, write

PCMU, PCMA, L16 = Format(0, "PCMU", 8000), Format(8, "PCMA", 8000), Format(96, "L16", 16000)
OURS = Audio("192.0.2.1", 4000, (PCMU, PCMA, L16), {8000: 101}, ptime=20)

BARESIP = """v=0
o=- 3868331676 599989324 IN IP4 192.0.2.7
s=-
c=IN IP4 192.0.2.7
t=0 0
a=tool:baresip 1.0.0
m=audio 26000 RTP/AVP 8 0 96 97
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-15
a=rtpmap:97 opus/48000/2
a=ptime:20
a=sendrecv
"""
LINPHONE = """v=0
o=alice 1 1 IN IP4 192.0.2.8
s=Talk
c=IN IP4 192.0.2.8
t=0 0
m=audio 26200 RTP/AVP 96 0 8 9 101 100 97
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:101 telephone-event/48000
a=rtpmap:100 telephone-event/16000
a=rtpmap:97 telephone-event/8000
m=video 9078 RTP/AVP 99
a=rtpmap:99 VP8/90000
"""
STATIC_ONLY = "v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.9/127\nt=0 0\nm=audio 5004 RTP/AVP 0 13\n"


def description(text: str) -> Description:
    return read(text.replace("\n", "\r\n").encode())


def settled(text: str) -> Agreed:
    return answer_to(description(text), OURS, bytes)[1]


def test_baresip() -> None:
    agreed = settled(BARESIP)
    assert (agreed.send.name, agreed.send.payload) == ("PCMA", 8)  # its order counts (RFC 3264 §6.1)
    assert (agreed.host, agreed.port, agreed.rtcp_port) == ("192.0.2.7", 26000, 26001)
    assert (agreed.send_event, agreed.receive_events) == (96, {96: 8000})
    assert agreed.we_send and agreed.we_hear


def test_linphone_with_three_clocks_of_telephone_event() -> None:
    """We send at the codec's clock and take any of them."""
    agreed = settled(LINPHONE)
    assert agreed.send_event == 97 and agreed.receive_events == {101: 48000, 100: 16000, 97: 8000}


def test_static_payloads_without_a_map() -> None:
    agreed = settled(STATIC_ONLY)
    assert (agreed.send.name, agreed.host, agreed.send_event) == ("PCMU", "192.0.2.9", None)


def test_comfort_noise_is_taken_when_it_is_offered() -> None:
    """RFC 3389 §4: static payload 13 at 8 kHz; the answer names it so that they may send it."""
    offer = description(STATIC_ONLY)
    ours, agreed = answer_to(offer, OURS, bytes)
    assert agreed.comfort == 13
    assert "m=audio 4000 RTP/AVP 0 13\r\n" in write(ours, 7, 1, offer).decode()
    assert settled(STATIC_ONLY.replace("0 13", "0")).comfort is None
    only_noise = STATIC_ONLY.replace("0 13", "13")
    with pytest.raises(SipError, match="no codec in common"):
        settled(only_noise)


def test_opus_is_answered_with_our_own_parameters() -> None:
    opus = Format(111, "OPUS", 48000, 2, "useinbandfec=1;stereo=0")
    offer = description(LINPHONE)
    ours, agreed = answer_to(offer, replace(OURS, formats=(opus, PCMU), events={8000: 101, 48000: 110}), bytes)
    assert (agreed.send.name, agreed.send.payload, agreed.send_event) == ("OPUS", 96, 101)
    text = write(ours, 7, 1, offer).decode()
    assert "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1;stereo=0\r\n" in text


@pytest.mark.parametrize(
    ("line", "port", "muxed"),
    [
        ("a=rtcp:27001", 27001, False),
        ("a=rtcp-mux", 26000, True),
        ("a=x", 26001, False),
        ("a=rtcp:99999", 26001, False),
        ("a=rtcp:0", 26001, False),
        ("a=rtcp:²", 26001, False),
    ],
)
def test_where_reports_go(line: str, port: int, muxed: bool) -> None:
    """RFC 3605, RFC 5761 §5.1.1: one port only if they ask for it."""
    offer = description(BARESIP + line + "\n")
    ours, agreed = answer_to(offer, OURS, bytes)
    assert agreed.rtcp_port == port
    assert ("a=rtcp-mux" in write(ours, 7, 1, offer).decode()) is muxed


def test_there_is_no_port_above_the_last() -> None:
    assert settled(BARESIP.replace("m=audio 26000", "m=audio 65535")).rtcp_port == 65535


@pytest.mark.parametrize("text", ["m=audio 1 RTP/AVP 0\n" * 33, "m=audio 1 RTP/AVP" + " 0" * 129, "a=x\n" * 5000])
def test_descriptions_are_bounded(text: str) -> None:
    with pytest.raises(SipError, match="more than|longer than"):
        description(STATIC_ONLY + text)


def test_dynamic_payload_numbers_are_theirs() -> None:
    text = STATIC_ONLY.replace("0 13", "117") + "a=rtpmap:117 L16/16000\n"
    agreed = settled(text)
    assert (agreed.send.payload, agreed.receive.payload, agreed.send.clock) == (117, 117, 16000)


@pytest.mark.parametrize(
    ("theirs", "ours", "sends", "hears"),
    [
        ("sendrecv", "sendrecv", True, True),
        ("sendonly", "recvonly", False, True),
        ("recvonly", "sendonly", True, False),
        ("inactive", "inactive", False, False),
    ],
)
def test_directions_are_turned(theirs: str, ours: str, sends: bool, hears: bool) -> None:
    side, agreed = answer_to(description(BARESIP.replace("sendrecv", theirs)), OURS, bytes)
    assert (side.direction, agreed.we_send, agreed.we_hear) == (ours, sends, hears)


def test_hold_by_an_address_of_zeros() -> None:
    agreed = settled(BARESIP.replace("c=IN IP4 192.0.2.7", "c=IN IP4 0.0.0.0"))
    assert not agreed.we_send


def test_a_direction_for_the_whole_session() -> None:
    text = BARESIP.replace("a=sendrecv\n", "").replace("t=0 0", "t=0 0\na=sendonly")
    assert not settled(text).we_send


def test_the_answer_refuses_what_we_do_not_speak() -> None:
    offer = description(LINPHONE)
    ours, _ = answer_to(offer, OURS, bytes)
    text = write(ours, 7, 2, offer).decode()
    assert "o=offhook 7 2 IN IP4 192.0.2.1\r\n" in text
    assert "m=audio 4000 RTP/AVP 0 97\r\n" in text and "a=rtpmap:97 telephone-event/8000\r\n" in text
    assert "m=video 0 RTP/AVP 99\r\n" in text
    assert text.index("m=audio") < text.index("m=video")


def test_audio_may_stand_second() -> None:
    offer = description("v=0\ns=-\nc=IN IP4 192.0.2.9\nm=video 9 RTP/AVP 99\nm=audio 5004 RTP/AVP 8\n")
    ours, agreed = answer_to(offer, OURS, bytes)
    text = write(ours, 1, 1, offer).decode()
    assert agreed.send.name == "PCMA" and text.index("m=video 0") < text.index("m=audio 4000 RTP/AVP 8")


def test_our_offer_and_what_came_of_it() -> None:
    text = write(OURS, 1, 1).decode()
    assert "m=audio 4000 RTP/AVP 0 8 96 101\r\n" in text and "a=fmtp:101 0-16\r\n" in text
    answer = read(b"v=0\r\nc=IN IP6 2001:db8::7\r\nm=audio 6000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n")
    agreed = agree(OURS, answer.audio)
    assert (agreed.send.name, agreed.host, agreed.port, agreed.send_event) == ("PCMA", "2001:db8::7", 6000, 101)


def test_media_of_its_own_address_and_rtcp_elsewhere() -> None:
    text = BARESIP + "c=IN IP4 192.0.2.99\na=rtcp:40000\n"
    agreed = settled(text)
    assert (agreed.host, agreed.rtcp_port) == ("192.0.2.99", 40000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "v=0\nm=audio x RTP/AVP 0\n",
        "v=0\nm=audio 99999 RTP/AVP 0\nc=IN IP4 1.2.3.4\n",
        "v=0\nm=audio 4000 RTP/AVP 0\n",
        "v=0\nc=IN IP4 1.2.3.4\nm=audio 4000 RTP/AVP 900\n",
        "v=0\nc=IN IP4 1.2.3.4\nm=audio 4000 RTP/AVP 18\na=rtpmap:18 G729/8000\n",
        "v=0\nc=IN IP4 1.2.3.4\nm=video 4000 RTP/AVP 99\na=rtpmap:99 VP8/90000\n",
        "v=0\nc=IN IP4 1.2.3.4\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\n",
    ],
)
def test_what_cannot_be_agreed_to_says_why(text: str) -> None:
    with pytest.raises(SipError) as refused:
        answer_to(read(text.encode()), OURS, bytes)
    assert str(refused.value)


def test_keys_of_encrypted_media_are_read() -> None:
    line = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20\n"
    audio = description(BARESIP.replace("RTP/AVP", "RTP/SAVP") + line + "a=crypto:x y\n").audio
    assert audio is not None and audio.profile == "RTP/SAVP"
    assert [(c.tag, c.suite) for c in audio.cryptos] == [(1, "AES_CM_128_HMAC_SHA1_80")]


def secured(text: str = BARESIP) -> str:
    line = "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20\n"
    return text.replace("RTP/AVP", "RTP/SAVP") + "a=crypto:1 F8_128_HMAC_SHA1_80 inline:x\n" + line


def test_encrypted_media_is_answered_with_a_key_of_our_own() -> None:
    offer = description(secured())
    ours, agreed = answer_to(offer, OURS, bytes)
    assert agreed.theirs is not None and agreed.ours is not None
    assert (agreed.ours.tag, agreed.ours.suite) == (3, "AES_CM_128_HMAC_SHA1_80")
    text = write(ours, 1, 1, offer).decode()
    assert "m=audio 4000 RTP/SAVP 8 96\r\n" in text
    assert f"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\r\n" in text


KEY = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
SUITE = "AES_CM_128_HMAC_SHA1_80"


def secured_by(*lines: str) -> str:
    return BARESIP.replace("RTP/AVP", "RTP/SAVP") + "".join(f"a=crypto:{line}\n" for line in lines)


def offered(*lines: str) -> Description:
    return description(secured_by(*lines))


@pytest.mark.parametrize(
    "first",
    [
        f"1 {SUITE} {KEY}|2^20|1:4",
        f"1 {SUITE} {KEY};inline:x",
        f"1 {SUITE} {KEY} UNENCRYPTED_SRTP",
        f"1 {SUITE} {KEY}|2^20 KDR=1 WSH=128",
        f"1 {SUITE} {KEY} FEC_ORDER=FEC_SRTP",
        f"² {SUITE} {KEY}",
        f"{'9' * 5000} {SUITE} {KEY}",
        f"1 {SUITE}",
    ],
)
def test_a_crypto_line_that_asks_for_more_than_we_do_is_passed_over(first: str) -> None:
    """RFC 4568 §§6.1, 6.3: several keys, and media that is made otherwise; alone it is refused."""
    _, agreed = answer_to(offered(first, f"2 {SUITE} {KEY}|2^20 WSH=128 -x=1"), OURS, bytes)
    assert agreed.theirs is not None and (agreed.theirs.tag, agreed.theirs.key) == (2, f"{KEY}|2^20")
    with pytest.raises(SipError, match="suites"):
        answer_to(offered(first), OURS, bytes)
    mine = replace(OURS, profile="RTP/SAVP", cryptos=(new_crypto(1, SUITE, bytes),))
    with pytest.raises(SipError, match="suite"):
        agree(mine, offered(first).audio)


def test_our_key_is_kept_while_theirs_is() -> None:
    """Packets go on being counted under it; a new key of theirs, or another line, begins anew on both sides."""
    keys = iter(range(1, 9))

    def fresh(size: int) -> bytes:
        return bytes([next(keys)]) * size

    offer = offered(f"2 {SUITE} {KEY}")
    _, first = answer_to(offer, OURS, fresh)
    _, held = answer_to(description(secured_by(f"2 {SUITE} {KEY}") + "a=sendonly\n"), OURS, fresh, first)
    assert held.ours == first.ours and held.theirs == first.theirs
    for other in (f"2 {SUITE} {KEY[:-4]}AAAA", f"3 {SUITE} {KEY}", f"2 AES_CM_128_HMAC_SHA1_32 {KEY}"):
        _, changed = answer_to(offered(other), OURS, fresh, held)
        assert changed.ours is not None and held.ours is not None and changed.ours.key != held.ours.key


def test_encryption_that_only_one_side_wants_or_can_do() -> None:
    with pytest.raises(SipError, match="suite"):
        answer_to(description(BARESIP.replace("RTP/AVP", "RTP/SAVP")), OURS, bytes)
    ours = replace(OURS, profile="RTP/SAVP", cryptos=(new_crypto(1, "AEAD_AES_128_GCM", bytes),))
    with pytest.raises(SipError, match="plain"):
        agree(ours, description(BARESIP).audio)
    with pytest.raises(SipError, match="suite"):
        agree(ours, description(secured()).audio)
    mine = replace(ours, cryptos=(new_crypto(3, "AES_CM_128_HMAC_SHA1_80", bytes),))
    assert agree(mine, description(secured()).audio).theirs is not None


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_body_is_read_or_refused(noise: bytes, at: int) -> None:
    good = LINPHONE.encode()
    for body in (noise, b"v=0\r\n" + noise, good[:at] + noise + good[at:]):
        try:
            answer_to(read(body), OURS, bytes)
        except SipError:
            pass
