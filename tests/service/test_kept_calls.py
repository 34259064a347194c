"""What a node leaves on the disk of a call, as its settings want it: everything, no sound, nothing; and of a call that
it could not take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.live import TestApp, until
from tests.sip_phone import BYE, TestPhone

from offhook.legs.leg import Refused
from offhook.service.config import DevConfig, NodePlan
from offhook.service.history import HistoryRule
from offhook.service.process import LiveNode
from offhook.wire.models import AnswerCallRequest


class Kept:
    """The settings of `offhook dev` with others of the history."""

    def __init__(self, config: DevConfig, days: float, sound: bool) -> None:
        self._config, self._days, self._sound = config, days, sound

    def plan(self) -> NodePlan:
        return replace(self._config.plan(), history=HistoryRule(self._days), sound=self._sound)


@pytest.mark.parametrize(("days", "sound"), [(7.0, True), (7.0, False), (0.0, True)])
async def test_a_node_keeps_of_a_call_what_it_may(tmp_path: Path, days: float, sound: bool) -> None:
    app, phone = TestApp(), TestPhone()
    async with app.running():
        config = DevConfig(port=0, sip_port=0, state_dir=tmp_path, incoming=[app.webhook])
        node = LiveNode(Kept(config, days, sound), lambda event: None)
        await node.start()
        try:
            async with phone.running():
                await until(lambda: app.validations, "validation")
                assert node._phones is not None
                line = phone.call(node._phones.trunk.ports["udp"])
                data = await app.invited()
                request = AnswerCallRequest(
                    incoming_call_context=data["incomingCallContext"], callback_uri=app.callback
                )
                connection = node.node.answer(request, "2026-03-12").call_connection_id
                await until(lambda: len(line.heard) > 20, "sound")
                line.leg.hang_up(BYE)
                await app.event("CallDisconnected")
                page = node.book.page(connection)
                assert page is not None and bool(page["legs"][0]["audio"]) == (sound and days > 0)
                assert (await node.book.figures(connection) or {})["figures"], "figures there are without sound"
        finally:
            await node.stop()
    names = {path.name for path in (tmp_path / "calls").glob("*/*")} if (tmp_path / "calls").exists() else set()
    expected = {"call.json", "events.jsonl", "series.json"} if days else set[str]()
    if days and sound:
        expected |= {"tracks.json", "01-said.wav", "01-heard.wav"}
    assert names == expected


async def test_a_call_that_cannot_be_taken_says_why_and_leaves_nothing_else(tmp_path: Path) -> None:
    phone = TestPhone()
    node = LiveNode(DevConfig(port=0, sip_port=0, state_dir=tmp_path), lambda event: None)
    await node.start()
    try:
        async with phone.running():
            assert node._phones is not None
            line = phone.call(node._phones.trunk.ports["udp"], change=lambda offer: b"v=0\r\nnonsense\r\n")
            await until(lambda: any(isinstance(event, Refused) for event in line.events), "its refusal")
            (row,) = node.book.rows()
            page = node.book.page(row["callId"])
            assert page is not None and (page["state"], page["endedBy"]) == ("ended", "service")
            names = [(event["kind"], event["name"]) for event in page["events"]]
            assert {("sip", "INVITE"), ("sip", "488 INVITE"), ("leg", "failed")} <= set(names)
            (failed,) = [event for event in page["events"] if event["name"] == "failed"]
            assert failed["detail"]["reason"] and failed["leg"] == page["legs"][0]["legId"]
            assert not node.node.calls and not node.captures._live
    finally:
        await node.stop()
