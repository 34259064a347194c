"""A leg of ours and a real phone, without a node between: keys both ways and transfer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.interop.baresip import Baresip, baresip
from tests.live import until
from tests.sip_phone import BYE, Line, TestPhone

from offhook.legs.leg import Dtmf
from offhook.sip.events import Event, Transferred
from offhook.sip.grammar import parse_uri

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


async def called(ours: TestPhone, sip: int, phone: Baresip) -> Line:
    """Our leg has called the phone, which answers by itself."""
    line = ours.call(sip, "baresip")
    await ours.answered(line)
    await phone.told("CALL_ESTABLISHED")
    return line


async def test_keys_are_understood_both_ways(voice: Path, tmp_path: Path, free_port: Callable[[], int]) -> None:
    ours, sip = TestPhone(), free_port()
    account, settings = f"sip:baresip@127.0.0.1:{sip}", "regint=0;answermode=auto"
    async with ours.running(), baresip(tmp_path / "b", voice, (sip, 28100, free_port()), account, settings) as phone:
        line = await called(ours, sip, phone)
        for key in "159#":
            line.leg.port.press(key)
        await until(lambda: phone.keys == ["1", "5", "9", "#"], f"our keys there; {phone.keys}")
        for key in "26*":
            await phone.command("sndcode", key)
        await until(lambda: [e.tone for e in line.events if isinstance(e, Dtmf)] == ["2", "6", "*"], "its keys here")
        line.leg.hang_up(BYE)
        await phone.told("CALL_CLOSED")


async def test_a_phone_is_sent_to_somebody_else_and_tells_how_that_goes(
    voice: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    ours, target, sip = TestPhone(), TestPhone("15550100008"), free_port()
    told: list[Transferred] = []
    account, settings = f"sip:baresip@127.0.0.1:{sip}", "regint=0;answermode=auto"
    async with (
        ours.running(),
        target.running(),
        baresip(tmp_path / "b", voice, (sip, 28200, free_port()), account, settings) as phone,
    ):
        line = await called(ours, sip, phone)
        took = line.leg.took

        def listen(event: Event, detail: str = "") -> None:
            if isinstance(event, Transferred):
                told.append(event)
            took(event, detail)

        line.leg.took = listen  # type: ignore[method-assign]
        assert line.leg.session is not None
        somewhere = parse_uri(f"sip:15550100008@127.0.0.1:{target.trunk.ports['udp']}")
        assert line.leg.session.refer(somewhere, ours.trunk.now())
        ours.trunk.pump()
        await until(lambda: told and told[-1].final, f"the outcome; {told}, {phone.log[-10:]}")
        assert told[-1].status in (200, 0), "it worked, or the phone hung up before it said so"
        await until(lambda: target.lines and target.lines[0].up, "the other phone has the call")
        await until(lambda: len(target.lines[0].heard) > 50, "and hears it")
        target.lines[0].leg.hang_up(BYE)
