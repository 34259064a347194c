"""The app calls out: answered, busy, refused, never answered, nobody there."""

from __future__ import annotations

import numpy as np
import pytest
from tests.scenarios.stage import CALLEE, OTHER, Stage

from offhook.legs.simulated import Script


def test_the_called_one_answers_and_hears_the_app() -> None:
    stage = Stage()
    stage.echo()
    phone = stage.phone(CALLEE, answers=2.0, script=Script(lead=0.0, tone=440.0, duration=1.0))
    connection = stage.create(CALLEE)
    assert stage.node.properties(connection).call_connection_state == "connecting"
    stage.run(1.9)
    assert stage.events == []
    stage.run(0.2)
    assert stage.node.properties(connection).call_connection_state == "connected"
    stage.run(2)
    assert stage.events == ["CallConnected", "ParticipantsUpdated", "MediaStreamingStarted", "CallDisconnected"]
    (called,) = phone.parties
    assert len(called.heard) == 50
    said, heard = stage.streams[0].pcm(), called.pcm()
    assert np.array_equal(said[:-320], heard[320:])
    assert stage.empty()


@pytest.mark.parametrize(
    ("phone", "ends"),
    [
        ({"refuses": "busy"}, (486, 560486)),
        ({"refuses": "declined"}, (200, 5002)),  # as recorded from the real service, which posts both events
        ({"answers": None}, (487, 10004)),
    ],
)
def test_one_who_does_not_answer_fails_the_call(phone: dict[str, object], ends: tuple[int, int]) -> None:
    stage = Stage()
    stage.phone(CALLEE, **phone)
    stage.create(CALLEE)
    stage.run(60)
    assert stage.events in (["CreateCallFailed"], ["CreateCallFailed", "CallDisconnected"])
    assert stage.result("CreateCallFailed") == ends
    assert stage.empty()


def test_nobody_there_names_the_command_that_registers_a_phone() -> None:
    stage = Stage()
    stage.create(CALLEE)
    stage.run(0.1)
    assert stage.result("CreateCallFailed") == (404, 8544)
    assert "offhook phone --number +15550100002" in stage.event("CreateCallFailed")["resultInformation"]["message"]
    assert stage.streams == [] and stage.empty()


def test_the_app_hangs_up_while_it_rings() -> None:
    stage = Stage()
    phone = stage.phone(CALLEE, answers=5.0)
    connection = stage.create(CALLEE)
    stage.run(1)
    stage.node.hang_up(connection)
    stage.run(10)
    assert phone.parties[0].end is not None
    assert "CallConnected" not in stage.events and stage.streams == []
    assert stage.empty()


def test_two_targets_share_the_call() -> None:
    stage = Stage()
    first = stage.phone(CALLEE, answers=1.0, script=Script(lead=0.0, tone=440.0, duration=3.0))
    second = stage.phone(OTHER, answers=1.0, script=Script(lead=0.0, duration=3.0))
    connection = stage.create(CALLEE, OTHER)
    stage.run(2)
    assert len(stage.node.participants(connection)) == 2
    stage.run(4)
    assert np.abs(second.parties[0].pcm()).max() > 1000  # it hears the first one's tone
    assert np.abs(first.parties[0].pcm()).max() == 0  # which does not hear itself
    assert stage.empty()
