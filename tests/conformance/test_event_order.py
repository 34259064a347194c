"""The order in which an app hears of things, as protocol.md §5.7 has it, over REST by hand.

Posts of one connection start in order, and this app answers at once: the order of arrival is the order of sending.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.console_leg import caller, phone
from tests.live import CALLER, CONNECTIONS, LiveNode, TestApp, answer, rest, streaming_options, until
from tests.sound_files import sound_files

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER = "+15550100003"


def order(app: TestApp) -> list[str]:
    """Names of the events so far."""
    return [event["type"].rpartition(".")[2] for event in app.events]


class Story:
    """A call, and the events of each step of it."""

    def __init__(self, node: LiveNode, app: TestApp, connection: str) -> None:
        self._node, self._app, self._path = node, app, f"{CONNECTIONS}/{connection}"
        self._told = 0

    async def ask(self, method: str, verb: str, body: Any = None) -> None:
        """One request that succeeds."""
        status, error = await rest(self._node, method, self._path + verb, body)
        assert status < 300, error

    async def follows(self, *names: str) -> None:
        """These events and no others come, in this order."""
        wanted = self._told + len(names)
        await until(lambda: len(self._app.events) >= wanted, f"{names}; so far {order(self._app)}")
        assert order(self._app)[self._told :] == list(names)
        self._told = wanted


async def test_a_whole_call_in_order(node: LiveNode, app: TestApp) -> None:
    async with sound_files() as files, phone(node, OTHER) as other, caller(node, tone=440) as leg:
        context = (await app.invited())["incomingCallContext"]
        made = await answer(node, context, app.callback, streaming_options(app.socket))
        story = Story(node, app, made["callConnectionId"])
        await story.follows("CallConnected", "ParticipantsUpdated", "MediaStreamingStarted")
        person = {"phoneNumber": {"value": OTHER}}
        await story.ask("POST", "/participants:add", {"participantToAdd": person})
        await story.follows("AddParticipantSucceeded", "ParticipantsUpdated")
        await story.ask("POST", "/participants:mute", {"targetParticipants": [person]})
        await story.follows("ParticipantsUpdated")
        play = {"playSources": [{"kind": "file", "file": {"uri": files.url("/a.wav")}}], "playOptions": {"loop": True}}
        await story.ask("POST", ":play", play)
        await story.follows("PlayStarted")
        recognize = {"targetParticipant": {"phoneNumber": {"value": CALLER}}, "initialSilenceTimeoutInSeconds": 60}
        await story.ask("POST", ":recognize", {"recognizeInputType": "dtmf", "recognizeOptions": recognize})
        await story.ask("POST", ":cancelAllMediaOperations")
        await until(lambda: len(app.events) >= 9, "both are canceled")
        assert sorted(order(app)[7:]) == ["PlayCanceled", "RecognizeCanceled"]
        story = Story(node, app, made["callConnectionId"])
        app.events.clear()
        await story.ask("POST", "/participants:remove", {"participantToRemove": person})
        await story.follows("RemoveParticipantSucceeded", "ParticipantsUpdated")
        await other.told("ended")
        await story.ask("POST", ":stopMediaStreaming", {})
        await story.follows("MediaStreamingStopped")
        await story.ask("DELETE", "")
        await leg.told("ended")
        await story.follows("CallDisconnected")
        assert [e for e in order(app) if e == "CallDisconnected"] == ["CallDisconnected"]


async def test_what_runs_is_ended_before_the_call_is(node: LiveNode, app: TestApp) -> None:
    """Nothing is told of a connection after CallDisconnected (§5.1)."""
    async with sound_files() as files, caller(node, tone=440):
        context = (await app.invited())["incomingCallContext"]
        made = await answer(node, context, app.callback)
        story = Story(node, app, made["callConnectionId"])
        await story.follows("CallConnected", "ParticipantsUpdated")
        play = {"playSources": [{"kind": "file", "file": {"uri": files.url("/a.wav")}}], "playOptions": {"loop": True}}
        await story.ask("POST", ":play", play)
        await story.follows("PlayStarted")
        person = {"phoneNumber": {"value": "+15550100888"}}
        async with phone(node, "+15550100888", never=True) as ringing:
            await story.ask("POST", "/participants:add", {"participantToAdd": person})
            await ringing.told("invite")
            await story.ask("POST", ":terminate")
            await story.follows("PlayCanceled", "CallDisconnected")
            await ringing.told("ended")
    assert order(app)[-1] == "CallDisconnected"


async def test_a_call_that_fails_is_told_once(node: LiveNode, app: TestApp) -> None:
    body = {"targets": [{"phoneNumber": {"value": "+15550100777"}}], "callbackUri": app.callback}
    status, made = await rest(node, "POST", CONNECTIONS, body)
    assert status == 201
    await Story(node, app, made["callConnectionId"]).follows("CreateCallFailed")
