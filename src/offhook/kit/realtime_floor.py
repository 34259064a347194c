"""Whose turn it is between a caller and a speech model: never two responses at once, none into the caller's words.

A service refuses `response.create` while a response is active (`conversation_already_has_active_response`). Besides
the relay, the service itself begins responses when its turn detection is on. No I/O; events in, events out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from offhook.kit.realtime_settings import Event, TurnRules, cancel, create

RESPONSES_KEPT: Final = 64
"""Responses whose late sound is known to be old."""


class Floor:
    """The state of one connection. `send` and `send_first` queue an event, in its order or before all others."""

    def __init__(self, rules: TurnRules, send: Callable[[Event], None], send_first: Callable[[Event], None]) -> None:
        self._rules = rules
        self._send, self._send_first = send, send_first
        self.active: str | None = None
        """Id of the response that the service is working on."""
        self.caller_speaks = False
        self.waiting = False
        """For the connection: what is asked for meanwhile is asked when it `begins`."""
        self._asked = 0  # how often a response was asked for: the end of the event_id
        self._requested = False  # asked for, and not begun yet
        self._wanted: Mapping[str, Any] | None = None
        self._covered = False  # the active response was made with all that one was asked for
        self._service_answers = False  # it will begin a response by itself
        self._unwelcome = False  # the caller began after it was asked for: it is canceled when it begins
        self._dropped: deque[str] = deque(maxlen=RESPONSES_KEPT)

    # ------------------------------------------------------------------ what the relay wants

    def ask(self, response: Mapping[str, Any] | None = None) -> None:
        """A response, as soon as it may be: `response` are settings of this one."""
        self._wanted = response or self._wanted or {}
        self._go()

    def drop(self, response_id: str) -> None:
        """Nothing more of a response is wanted: what still comes of it is old, and it is canceled if it is active."""
        if response_id in self._dropped:
            return
        self._dropped.append(response_id)
        if response_id == self.active:
            self._send_first(cancel(response_id))

    def is_old(self, response_id: str) -> bool:
        """Whether sound of this response must not be heard."""
        return response_id in self._dropped

    # ------------------------------------------------------------------ what happens

    def begins(self) -> None:
        """The connection is there."""
        self.waiting = False
        self._go()

    def speech_started(self, *, interrupts: bool) -> None:
        """The caller speaks; `interrupts`: what is being answered is over by that."""
        self.caller_speaks = True
        if not interrupts:
            return
        self._unwelcome = self._requested
        if self.active is None:
            return
        if self._rules.interrupts and self.active not in self._dropped:
            self._dropped.append(self.active)  # the service cancels it by itself
        else:
            self.drop(self.active)

    def speech_ended(self) -> None:
        """The caller has stopped."""
        self.caller_speaks = False
        self._service_answers = self._rules.answers
        self._go()

    @property
    def waits(self) -> bool:
        """Whether the service is to begin a response, by itself or as it was asked."""
        return self.active is None and (self._service_answers or self._requested)

    def no_answer_came(self) -> None:
        """The service has not begun what was expected of it: it is asked (again), as the caller waits."""
        if self.waits:
            self._service_answers = self._requested = self._unwelcome = False
            self.ask()

    def created(self, response_id: str, *, covers: bool) -> None:
        """A response has begun; `covers`: all that a response is wanted for was there before."""
        unwelcome = self._unwelcome and self._requested
        self.active = response_id
        self._requested = self._unwelcome = self._service_answers = False
        self._covered = covers and not unwelcome
        if self._covered:
            self._wanted = None
        if unwelcome:
            self.drop(response_id)

    def done(self, response_id: str) -> None:
        """A response is over, however."""
        if response_id == self.active:
            self.active = None
            self._go()

    def refused(self, *, active: bool) -> None:
        """The response that was asked for was refused; `active`: because another was.

        After that it is asked again, unless the other one, which the service began by itself, is what was wanted.
        """
        self._requested = self._unwelcome = False
        if active and not (self.active is not None and self._covered):
            self._wanted = self._wanted or {}
            self._go()

    def refused_itself(self) -> None:
        """The service was to begin a response, and could not as another was active: it is asked for one after that.

        Some services do not say which event an error is about: then it may have been asked for.
        """
        if self._service_answers:
            self._service_answers = False
            self.ask()
        elif self._requested:
            self.refused(active=True)

    def _go(self) -> None:
        if self._wanted is None or self.active is not None or self._requested or self.waiting:
            return
        if self.caller_speaks or self._service_answers:
            return
        wanted, self._wanted = self._wanted, None
        self._requested = True
        self._asked += 1
        self._send(create(f"offhook_create_{self._asked}", wanted))
