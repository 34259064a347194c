"""What the trace of a call tells of it, on a manual clock: in which order, of which leg, how it ended."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.scenarios.meeting import answered, transfer
from tests.scenarios.shelf import Shelf
from tests.scenarios.stage import CALLEE, CALLER, OTHER, Stage, asked

from offhook.legs.leg import Dtmf
from offhook.service import media
from offhook.wire.playing import PlayRequest, PlaySource


def page_of(stage: Stage, any_id: str) -> dict[str, Any]:
    trace = stage.node.traces.find(any_id)
    assert trace is not None
    return trace.page()


def lines(page: dict[str, Any], *kinds: str) -> list[str]:
    return [f"{event['kind']} {event['name']}" for event in page["events"] if event["kind"] in kinds]


def test_an_incoming_call_from_its_first_moment_to_its_last() -> None:
    stage = Stage()
    caller = stage.call()
    page = page_of(stage, next(iter(stage.node.calls)))
    assert (page["state"], page["direction"], page["endedBy"], page["result"]) == ("ringing", "incoming", None, None)
    connection = stage.answer()
    stage.run(1.0)
    assert page_of(stage, connection)["state"] == "connected"
    caller.leg.leave()
    stage.run(0.1)
    page = page_of(stage, connection)
    assert lines(page, "leg", "call", "stream", "callback") == [
        "leg placed", "callback IncomingCall", "callback CallConnected", "callback ParticipantsUpdated",
        "stream opened", "callback MediaStreamingStarted", "leg ended", "stream figures", "stream closed",
        "callback CallDisconnected", "call ended",
    ]  # fmt: skip
    assert (page["from"]["rawId"], page["to"]["rawId"]) == (CALLER.raw_id, CALLEE.raw_id)
    assert (page["state"], page["endedBy"]) == ("ended", "caller")
    assert page["result"]["code"] == stage.result("CallDisconnected")[0]
    (leg,) = page["legs"]
    assert (leg["number"], leg["kind"], leg["rawId"], leg["joinedMs"]) == (1, "simulated", CALLER.raw_id, 0.0)
    assert 1000 <= leg["leftMs"] <= 1200
    assert stage.node.traces.find(connection) is not None and stage.empty()


def test_an_outgoing_call_that_nobody_takes() -> None:
    stage = Stage()
    stage.phone(OTHER, refuses="busy")
    connection = stage.create(OTHER)
    stage.run(0.2)
    page = page_of(stage, connection)
    assert (page["direction"], page["to"]["rawId"], page["answeredAt"]) == ("outgoing", OTHER.raw_id, None)
    assert (page["state"], page["endedBy"]) == ("ended", "app")
    assert page["result"]["code"] == stage.result("CreateCallFailed")[0]
    assert [leg["joinedMs"] for leg in page["legs"]] == [None]


def test_the_app_ends_what_it_began() -> None:
    stage = Stage()
    stage.phone(OTHER)
    connection = stage.create(OTHER)
    stage.run(2.0)
    stage.node.hang_up(connection)
    stage.run(0.1)
    page = page_of(stage, connection)
    assert (page["direction"], page["endedBy"]) == ("outgoing", "app")
    assert lines(page, "leg")[:3] == ["leg dialled", "leg ringing", "leg answered"]


def test_keys_and_what_was_cut() -> None:
    stage = Stage()
    stage.call()
    connection = stage.answer()
    stage.run(0.2)
    (live,) = stage.node.calls.values()
    (leg_id,) = live.legs
    stage.node.leg_event(live, leg_id, Dtmf("5"))
    stream = stage.streams[0]
    stream.say(bytes(6400))
    stage.run(0.1)
    stream.stop()
    stage.run(0.1)
    page = page_of(stage, connection)
    (key,) = [event for event in page["events"] if event["kind"] == "dtmf"]
    assert (key["name"], key["leg"]) == ("pressed", leg_id)
    assert (key["detail"]["tone"], key["detail"]["direction"]) == ("5", "in")
    (cut,) = [event for event in page["events"] if event["kind"] == "stopAudio"]
    assert (cut["leg"], cut["connection"]) == (leg_id, connection) and cut["detail"]["cutMs"] > 0


def test_what_is_played_to_people() -> None:
    stage = Stage()
    stage.node.sounds = shelf = Shelf(stage)
    caller = stage.call()
    connection = stage.answer(stream=False)
    stage.run(0.2)
    source = PlaySource(kind="file", uri="https://a/hello?token=secret")
    shelf.sounds[source.uri] = (1 + np.arange(8000)).astype(np.int16)
    media.play(stage.node, asked(connection), PlayRequest(sources=(source,), to=(), operation_context="c"))
    stage.run(1.0)
    page = page_of(stage, connection)
    assert lines(page, "media") == ["media load", "media loaded", "media play", "media play ended"]
    assert page["events"][[event["name"] for event in page["events"]].index("load")]["detail"]["sources"] == [
        "https://a/hello?token=***"
    ]
    assert caller.end is None


def test_people_who_are_transferred_are_in_the_call_that_they_go_on_in() -> None:
    stage = Stage()
    app, caller = answered(stage)
    stage.phone(OTHER, answers=1.0)
    transfer(stage, app, OTHER)
    stage.run(2.0)
    old = page_of(stage, app)
    assert "media transferred" in lines(old, "media") and old["state"] == "ended"
    (live,) = stage.node.calls.values()
    new = page_of(stage, live.call.call_id)
    assert [leg["rawId"] for leg in new["legs"]] == [CALLER.raw_id, OTHER.raw_id]
    assert (new["from"]["rawId"], new["to"]["rawId"], new["state"]) == (CALLER.raw_id, OTHER.raw_id, "connected")
    caller.leg.leave()
    stage.run(0.1)
    assert page_of(stage, live.call.call_id)["ended"] and stage.empty()
