"""Steps of stories with several calls. People say one steady level, so that a mix is a sum that can be told."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.scenarios.stage import CALLBACK, SOCKET, VERSION, Party, Stage

from offhook.legs.simulated import Script
from offhook.service.live import LiveCall
from offhook.wire.connecting import CallLocator, ConnectRequest
from offhook.wire.identifiers import Identifier, parse_raw_id
from offhook.wire.models import MediaStreamingOptions
from offhook.wire.participants import AddParticipantRequest
from offhook.wire.transfer import MoveParticipantsRequest, MoveParticipantsResponse, TransferRequest

PEOPLE = [parse_raw_id(f"4:+1555020000{n}") for n in range(8)]
GROUP = "9a0c3b1e-0000-4000-8000-00000000000a"


def speak(party: Party, level: int, rate: int = 16000) -> Party:
    party.leg.say(np.full(rate * 20, level, "<i2").tobytes())
    return party


def answered(stage: Stage, level: int = 1, **options: Any) -> tuple[str, Party]:
    """A caller who says `level`, and the app that has answered it."""
    caller = speak(stage.call(), level)
    app = stage.answer(**options)
    stage.run(0.1)
    return app, caller


def speaking(stage: Stage, person: Identifier, level: int, **settings: Any) -> list[Party]:
    """A phone that answers and says `level`; its calls so far."""
    phone = stage.phone(person, **{"answers": 0.1, "script": Script(lead=0.0), **settings})
    ring = phone.ring

    def rung(action: Any, call_id: str) -> Any:
        leg = ring(action, call_id)
        leg.say(np.full(16000 * 20, level, "<i2").tobytes())
        return leg

    phone.ring = rung  # type: ignore[method-assign]
    return phone.parties


def add(stage: Stage, app: str, person: Identifier, **options: Any) -> None:
    invitation, leg = stage.node.mint(), stage.node.mint()
    request = AddParticipantRequest(participant_to_add=person, **options)
    stage.node.ask(app, lambda call, now: call.add_participant(app, invitation, leg, request, now))


def transfer(stage: Stage, app: str, to: Identifier, **options: Any) -> None:
    leg = stage.node.mint()
    request = TransferRequest(target=to, operation_context="transfer", **options)
    stage.node.ask(app, lambda call, now: call.transfer(app, leg, request, now))


def move(stage: Stage, app: str, of: str, *people: Identifier) -> MoveParticipantsResponse:
    request = MoveParticipantsRequest(people=people, from_call=of, operation_context="move")
    return stage.node.move(app, request)


def server_id(live: LiveCall) -> CallLocator:
    return CallLocator("serverCallLocator", live.call.server_call_id)


def connect(stage: Stage, locator: CallLocator, *, rate: int = 16000, stream: bool = True, **options: Any) -> str:
    """One more app joins; its call connection id."""
    settings = {"start": True, "bidirectional": True, "audio_channel_type": "mixed", **options}
    request = ConnectRequest(
        locator=locator,
        callback_uri=CALLBACK + "2",
        operation_context="second",
        media_streaming_options=(
            MediaStreamingOptions(transport_url=SOCKET, sample_rate=rate, **settings) if stream else None
        ),
    )
    return str(stage.node.connect(request, VERSION).call_connection_id)


def told(stage: Stage, connection: str) -> list[str]:
    """Names of the events of one connection."""
    return [
        event["type"].removeprefix("Microsoft.Communication.")
        for event in stage.callbacks
        if event["data"]["callConnectionId"] == connection
    ]


def hears(party: Party) -> int:
    """The one level of the newest frame somebody heard; 0 is silence."""
    frame = party.heard[-1]
    return 0 if frame is None else level(np.asarray(frame))


def level(frame: Any) -> int:
    """The level in the middle of a frame that is steady but for its resampling."""
    return int(np.median(frame))
