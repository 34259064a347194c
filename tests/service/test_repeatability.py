"""Every operation that the description calls repeatable is done once for each id (protocol.md §3.12)."""

from __future__ import annotations

import pytest
from tests.request_bodies import BODIES, BUILT, path_of
from tests.service.test_api import REPEAT, VERSION, serving

from offhook.errors import CallError
from offhook.service.older_operations import OLDER_OPERATIONS
from offhook.service.operations import Operation


@pytest.mark.parametrize("operation", BUILT, ids=lambda operation: operation.name)
async def test_the_same_id_again(operation: Operation) -> None:
    async with serving() as bench:
        bench.node.calls["cc-1"] = bench.node._new("https://x/cb")
        target, body = path_of(operation, "cc-1") + VERSION, BODIES.get(operation.name, b"")
        answers = [await bench.send(operation.method, target, body, REPEAT) for _ in range(3)]
        texts = {await answer.text() for answer in answers}
        assert {answer.status for answer in answers} == {operation.success}, texts
        results = {answer.headers.get("Repeatability-Result") for answer in answers}
        done = [name for name in bench.node.names if name != "properties"]
        if operation.repeatable:
            assert len(texts) == 1 and results == {"accepted"} and len(done) == 1
            assert [note[3].get("repeated") for note in bench.node.notes] == [None, True, True]
        else:
            assert results == {None} and len(bench.node.names) == 3


async def test_unmute_too() -> None:
    async with serving() as bench:
        target = path_of(OLDER_OPERATIONS[0], "cc-1") + "?api-version=2023-10-03-preview"
        for _ in range(2):
            assert (await bench.send("POST", target, BODIES["Mute"], REPEAT)).status == 200
        assert bench.node.names == ["mute_participants"]


@pytest.mark.parametrize("operation", BUILT, ids=lambda operation: operation.name)
async def test_who_is_throttled_is_told_when_to_try_again(operation: Operation) -> None:
    async with serving() as bench:
        bench.node.calls["cc-1"] = bench.node._new("https://x/cb")
        bench.node.fail = CallError("throttled")
        target, body = path_of(operation, "cc-1") + VERSION, BODIES.get(operation.name, b"")
        answer = await bench.send(operation.method, target, body, REPEAT)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert (await answer.json())["error"]["code"] == "8516"
        bench.node.fail = None
        assert (await bench.send(operation.method, target, body, REPEAT)).status == operation.success
