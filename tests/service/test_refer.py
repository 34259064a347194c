"""Transfers of SIP calls: by REFER where a trunk knows it, from here where it does not; sound before and after
(RFC 3515, RFC 3892, protocol.md §9 row 40)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.live import until
from tests.service.test_trunks import NUMBER, VERSION, World, world
from tests.sip_phone import BYE, Line

from offhook.legs.leg import Dtmf, Ended
from offhook.sip.capabilities import ALLOW
from offhook.sip.events import Event, TransferAsked
from offhook.sip.grammar import Address
from offhook.wire.connecting import CallLocator, ConnectRequest
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.models import MediaStreamingOptions
from offhook.wire.participants import AddParticipantRequest
from offhook.wire.transfer import MoveParticipantsRequest, TransferRequest

TARGET = parse_raw_id("4:+15557770055")
DESK = parse_raw_id("4:+15550100077")


class Asked:
    """The carrier's side of one call: what it is asked by REFER, and its answers to it."""

    def __init__(self, w: World, line: Line, answer: int, *reports: int) -> None:
        self.targets: list[Address] = []
        took = line.leg.took

        def take(event: Event, detail: str = "") -> None:
            if not isinstance(event, TransferAsked):
                took(event, detail)
                return
            self.targets.append(event.target)
            event.session.transfer.decide(answer, time.monotonic())
            for report in reports:
                event.session.transfer.report(report, time.monotonic())
            if answer < 300 and not reports:
                line.leg.hang_up(BYE)
            w.carrier.trunk.pump()

        line.leg.took = take  # type: ignore[method-assign]


@contextlib.asynccontextmanager
async def called(folder: Path) -> AsyncIterator[tuple[World, Line, str]]:
    """A call by the trunk that an app has answered; the caller is a tone of 700 Hz."""
    async with world(folder, NUMBER) as w:
        line = w.carrier.call(w.sip, "+15550100002", caller="+15558887777")
        line.tone = 700.0
        app = await w.answer()
        await w.carrier.answered(line)
        await w.app.event("CallConnected")
        yield w, line, app


def transfer(w: World, app: str) -> None:
    request = TransferRequest(
        target=TARGET, source_caller_id_number=DESK, sip_headers=(("User-To-User", "a b"), ("X-MS-Custom-c", "d"))
    )
    leg_id = w.node.node.mint()
    w.node.node.ask(app, lambda call, now: call.transfer(app, leg_id, request, now))


@pytest.fixture
def knows_refer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The carrier says so in Allow."""
    monkeypatch.setattr("offhook.sip.endpoint.ALLOW", ALLOW + ", REFER")


@pytest.mark.usefixtures("knows_refer")
@pytest.mark.parametrize("reports", [(180, 200), ()], ids=["with its progress", "without a word"])
async def test_a_trunk_that_knows_refer_transfers_by_itself(tmp_path: Path, reports: tuple[int, ...]) -> None:
    async with called(tmp_path) as (w, line, app):
        asked = Asked(w, line, 202, *reports)
        transfer(w, app)
        accepted = await w.app.event("CallTransferAccepted")
        assert (accepted["transferTarget"]["rawId"], accepted["resultInformation"]["subCode"]) == (TARGET.raw_id, 7015)
        (target,) = asked.targets
        assert (target.uri.user, target.uri.host) == ("95557770055", "127.0.0.2"), "as the trunk wants it dialled"
        assert target.uri.headers == {"User-To-User": "a b", "X-MS-Custom-c": "d"}
        await w.app.event("CallDisconnected")
        await until(lambda: line.over or not reports, "BYE")
        assert len(w.carrier.lines) == 1, "nobody was called from here"


@pytest.mark.usefixtures("knows_refer")
async def test_a_new_call_of_the_trunk_that_fails_is_told_and_the_talk_goes_on(tmp_path: Path) -> None:
    async with called(tmp_path) as (w, line, app):
        Asked(w, line, 202, 180, 486)
        transfer(w, app)
        failed = await w.app.event("CallTransferFailed")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (486, 560486)
        assert w.node.node.properties(app).call_connection_state == "connected"
        heard = len(line.heard)
        await until(lambda: len(line.heard) > heard + 10, "sound")
        assert not line.over and len(w.carrier.lines) == 1


@pytest.mark.parametrize("why", ["not in Allow", "refused"])
async def test_where_refer_does_not_work_the_target_is_called_from_here(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "refused":
        monkeypatch.setattr("offhook.sip.endpoint.ALLOW", ALLOW + ", REFER")
    async with called(tmp_path) as (w, line, app):
        asked = Asked(w, line, 603)
        transfer(w, app)
        await w.app.event("CallTransferAccepted")
        await w.app.event("CallDisconnected")
        assert len(asked.targets) == (why == "refused")
        invited = w.carrier.invites[-1]
        assert invited.method == "INVITE" and "95557770055" in invited.uri
        assert invited.headers.get_first("x-ms-custom-c") == "d"
        other = w.carrier.lines[-1]
        await until(lambda: len(other.heard) > 60 and abs(other.peak()[0] - 700) < 10, "the transferee's voice")
        await until(lambda: abs(line.peak()[0] - 440) < 10, "the target's voice")
        line.leg.send_key("7")
        await until(lambda: Dtmf("7") in other.events, "the transferee's key")
        assert Dtmf("7") not in line.events
        other.leg.hang_up(BYE)
        await until(lambda: any(isinstance(event, Ended) for event in line.events), "the end of both")


async def test_a_phone_is_moved_with_its_socket_and_codec(tmp_path: Path) -> None:
    """Two calls by the trunk, of two apps: one caller goes over to the other call, which runs at another rate."""
    async with called(tmp_path) as (w, line, app):
        group = ConnectRequest(
            locator=CallLocator("groupCallLocator", "meeting"),
            callback_uri=w.app.callback,
            media_streaming_options=MediaStreamingOptions(audio_channel_type="mixed", sample_rate=24000),
        )
        meeting = w.node.node.connect(group, VERSION).call_connection_id
        invitation = AddParticipantRequest(participant_to_add=TARGET, source_caller_id_number=DESK)
        ids = w.node.node.mint(), w.node.node.mint()
        w.node.node.ask(meeting, lambda call, now: call.add_participant(meeting, *ids, invitation, now))
        await w.app.event("AddParticipantSucceeded")
        other = w.carrier.lines[-1]
        people = (parse_raw_id("4:+15558887777"),)
        w.node.node.move(meeting, MoveParticipantsRequest(people=people, from_call=app))
        await w.app.event("MoveParticipantSucceeded")
        await until(lambda: len(other.heard) > 60 and abs(other.peak()[0] - 700) < 10, "the voice of who was moved")
        await until(lambda: abs(line.peak()[0] - 440) < 10, "the voice of who was there")
        assert not line.over and len(w.carrier.lines) == 2
        other.leg.hang_up(BYE)
        await until(lambda: len(w.node.node.participants(meeting)) == 1, "the roster")
        line.leg.hang_up(BYE)
        await until(lambda: not w.node.node.participants(meeting), "an empty group")
        w.node.node.hang_up(meeting)
