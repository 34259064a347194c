"""Callbacks: order, tries, bounds, and apps that answer late, wrongly or never (protocol.md §5.1)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web
from tests.raw_socket import tcp_app

from offhook.service.certificates import State, client_context, server_context
from offhook.service.delivery import Delivery
from offhook.service.origins import Origins
from offhook.service.outbox import MemoryOutbox
from offhook.service.posting import DeliveryReport, Poster, PostTimes

QUICK = PostTimes(send=1.0, answer=0.4, window=1.0, waits=(0.05, 0.1), linger=0.1, hurried_wait=0.01)


@dataclass
class Seen:
    """What an app got: (body, token) in order of arrival."""

    posts: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    @property
    def bodies(self) -> list[str]:
        return [body for body, _ in self.posts]


Handler = Callable[[int], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def app(answer: Handler, port: int = 0, state: State | None = None) -> AsyncIterator[tuple[Seen, str]]:
    """An app on loopback; `answer` is called with the number of the post, from 1."""
    seen = Seen()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        seen.posts.append((body, request.headers.get("Authorization", "")))
        seen.headers.append(dict(request.headers))
        seen.targets.append(request.raw_path)
        return await answer(len(seen.posts))

    server = web.Server(handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.01)
    await runner.setup()
    context = server_context(state) if state else None
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
    await site.start()
    try:
        yield seen, f"http{'s' if state else ''}://127.0.0.1:{runner.addresses[0][1]}/cb"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def delivery(
    reports: list[DeliveryReport], times: PostTimes = QUICK, gap: float = 0.1, **options: object
) -> AsyncIterator[Delivery]:
    numbers = itertools.count(1)
    outbox = options.pop("outbox", None)
    max_age = options.pop("max_age", 600.0)
    poster = Poster(None, times=times, **options)  # type: ignore[arg-type]
    made = Delivery(
        poster,
        lambda: f"token-{next(numbers)}",
        reports.append,
        gap=gap,
        outbox=outbox,  # type: ignore[arg-type]
        max_age=max_age,  # type: ignore[arg-type]
    )
    before = asyncio.all_tasks()
    try:
        yield made
    finally:
        await made.close(1.0)
        await poster.close()
        assert made.connections == made.open_posts == poster.open_posts == 0
        assert not [task for task in asyncio.all_tasks() - before if "offhook/service" in str(task)]


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.002)


async def ok(_: int) -> web.StreamResponse:
    return web.Response()


async def never(_: int) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def statuses(*codes: int, headers: dict[str, str] | None = None) -> Handler:
    async def answer(number: int) -> web.StreamResponse:
        code = codes[min(number, len(codes)) - 1]
        return web.Response(status=code, headers=headers if code == 429 else None)

    return answer


def post(made: Delivery, uri: str, number: int, connection: str = "c1") -> None:
    made.post(connection, uri, f'[{{"id":{number}}}]'.encode(), "Some.Event", f"event-{number}")


def finals(reports: list[DeliveryReport]) -> list[DeliveryReport]:
    return [row for row in reports if row.final]


async def test_posts_arrive_in_order_each_with_its_own_token() -> None:
    reports: list[DeliveryReport] = []
    async with app(ok) as (seen, uri), delivery(reports) as made:
        for number in range(5):
            post(made, uri, number)
        await until(lambda: len(reports) == 5)
        assert seen.bodies == [f'[{{"id":{number}}}]' for number in range(5)]
        assert [token for _, token in seen.posts] == [f"Bearer token-{number}" for number in range(1, 6)]
        assert seen.headers[0]["Content-Type"] == "application/json"
        assert all(row.status == 200 and row.final and row.delivered and row.attempt == 1 for row in reports)
        await until(lambda: made.connections == 0)


async def test_the_query_goes_out_byte_for_byte() -> None:
    reports: list[DeliveryReport] = []
    async with app(ok) as (seen, uri), delivery(reports) as made:
        post(made, f"{uri}?callerId=4:+1425%2B1&x=%zz&y=a b\u00e9", 1)
        await until(lambda: len(reports) == 1)
        assert seen.targets == ["/cb?callerId=4:+1425%2B1&x=%zz&y=a%20b%C3%A9"]


async def test_a_late_answer_holds_the_next_post_for_the_gap_only() -> None:
    async def late(number: int) -> web.StreamResponse:
        if number == 1:
            await asyncio.sleep(0.25)
        return web.Response()

    reports: list[DeliveryReport] = []
    async with app(late) as (seen, uri), delivery(reports, gap=0.1) as made:
        start = time.monotonic()
        post(made, uri, 1)
        post(made, uri, 2)
        await until(lambda: len(seen.posts) == 2)
        assert 0.09 <= time.monotonic() - start < 0.24
        await until(lambda: len(reports) == 2)
        assert [row.event_id for row in reports] == ["event-2", "event-1"]
        assert all(row.delivered for row in reports)


async def test_a_quick_answer_lets_the_next_post_start_at_once() -> None:
    reports: list[DeliveryReport] = []
    async with app(ok) as (seen, uri), delivery(reports, gap=5.0) as made:
        post(made, uri, 1)
        post(made, uri, 2)
        await until(lambda: len(seen.posts) == 2, 1.0)


async def test_a_post_that_is_never_answered_is_sent_once() -> None:
    reports: list[DeliveryReport] = []
    async with app(never) as (seen, uri), delivery(reports) as made:
        post(made, uri, 1)
        await until(lambda: len(reports) == 1)
        row = reports[0]
        assert (row.status, row.final, row.attempt) == (None, True, 1) and "no answer" in (row.error or "")
        assert row.ms >= 390
        assert len(seen.posts) == 1


async def test_a_500_is_tried_again_with_the_same_event_and_a_new_token() -> None:
    reports: list[DeliveryReport] = []
    async with app(statuses(500, 200)) as (seen, uri), delivery(reports) as made:
        post(made, uri, 1)
        post(made, uri, 2)
        await until(lambda: len(finals(reports)) == 2)
        assert seen.bodies == ['[{"id":1}]', '[{"id":1}]', '[{"id":2}]']
        assert [token for _, token in seen.posts] == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]
        assert [(row.attempt, row.status, row.final) for row in reports] == [
            (1, 500, False),
            (2, 200, True),
            (1, 200, True),
        ]


async def test_three_tries_are_the_most() -> None:
    reports: list[DeliveryReport] = []
    async with app(statuses(503)) as (seen, uri), delivery(reports) as made:
        post(made, uri, 1)
        await until(lambda: len(finals(reports)) == 1)
        assert len(seen.posts) == 3 and reports[-1].attempt == 3 and not reports[-1].delivered


@pytest.mark.parametrize("code", [202, 301, 400, 401, 404])
async def test_any_other_answer_is_final_and_no_redirect_is_followed(code: int) -> None:
    async def answer(_: int) -> web.StreamResponse:
        return web.Response(status=code, headers={"Location": "/elsewhere"})

    reports: list[DeliveryReport] = []
    async with app(answer) as (seen, uri), delivery(reports) as made:
        post(made, uri, 1)
        await until(lambda: len(finals(reports)) == 1)
        assert len(seen.posts) == 1 and reports[0].status == code


async def test_retry_after_is_honoured() -> None:
    reports: list[DeliveryReport] = []
    times = replace(QUICK, window=3.0)
    async with app(statuses(429, 200, headers={"Retry-After": "1"})) as (seen, uri), delivery(reports, times) as made:
        start = time.monotonic()
        post(made, uri, 1)
        await until(lambda: len(seen.posts) == 2)
        assert time.monotonic() - start >= 1.0


@pytest.mark.parametrize("wait", ["60", formatdate(time.time() + 3600, usegmt=True)])
async def test_a_retry_after_beyond_the_window_ends_the_tries(wait: str) -> None:
    reports: list[DeliveryReport] = []
    async with app(statuses(429, 200, headers={"Retry-After": wait})) as (seen, uri), delivery(reports) as made:
        post(made, uri, 1)
        await until(lambda: len(finals(reports)) == 1)
        assert len(seen.posts) == 1 and reports[0].status == 429


@pytest.mark.parametrize("wait", ["", "soon", "-1", "0", formatdate(0, usegmt=True)])
async def test_an_odd_retry_after_means_the_usual_wait(wait: str) -> None:
    reports: list[DeliveryReport] = []
    async with app(statuses(429, 200, headers={"Retry-After": wait})) as (_, uri), delivery(reports) as made:
        post(made, uri, 1)
        await until(lambda: len(finals(reports)) == 1)
        assert reports[-1].status == 200


async def test_an_app_that_is_just_starting_gets_its_events_in_order() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    reports: list[DeliveryReport] = []
    times = replace(QUICK, waits=(0.05, 0.6), window=3.0)
    async with delivery(reports, times) as made:
        uri = f"http://127.0.0.1:{port}/cb"
        post(made, uri, 1)
        post(made, uri, 2)
        await until(lambda: len(reports) == 2)
        assert all("cannot connect" in (row.error or "") and not row.final for row in reports)
        async with app(ok, port) as (seen, _):
            await until(lambda: len(finals(reports)) == 2)
            assert seen.bodies == ['[{"id":1}]', '[{"id":2}]']


async def test_a_drop_after_the_whole_body_is_not_repeated() -> None:
    taken: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.readuntil(b"}]"))
        writer.close()

    reports: list[DeliveryReport] = []
    async with tcp_app(handle) as port, delivery(reports) as made:
        post(made, f"http://127.0.0.1:{port}/", 1)
        await until(lambda: len(finals(reports)) == 1)
        assert len(taken) == 1 and reports[0].error == "the app closed the connection without an answer"


async def test_an_answer_whose_body_hangs_is_an_answer() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await reader.read()
        writer.close()

    reports: list[DeliveryReport] = []
    async with tcp_app(handle) as port, delivery(reports) as made:
        post(made, f"http://127.0.0.1:{port}/", 1)
        await until(lambda: len(reports) == 1)
        assert reports[0].delivered and reports[0].final


@pytest.mark.parametrize(
    "uri", ["", "nowhere", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:99999/", "http://[::1/", "http:///x"]
)
async def test_a_url_that_is_none_ends_in_a_report(uri: str) -> None:
    reports: list[DeliveryReport] = []
    async with delivery(reports) as made:
        post(made, uri, 1)
        await until(lambda: len(finals(reports)) == 1)
        assert reports[-1].status is None and reports[-1].error


async def test_a_name_that_is_nowhere_says_so() -> None:
    reports: list[DeliveryReport] = []
    async with delivery(reports) as made:
        post(made, "http://no-such-name.invalid/", 1)
        await until(lambda: len(finals(reports)) == 1)
        assert reports[-1].error == "the name no-such-name.invalid cannot be found"


async def test_tls_apps_need_a_trusted_certificate(tmp_path: Path) -> None:
    ours, theirs = State.open(tmp_path / "ours"), State.open(tmp_path / "theirs")
    reports: list[DeliveryReport] = []
    async with app(ok, state=theirs) as (seen, uri):
        poster = Poster(client_context(ours), times=QUICK)
        made = Delivery(poster, lambda: "t", reports.append)
        post(made, uri, 1)
        await until(lambda: len(finals(reports)) == 1)
        assert "--trust" in (reports[0].error or "") and reports[0].attempt == 1
        await poster.close()
        poster = Poster(client_context(ours, [theirs.ca_file]), times=QUICK)
        made = Delivery(poster, lambda: "t", reports.append)
        post(made, uri, 2)
        await until(lambda: len(finals(reports)) == 2)
        assert reports[-1].delivered and len(seen.posts) == 1
        await poster.close()


async def test_a_mapped_app_is_posted_to_locally_under_its_public_name() -> None:
    reports: list[DeliveryReport] = []
    async with app(ok) as (seen, uri):
        origins = Origins([f"https://my.host={uri.removesuffix('/cb')}"])
        async with delivery(reports, origins=origins) as made:
            post(made, "https://my.host/cb?a=+", 1)
            await until(lambda: len(reports) == 1)
            assert seen.headers[0]["Host"] == "my.host" and seen.targets == ["/cb?a=+"]
            assert reports[0].uri == "https://my.host/cb?a=+"


async def test_plain_http_is_warned_of_once_for_each_origin(caplog: pytest.LogCaptureFixture) -> None:
    reports: list[DeliveryReport] = []
    async with app(ok) as (_, uri), delivery(reports) as made:
        for number in range(3):
            post(made, uri, number)
        await until(lambda: len(reports) == 3)
    assert len([record for record in caplog.records if "plain http" in record.message]) == 1


async def test_secrets_in_a_query_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "offhook")
    reports: list[DeliveryReport] = []
    async with app(statuses(404)) as (_, uri), delivery(reports) as made:
        post(made, uri + "?key=secret", 1)
        await until(lambda: len(reports) == 1)
    assert "answered 404" in caplog.text and "secret" not in caplog.text


async def test_the_queue_of_a_connection_is_bounded() -> None:
    reports: list[DeliveryReport] = []
    async with app(never) as (seen, uri), delivery(reports, gap=10.0, outbox=MemoryOutbox(limit=3)) as made:
        for number in range(6):
            post(made, uri, number)
        dropped = [row for row in reports if row.attempt == 0]
        assert [row.event_id for row in dropped] == ["event-0", "event-1", "event-2"]
        assert all("too many" in (row.error or "") for row in dropped)
        await until(lambda: len(seen.posts) == 1)
        assert seen.bodies == ['[{"id":3}]']


async def test_an_event_that_waited_too_long_is_dropped() -> None:
    reports: list[DeliveryReport] = []
    async with app(never) as (seen, uri), delivery(reports, gap=0.1, max_age=0.05) as made:
        post(made, uri, 1)
        await until(lambda: len(seen.posts) == 1)
        post(made, uri, 2)
        await until(lambda: any(row.attempt == 0 for row in reports))
        assert len(seen.posts) == 1


async def test_a_dead_app_does_not_hold_up_another() -> None:
    reports: list[DeliveryReport] = []
    async with (
        app(never) as (dead, dead_uri),
        app(ok) as (live, live_uri),
        delivery(reports, open_per_origin=2) as made,
    ):
        for number in range(20):
            post(made, dead_uri, number, f"dead-{number}")
            post(made, live_uri, number, f"live-{number}")
        await until(lambda: len(live.posts) == 20, 0.35)
        assert len(dead.posts) == 2
        await until(lambda: len(dead.posts) == 4)


async def test_finish_takes_no_further_event_and_leaves_nothing() -> None:
    reports: list[DeliveryReport] = []
    async with app(ok) as (seen, uri), delivery(reports) as made:
        post(made, uri, 1)
        made.finish("c1")
        made.finish("unknown")
        post(made, uri, 2)
        await until(lambda: len(finals(reports)) == 2)
        assert seen.bodies == ['[{"id":1}]']
        await until(lambda: made.connections == 0)


async def test_close_starts_everything_even_if_apps_never_answer() -> None:
    """With the real times: the process must be able to end within 10 s of a signal."""
    reports: list[DeliveryReport] = []
    async with app(never) as (seen, uri):
        poster = Poster(None, open_per_origin=4)
        made = Delivery(poster, lambda: "t", reports.append)
        for connection in range(20):
            for number in range(4):
                post(made, uri, number, f"c{connection}")
        await until(lambda: len(seen.posts) == 4)
        start = time.monotonic()
        await made.close()
        await poster.close()
        assert time.monotonic() - start < 3.0
        assert len(seen.posts) == 80
        assert len(finals(reports)) == 80
        post(made, uri, 1)
        assert "stopped" in (reports[-1].error or "")


async def test_close_reads_the_answers_of_live_apps() -> None:
    async def slow(_: int) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return web.Response()

    reports: list[DeliveryReport] = []
    async with app(slow) as (seen, uri), delivery(reports, replace(QUICK, linger=2.0)) as made:
        for number in range(3):
            post(made, uri, number)
        await made.close(3.0)
        assert len(seen.posts) == 3 and all(row.delivered for row in reports) and len(reports) == 3


async def test_close_does_not_wait_for_an_app_that_has_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        uri = f"http://127.0.0.1:{reserved.getsockname()[1]}/"
    reports: list[DeliveryReport] = []
    async with delivery(reports, PostTimes()) as made:
        post(made, uri, 1)
        post(made, uri, 2)
        await until(lambda: len(reports) == 1)
        start = time.monotonic()
        await made.close()
        assert time.monotonic() - start < 2.0
        assert len(finals(reports)) == 2


async def test_close_has_an_end_when_nothing_can_be_sent() -> None:
    """A full accept queue: connections neither succeed nor fail."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            fillers.append(sock)
        reports: list[DeliveryReport] = []
        async with delivery(reports, PostTimes()) as made:
            post(made, f"http://127.0.0.1:{full.getsockname()[1]}/", 1)
            post(made, f"http://127.0.0.1:{full.getsockname()[1]}/", 2)
            start = time.monotonic()
            await made.close(0.3)
            assert time.monotonic() - start < 1.0
            assert "event-2" in [row.event_id for row in finals(reports)]
        for sock in fillers:
            sock.close()


async def test_a_report_that_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def report(_: DeliveryReport) -> None:
        raise RuntimeError("broken trace")

    async with app(ok) as (seen, uri):
        poster = Poster(None, times=QUICK)
        made = Delivery(poster, lambda: "t", report)
        post(made, uri, 1)
        post(made, uri, 2)
        await until(lambda: len(seen.posts) == 2 and made.connections == 0)
        await made.close()
        await poster.close()
    assert "broken trace" in caplog.text


async def test_sessions_of_many_origins_do_not_pile_up() -> None:
    reports: list[DeliveryReport] = []
    async with delivery(reports, replace(QUICK, waits=())) as made:
        for number in range(50):
            post(made, f"http://127.0.0.1:{number + 1}/", number, f"c{number}")
        await until(lambda: len(reports) == 50)
        await until(lambda: len(made._poster._apps) <= 32)
