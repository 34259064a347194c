"""A relay between a simulated call and a double of the speech model, for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from tests.kit.realtime_double import Answer, RealtimeDouble, Session
from tests.kit.simulated_call import Line, SimulatedCall
from tests.live import until

from offhook.kit import OpenAI, TurnTaking, relay
from offhook.kit.turns import TurnEvent


class Talk:
    """A relay that runs between a simulated call and a double."""

    def __init__(self, double: RealtimeDouble, caller: SimulatedCall, running: asyncio.Future[None]) -> None:
        self.double, self.caller, self.running = double, caller, running
        self.told = Line()
        self._turns = caller.call.turns

    async def until(self, condition: Any, what: str = "") -> Any:
        """As `until`, but fails at once when the relay has failed."""

        def met() -> Any:
            if self.running.done():
                self.running.result()
            return condition()

        return await until(met, what, 5)

    async def said(self, pcm: bytes) -> None:
        """Until all of it is on its way to the caller, and the model is done with it."""
        await self.until(lambda: self.caller.played.endswith(pcm) and not self.double.session.active, "said")

    @property
    def turns(self) -> list[TurnEvent]:
        """What the call has told of turns so far."""
        return list(self._turns._waiting)

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """What the model was told of one kind, over all sessions."""
        return [event for session in self.double.sessions for event in session.told if event["type"] == kind]


@contextlib.asynccontextmanager
async def talking(
    answers: Sequence[Answer] | Callable[[Session], Answer] = (),
    *,
    rate: int = 24000,
    preview: bool = False,
    turns: TurnTaking | None = None,
    **more: Any,
) -> AsyncIterator[Talk]:
    """Relay a simulated call to a double; at the end nothing may have been refused."""
    async with RealtimeDouble(answers) as double, SimulatedCall(rate, turns) as caller:
        more.setdefault("service", OpenAI("sk-test", double.url, preview=preview))
        talk = Talk(double, caller, asyncio.get_running_loop().create_future())
        talk.running = asyncio.ensure_future(relay(caller.call, on_event=talk.told.append, **more))
        yield talk
        await caller.end()
        await asyncio.wait_for(talk.running, 5)
        assert double.mistakes == []
