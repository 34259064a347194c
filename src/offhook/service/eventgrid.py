"""Event Grid subscriptions of apps: validation, then IncomingCall posts while the call rings (protocol.md §6.1-6.3)."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from offhook.service.posting import Answer, DeliveryReport, Post, Poster, Report, shown, tell

_log = logging.getLogger(__name__)

VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
INCOMING_CALL = "Microsoft.Communication.IncomingCall"
_VALIDATIONS_OPEN = 4
_CALLS_WAITING = 1000
_ROUNDS = (10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0)
"""Seconds between the rounds of tries of an event that is not of a call: nearly a day, as Event Grid waits."""


class Stage(StrEnum):
    """Where a subscription stands."""

    WAITING = "waiting"
    """The app has not answered yet."""
    REFUSED = "refused"
    """The app answered, but not with 200 and the code; it is asked on."""
    VALIDATED = "validated"


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """What is told when a subscription changes. `reason` is one line for people, empty once validated."""

    id: str
    url: str
    stage: Stage
    reason: str


@dataclass(frozen=True, slots=True)
class Watcher:
    """A webhook that wants IncomingCall events: those whose `to` and `from` raw ids match; empty matches all.

    A filter that ends in `*` means every id that begins so.
    """

    url: str
    name: str = ""
    to: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()

    def wants(self, callee: str, caller: str) -> bool:
        """Whether a call between these raw ids is its business."""
        return _matches(self.to, callee) and _matches(self.from_, caller)


@dataclass(frozen=True, slots=True)
class IncomingPost:
    """An IncomingCall event, or another of a call. `body`: the whole JSON array. `still_ringing`: False ends waits and
    tries.

    `callee` and `caller` are raw ids.
    """

    call_id: str
    event_id: str
    body: bytes
    still_ringing: Callable[[], bool]
    callee: str = ""
    caller: str = ""
    event_type: str = INCOMING_CALL


Envelope = Callable[[str, str], bytes]
"""(code, validation URL) -> body of a SubscriptionValidationEvent with a fresh event id."""


class Subscription:
    """One `--incoming` URL."""

    def __init__(
        self,
        poster: Poster,
        url: str,
        *,
        id: str,
        code: str,
        validation_url: str,
        envelope: Envelope,
        report: Report,
        changed: Callable[[SubscriptionState], None],
        repeat: float = 1.0,
    ) -> None:
        """`repeat`: seconds between validation events. `changed` is told of each new stage or reason."""
        self.id = id
        self.url = url
        self._poster = poster
        self._code = code
        self._validation_url = validation_url
        self._envelope = envelope
        self._report = report
        self._changed = changed
        self._repeat = repeat
        self._state = SubscriptionState(id, url, Stage.WAITING, "the app has not answered the validation event yet")
        self._validated = asyncio.Event()
        self._waiting: OrderedDict[str, IncomingPost] = OrderedDict()
        self._tasks: set[asyncio.Task[object]] = set()
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> SubscriptionState:
        """As of now."""
        return self._state

    def start(self) -> None:
        """Begin to validate."""
        self._spawn(self._validate_until_done())

    async def close(self) -> None:
        """End everything at once; calls still waiting are not announced."""
        tasks = self._tasks | self._asking
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._waiting.clear()

    def validate(self, code: str) -> bool:
        """Somebody opened the validation URL: True when `code` is ours, and the subscription is then valid."""
        if not hmac.compare_digest(code.encode(), self._code.encode()):
            return False
        self._become(Stage.VALIDATED, "")
        return True

    def announce(self, call: IncomingPost) -> None:
        """Post an IncomingCall, at once or as soon as the subscription is validated, if the call still rings then."""
        if self._state.stage is Stage.VALIDATED:
            self._spawn(self._post_call(call))
            return
        self._waiting[call.call_id] = call
        if len(self._waiting) > _CALLS_WAITING:
            _, oldest = self._waiting.popitem(last=False)
            self._skip(oldest, "too many calls wait for the app to validate its subscription")

    async def tell(self, post: IncomingPost) -> None:
        """Post an event until the app has taken or refused it, or a day is over; first the app must be validated."""
        try:
            await asyncio.wait_for(self._validated.wait(), sum(_ROUNDS))
        except TimeoutError:
            self._skip(post, f"the subscription was not validated for a day: {self._state.reason}")
            return
        for wait in (*_ROUNDS, 0.0):
            answer = await self._post_call(post)
            if answer is None or not answer.try_again:
                return
            await asyncio.sleep(wait)

    async def once(self, call: IncomingPost) -> DeliveryReport:
        """Post an IncomingCall once, whether or not it still rings; the report is given back and not made elsewhere."""
        if self._state.stage is not Stage.VALIDATED:
            why = f"the subscription is not validated: {self._state.reason}"
            return DeliveryReport(call.call_id, self.url, call.event_type, call.event_id, 0, None, why, 0.0, final=True)
        return await self._poster.once(
            Post(call.call_id, self.url, call.body, call.event_type, call.event_id, _notification_headers)
        )

    # -- validation

    async def _validate_until_done(self) -> None:
        while not self._validated.is_set():
            if len(self._asking) < _VALIDATIONS_OPEN:
                task = asyncio.get_running_loop().create_task(self._ask())
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            try:
                await asyncio.wait_for(self._validated.wait(), self._repeat)
            except TimeoutError:
                self._forget_ended()
        for task in self._asking:
            task.cancel()

    async def _ask(self) -> None:
        body = self._envelope(self._code, self._validation_url)
        post = Post(self.id, self.url, body, VALIDATION, self.id, _validation_headers)
        answer = await self._poster.send(post, self._report, tries=1, wanted=lambda: not self._validated.is_set())
        if answer is None or self._validated.is_set():
            return
        problem = _problem(answer, self._code)
        if problem is None:
            self._become(Stage.VALIDATED, "")
        elif answer.status is None:
            self._become(Stage.WAITING, problem)
        else:
            self._become(Stage.REFUSED, problem)

    def _become(self, stage: Stage, reason: str) -> None:
        old = self._state
        if old.stage is Stage.VALIDATED or (old.stage, old.reason) == (stage, reason):
            return
        self._state = SubscriptionState(self.id, self.url, stage, reason)
        log = _log.warning if stage is Stage.REFUSED else _log.info
        log("subscription %s: %s%s", shown(self.url), stage, f" ({reason})" if reason else "")
        if stage is Stage.VALIDATED:
            self._validated.set()
        try:
            self._changed(self._state)
        except Exception:
            _log.exception("the report of a subscription failed")
        if stage is Stage.VALIDATED:
            waiting, self._waiting = self._waiting, OrderedDict()
            for call in waiting.values():
                self._spawn(self._post_call(call))

    # -- calls

    async def _post_call(self, call: IncomingPost) -> Answer | None:
        if not call.still_ringing():
            self._skip(call, "it no longer rings" if call.event_type == INCOMING_CALL else "it is of no use any more")
            return None
        post = Post(call.call_id, self.url, call.body, call.event_type, call.event_id, _notification_headers)
        return await self._poster.send(post, self._say, wanted=call.still_ringing)

    def _say(self, row: DeliveryReport) -> None:
        if row.final and not row.delivered:
            what = f"answered {row.status}" if row.status is not None else row.error
            _log.warning("%s to %s was not taken: %s", row.event_type.rpartition(".")[2], shown(row.uri), what)
        self._report(row)

    def _forget_ended(self) -> None:
        for call in [call for call in self._waiting.values() if not call.still_ringing()]:
            del self._waiting[call.call_id]
            self._skip(call, f"the subscription was not validated while it rang: {self._state.reason}")

    def _skip(self, call: IncomingPost, why: str) -> None:
        tell(
            self._report,
            DeliveryReport(call.call_id, self.url, call.event_type, call.event_id, 0, None, why, 0.0, final=True),
        )

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Subscriptions:
    """All `--incoming` URLs of a node."""

    def __init__(
        self,
        poster: Poster,
        watchers: Iterable[Watcher],
        *,
        endpoint: str,
        ids: Callable[[], str],
        envelope: Envelope,
        report: Report,
        changed: Callable[[SubscriptionState], None],
        repeat: float = 1.0,
    ) -> None:
        """`endpoint`: of this node, ending in '/'; `ids`: a fresh, unguessable id at each call."""
        self._report = report
        self._all: dict[str, Subscription] = {}
        self._watchers: dict[str, Watcher] = {}
        for watcher in dict.fromkeys(watchers):
            url = watcher.url
            id, code = ids(), ids()
            link = f"{endpoint}eventgrid/validate?{urlencode({'id': id, 'code': code})}"
            self._watchers[id] = watcher
            self._all[id] = Subscription(
                poster,
                url,
                id=id,
                code=code,
                validation_url=link,
                envelope=envelope,
                report=report,
                changed=changed,
                repeat=repeat,
            )

    @property
    def states(self) -> list[SubscriptionState]:
        """Of each subscription, in the order given."""
        return [subscription.state for subscription in self._all.values()]

    def start(self) -> None:
        """Begin to validate all of them; the node's port must answer by then."""
        for subscription in self._all.values():
            subscription.start()

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(subscription.close() for subscription in self._all.values()))

    def validate(self, id: str, code: str) -> bool:
        """A GET of a validation URL: False for an unknown id or a wrong code."""
        subscription = self._all.get(id)
        return subscription is not None and subscription.validate(code)

    def announce(self, call: IncomingPost, names: Collection[str] = ()) -> int:
        """Post an IncomingCall to each subscription that wants it; returns how many do. None is told in a report.

        `names`: only the webhooks of these names; empty: all of them.
        """
        wanting = self._wanting(call.callee, call.caller, names)
        if not wanting:
            why = "no app takes calls: give the URL of its event route by --incoming, or as a [[webhook]] of serve"
            if self._all:
                why = f"no webhook wants calls to {call.callee} from {call.caller}: see to, from and [[number]]"
            tell(
                self._report,
                DeliveryReport(call.call_id, "", INCOMING_CALL, call.event_id, 0, None, why, 0.0, final=True),
            )
        for subscription in wanting:
            subscription.announce(call)
        return len(wanting)

    async def tell(self, post: IncomingPost) -> None:
        """Post an event to every subscription, whatever calls it wants; over when each has taken or refused it."""
        await asyncio.gather(*(subscription.tell(post) for subscription in self._all.values()))

    async def once(self, post: IncomingPost, names: Collection[str] = ()) -> list[DeliveryReport]:
        """Post an IncomingCall once more to each subscription that wants it, another event to all; `names` as for
        `announce`."""
        wanting = list(self._all.values())
        if post.event_type == INCOMING_CALL:
            wanting = self._wanting(post.callee, post.caller, names)
        return list(await asyncio.gather(*(subscription.once(post) for subscription in wanting)))

    def wants(self, callee: str, caller: str, names: Collection[str] = ()) -> bool:
        """Whether somebody would be told of a call between these raw ids; `names` as for `announce`."""
        return bool(self._wanting(callee, caller, names))

    def _wanting(self, callee: str, caller: str, names: Collection[str]) -> list[Subscription]:
        return [
            subscription
            for id, subscription in self._all.items()
            if self._watchers[id].wants(callee, caller) and (not names or self._watchers[id].name in names)
        ]


def _matches(patterns: tuple[str, ...], raw_id: str) -> bool:
    return not patterns or any(
        raw_id.startswith(pattern[:-1]) if pattern.endswith("*") else raw_id == pattern for pattern in patterns
    )


def _validation_headers() -> dict[str, str]:
    return {"Content-Type": "application/json; charset=utf-8", "aeg-event-type": "SubscriptionValidation"}


def _notification_headers() -> dict[str, str]:
    return {"Content-Type": "application/json; charset=utf-8", "aeg-event-type": "Notification"}


def _problem(answer: Answer, code: str) -> str | None:
    """Why an answer does not validate, None when it does. Only 200 counts (protocol.md §6.2)."""
    if answer.status is None:
        return answer.error or "no answer"
    if answer.status != 200:
        return f"the app answered {answer.status} to the validation event; only 200 with the code counts"
    try:
        told = json.loads(answer.body)
    except ValueError:
        return "the app answered 200, but not with JSON; it must send the validation code back"
    fields = {key.lower(): value for key, value in told.items()} if isinstance(told, dict) else {}
    if "validationresponse" not in fields:
        return "the app answered 200 without the validation code; it must send it back as the validation response"
    if fields["validationresponse"] != code:
        return "the app answered 200 with another validation code than ours"
    return None
