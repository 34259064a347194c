"""Tones that an app sends to a SIP phone, on real sockets: as telephone events (RFC 4733), or in the sound."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.live import until
from tests.service import test_phones
from tests.sip_phone import BYE, Line

from offhook.audio.dtmf import KeyDetector
from offhook.calls import sending
from offhook.legs.leg import Dtmf
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.tones import SendDtmfTonesRequest

world = test_phones.world


def send(stage: test_phones.World, connection: str, tones: str) -> None:
    target = parse_raw_id("4:+15550100007")
    request = SendDtmfTonesRequest(tones=tuple(tones), target_participant=target)
    stage.node.node.ask(connection, lambda call, now: call.tones(connection, request, now))


def events(line: Line) -> str:
    return "".join(event.tone for event in line.events if isinstance(event, Dtmf))


def result(data: dict[str, Any]) -> tuple[int, int]:
    return data["resultInformation"]["code"], data["resultInformation"]["subCode"]


@pytest.mark.parametrize("transport", ["udp", "tls"])
async def test_a_phone_gets_events_and_then_the_app_is_told(world: test_phones.World, transport: str) -> None:
    line, connection = await world.talking(transport=transport)
    send(world, connection, "11#D")
    assert result(await world.app.event("SendDtmfTonesCompleted")) == (200, 0)
    await until(lambda: events(line) == "11#D", f"the keys; {events(line)}")
    before = len(line.heard)
    await until(lambda: len(line.heard) > before + 60 and line.peak()[1] > 5000, "the echo goes on")


async def test_a_phone_that_knows_no_events_hears_the_tones(world: test_phones.World) -> None:
    def plain(offer: bytes) -> bytes:
        return re.sub(rb"a=(rtpmap|fmtp):101 [^\r]*\r\n", b"", offer).replace(b" 101\r", b"\r")

    line = world.phone.call(world.sip, change=plain)
    line.tone = None
    connection = world.answer((await world.app.invited())["incomingCallContext"])
    await world.phone.answered(line)
    await until(lambda: len(line.heard) > 10, "sound")
    send(world, connection, "4*0")
    assert result(await world.app.event("SendDtmfTonesCompleted")) == (200, 0)

    def heard() -> str:
        detector = KeyDetector(line.leg.rate or 8000)
        return "".join(detector.hear(frame) for frame in line.heard)

    await until(lambda: heard() == "4*0", f"the keys; {heard()}")
    assert events(line) == ""


async def hold(world: test_phones.World, line: Line, way: bytes) -> None:
    """The phone offers its media anew."""
    session = line.leg.session
    assert session is not None
    assert session.reoffer(line.leg._write(None).replace(b"a=sendrecv", way), world.phone.trunk.now())
    world.phone.trunk.pump()
    await until(lambda: not session.change.busy, "an answer")


async def test_a_phone_on_hold_gets_the_rest_when_it_is_back(world: test_phones.World) -> None:
    line, connection = await world.talking()
    await until(lambda: len(line.heard) > 10, "sound")
    await hold(world, line, b"a=inactive")
    send(world, connection, "12")
    before = len(line.heard)
    await until(lambda: len(line.heard) > before + 20, "time passes")
    assert events(line) == "" and not world.app.named("SendDtmfTonesCompleted")
    await hold(world, line, b"a=sendrecv")
    assert result(await world.app.event("SendDtmfTonesCompleted")) == (200, 0)
    await until(lambda: events(line) == "12", f"the keys; {events(line)}")


async def test_a_phone_that_stays_on_hold_fails_the_tones_and_gets_none_of_them_later(
    world: test_phones.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "KEY_TIMEOUT", 0.2)
    line, connection = await world.talking()
    await until(lambda: len(line.heard) > 10, "sound")
    await hold(world, line, b"a=inactive")
    send(world, connection, "12")
    assert result(await world.app.event("SendDtmfTonesFailed")) == (408, 9002)
    await hold(world, line, b"a=sendrecv")
    monkeypatch.undo()
    send(world, connection, "3")
    assert result(await world.app.event("SendDtmfTonesCompleted")) == (200, 0)
    await until(lambda: events(line) == "3", f"the key; {events(line)}")


async def test_a_phone_that_hangs_up_before_the_last_tone(world: test_phones.World) -> None:
    line, connection = await world.talking()
    send(world, connection, "1" * 18)
    await until(lambda: len(events(line)) > 1, "the first keys")
    line.leg.hang_up(BYE)
    assert result(await world.app.event("SendDtmfTonesFailed")) == (400, 8558)
    await world.app.event("CallDisconnected")
