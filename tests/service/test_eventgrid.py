"""Subscriptions: validation until the app answers, IncomingCall only after it and while it rings (protocol.md §6)."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from offhook.service import eventgrid
from offhook.service.eventgrid import INCOMING_CALL, IncomingPost, Stage, Subscriptions, SubscriptionState, Watcher
from offhook.service.posting import DeliveryReport, Poster, PostTimes

QUICK = PostTimes(send=1.0, answer=0.4, window=1.0, waits=(0.05, 0.1), linger=0.1)


@dataclass
class App:
    """An app's event route. `validation` and `call` answer the n-th post of their kind."""

    validation: Callable[[int, str], Awaitable[web.StreamResponse]]
    call: Callable[[int], Awaitable[web.StreamResponse]]
    validations: list[dict[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        (event,) = await request.json()
        kind = request.headers["aeg-event-type"]
        self.kinds.append(kind)
        assert request.headers["Content-Type"] == "application/json; charset=utf-8"
        if kind == "SubscriptionValidation":
            self.validations.append(event)
            return await self.validation(len(self.validations), event["code"])
        self.calls.append(event["call"])
        return await self.call(len(self.calls))


@dataclass
class Node:
    subscriptions: Subscriptions
    poster: Poster
    reports: list[DeliveryReport]
    states: list[SubscriptionState]

    @property
    def stage(self) -> Stage:
        return self.subscriptions.states[0].stage

    def call(self, call_id: str, ringing: Callable[[], bool] = lambda: True) -> int:
        body = json.dumps([{"call": call_id}]).encode()
        return self.subscriptions.announce(IncomingPost(call_id, f"event-{call_id}", body, ringing))

    def finals(self) -> list[DeliveryReport]:
        return [row for row in self.reports if row.final and row.event_type == INCOMING_CALL]


async def valid(_: int, code: str) -> web.StreamResponse:
    return web.json_response({"validationResponse": code})


async def ok(_: int) -> web.StreamResponse:
    return web.Response()


async def never(*_: object) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def node(
    validation: Callable[[int, str], Awaitable[web.StreamResponse]] = valid,
    call: Callable[[int], Awaitable[web.StreamResponse]] = ok,
    urls: list[str] | None = None,
    to: tuple[str, ...] = (),
) -> AsyncIterator[tuple[App, Node]]:
    app = App(validation, call)
    runner = web.ServerRunner(web.Server(app.handle), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    poster, numbers = Poster(None, times=QUICK), itertools.count(1)
    reports: list[DeliveryReport] = []
    states: list[SubscriptionState] = []
    subscriptions = Subscriptions(
        poster,
        [
            Watcher(url, to=to)
            for url in urls or ([f"http://127.0.0.1:{runner.addresses[0][1]}/events"] if urls is None else [])
        ],
        endpoint="https://localhost:8480/",
        ids=lambda: f"id-{next(numbers)}",
        envelope=lambda code, url: json.dumps([{"code": code, "url": url}]).encode(),
        report=reports.append,
        changed=states.append,
        repeat=0.03,
    )
    subscriptions.start()
    before = asyncio.all_tasks()
    try:
        yield app, Node(subscriptions, poster, reports, states)
    finally:
        await subscriptions.close()
        await poster.close()
        await runner.cleanup()
        assert poster.open_posts == 0
        assert not [task for task in asyncio.all_tasks() - before if "offhook/service" in str(task)]


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.002)


async def test_an_app_that_answers_is_validated_by_one_event() -> None:
    async with node() as (app, n):
        await until(lambda: n.stage is Stage.VALIDATED)
        n.call("a")
        await until(lambda: app.calls == ["a"])
        assert app.kinds == ["SubscriptionValidation", "Notification"]
        assert app.validations == [
            {"code": "id-2", "url": "https://localhost:8480/eventgrid/validate?id=id-1&code=id-2"}
        ]
        assert [state.stage for state in n.states] == [Stage.VALIDATED]


async def test_validation_is_repeated_until_the_app_answers() -> None:
    async def third(number: int, code: str) -> web.StreamResponse:
        return await valid(number, code) if number == 3 else web.Response(status=503)

    async with node(third) as (app, n):
        await until(lambda: n.stage is Stage.VALIDATED)
        assert len(app.validations) >= 3
        assert [state.stage for state in n.states] == [Stage.REFUSED, Stage.VALIDATED]
        assert "503" in n.states[0].reason


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (202, '{"validationResponse":"id-2"}', "202"),
        (200, "", "not with JSON"),
        (200, "{}", "without the validation code"),
        (200, "[1]", "without the validation code"),
        (200, '{"validationResponse":"other"}', "another validation code"),
    ],
)
async def test_a_wrong_answer_is_refused_with_its_reason(status: int, body: str, reason: str) -> None:
    async def wrong(number: int, code: str) -> web.StreamResponse:
        return web.Response(status=status, text=body)

    async with node(wrong) as (app, n):
        await until(lambda: len(app.validations) >= 3)
        assert n.stage is Stage.REFUSED and reason in n.subscriptions.states[0].reason
        assert len(n.states) == 1  # told once, not at each repeat


async def test_the_answer_may_come_in_another_case() -> None:
    async def pascal(number: int, code: str) -> web.StreamResponse:
        return web.json_response({"ValidationResponse": code})

    async with node(pascal) as (_, n):
        await until(lambda: n.stage is Stage.VALIDATED)


async def test_a_call_before_validation_rings_meanwhile() -> None:
    ready = asyncio.Event()

    async def when_ready(number: int, code: str) -> web.StreamResponse:
        return await valid(number, code) if ready.is_set() else web.Response(status=404)

    async with node(when_ready) as (app, n):
        ringing = {"a": True, "b": True, "c": True}
        for name in ringing:
            assert n.call(name, lambda name=name: ringing[name]) == 1  # type: ignore[misc]
        ringing["b"] = False
        await until(lambda: len(n.finals()) == 1)
        assert n.finals()[0].subject == "b" and "404" in (n.finals()[0].error or "")
        assert app.calls == []
        ready.set()
        await until(lambda: len(n.finals()) == 3)
        assert sorted(app.calls) == ["a", "c"]


async def test_a_late_validation_answer_counts_and_open_ones_are_few() -> None:
    answer = asyncio.Event()

    async def late(number: int, code: str) -> web.StreamResponse:
        await answer.wait()
        return await valid(number, code)

    async with node(late) as (app, n):
        await until(lambda: len(app.validations) == 4)
        answer.set()
        await until(lambda: n.stage is Stage.VALIDATED)
        assert len(app.validations) == 4


async def test_an_app_that_is_not_there_yet_waits() -> None:
    async with node(urls=["http://127.0.0.1:1/events"]) as (_, n):
        await until(lambda: len(n.reports) >= 3)
        assert n.stage is Stage.WAITING
        assert len(n.states) == 1 and "cannot connect" in n.states[0].reason


async def test_opening_the_validation_url_validates() -> None:
    async def silent(number: int, code: str) -> web.StreamResponse:
        return web.Response(status=202)

    async with node(silent) as (app, n):
        n.call("a")
        await until(lambda: len(app.validations) == 1)
        assert not n.subscriptions.validate("id-9", "id-2")
        assert not n.subscriptions.validate("id-1", "wr\u00f6ng")
        assert n.subscriptions.validate("id-1", "id-2")
        await until(lambda: app.calls == ["a"])
        assert n.subscriptions.validate("id-1", "id-2") and n.stage is Stage.VALIDATED


async def test_a_call_that_is_never_answered_is_posted_once() -> None:
    async with node(call=never) as (app, n):
        await until(lambda: n.stage is Stage.VALIDATED)
        n.call("a")
        await until(lambda: len(n.finals()) == 1)
        assert app.calls == ["a"] and n.finals()[0].error == "no answer within 0.4 s"


async def test_a_500_is_tried_again_while_it_rings() -> None:
    ringing = True

    async def failing(number: int) -> web.StreamResponse:
        nonlocal ringing
        ringing = number < 2
        return web.Response(status=500)

    async with node(call=failing) as (app, n):
        await until(lambda: n.stage is Stage.VALIDATED)
        n.call("a", lambda: ringing)
        await until(lambda: len(app.calls) == 2)
        await until(lambda: not n.subscriptions._all["id-1"]._tasks)
        assert app.calls == ["a", "a"]


async def test_without_a_subscription_the_report_says_what_to_do() -> None:
    async with node(urls=[]) as (_, n):
        assert n.call("a") == 0
        (row,) = n.finals()
        assert row.subject == "a" and "--incoming" in (row.error or "") and row.attempt == 0


async def test_two_subscriptions_each_get_the_call() -> None:
    async with node() as (first, n), node(urls=[n.subscriptions.states[0].url, "http://127.0.0.1:1/"]) as (_, both):
        await until(lambda: both.stage is Stage.VALIDATED)
        assert both.call("a") == 2
        await until(lambda: first.calls == ["a"])
        assert both.subscriptions.states[1].stage is Stage.WAITING


async def test_an_event_of_a_file_is_told_whatever_calls_are_wanted_and_tried_again() -> None:
    async def failing(number: int) -> web.StreamResponse:
        return web.Response(status=500 if number == 1 else 200)

    async with node(call=failing, to=("4:+1",)) as (app, n):
        body = json.dumps([{"call": "file"}]).encode()
        await n.subscriptions.tell(file_event(body))
        assert n.call("a") == 0, "a call that it does not want"
        assert app.calls == ["file", "file"]
        assert [row.status for row in n.reports if row.event_type == "Microsoft.Any.File"] == [500, 200]


def file_event(body: bytes = b'[{"call": "file"}]', wanted: Callable[[], bool] = lambda: True) -> IncomingPost:
    return IncomingPost("file", "event", body, wanted, event_type="Microsoft.Any.File")


@pytest.fixture
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventgrid, "_ROUNDS", (0.01,) * 20)


async def test_an_event_of_a_file_waits_for_an_app_that_is_away(quick_rounds: None) -> None:
    """Longer than one of a call, which is of no use by then; what it answered ends that."""

    async def failing(number: int) -> web.StreamResponse:
        return web.Response(status=503 if number < 9 else 400)

    async with node(call=failing) as (app, n):
        await n.subscriptions.tell(file_event())
        assert len(app.calls) == 9


async def test_an_event_of_a_file_is_told_no_more_once_it_is_of_no_use(quick_rounds: None) -> None:
    async def failing(number: int) -> web.StreamResponse:
        return web.Response(status=503)

    async with node(call=failing) as (app, n):
        await n.subscriptions.tell(file_event(wanted=lambda: len(app.calls) < 5))
        assert len(app.calls) == 5


async def test_an_app_that_is_never_validated_is_told_of_no_file(quick_rounds: None) -> None:
    async with node(urls=["http://127.0.0.1:1/"]) as (_, n):
        await n.subscriptions.tell(file_event())
        (row,) = [row for row in n.reports if row.event_type == "Microsoft.Any.File"]
        assert row.final and row.attempt == 0 and "not validated" in (row.error or "")
