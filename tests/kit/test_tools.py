"""Python functions as tools of a model."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import pytest

from offhook.errors import ConfigError
from offhook.kit.call import Call
from offhook.kit.realtime_calls import AT_ONCE, FunctionCalls
from offhook.kit.realtime_events import Item, ToolCalled
from offhook.kit.tools import LONGEST_OUTPUT, tool_of, tools_of

if TYPE_CHECKING:
    from decimal import Decimal as Unseen


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Topping:
    name: str
    amount: int = 1


def order(
    size: Size,
    toppings: list[Topping],
    when: Literal["now", "later"] = "now",
    note: Annotated[str | None, "what else to know"] = None,
) -> dict[str, Any]:
    """Order a pizza.

    Args:
        size: how large
        toppings (list): what is on it
    """
    return {"size": size.value, "toppings": [one.name for one in toppings], "when": when, "note": note}


class _FakeCall:
    id = "call-1"


CALL = cast(Call, _FakeCall())


async def run(function: Any, arguments: str, timeout: float = 5) -> ToolCalled:
    return await tool_of(function).run(CALL, arguments, timeout)


def test_schema_comes_from_the_signature_and_the_docstring() -> None:
    schema = tool_of(order).schema
    assert (schema["type"], schema["name"]) == ("function", "order")
    assert schema["description"].startswith("Order a pizza.")
    parameters = schema["parameters"]
    assert parameters["type"] == "object" and parameters["additionalProperties"] is False
    assert parameters["required"] == ["size", "toppings"]
    assert list(parameters["properties"]) == ["size", "toppings", "when", "note"]
    assert "how large" in str(parameters["properties"]["size"])
    assert parameters["properties"]["toppings"]["description"] == "what is on it"
    assert parameters["properties"]["when"] == {"enum": ["later", "now"], "default": "now"}
    assert parameters["properties"]["note"]["description"] == "what else to know"
    assert parameters["$defs"]["Topping"]["required"] == ["name"]


def test_schema_is_one_that_the_package_takes() -> None:
    from openai.types.realtime import RealtimeFunctionTool

    for function in (order, lambda_free, with_call):
        RealtimeFunctionTool.model_validate(tool_of(function).schema)


def lambda_free() -> None:
    """Nothing to give."""


def with_call(call: Call, department: str) -> str:
    """The call is not the model's business."""
    return f"{call.id} {department}"


async def test_arguments_become_what_the_signature_says() -> None:
    result = await run(order, '{"size": "large", "toppings": [{"name": "ham"}], "note": "soon"}')
    assert result.output == '{"size":"large","toppings":["ham"],"when":"now","note":"soon"}' and not result.failed


async def test_the_call_is_given_and_not_shown() -> None:
    assert list(tool_of(with_call).schema["parameters"]["properties"]) == ["department"]
    assert (await run(with_call, '{"department": "sales"}')).output == "call-1 sales"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ('{"size": "huge", "toppings": []}', "size"),
        ('{"toppings": []}', "size"),
        ('{"size": "small", "toppings": [], "cheese": 1}', "cheese"),
        ('{"size": "small", "toppings": [{"name": 3}]}', "toppings[0].name"),
        ("not json", "malformed"),
        ("[]", "object"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(arguments: str, why: str) -> None:
    result = await run(order, arguments)
    assert result.failed and "the arguments of order are wrong" in result.output and why in result.output


async def test_a_model_that_writes_numbers_as_text_is_understood() -> None:
    def double(number: int) -> int:
        return number * 2

    assert (await run(double, '{"number": "21"}')).output == "42"


async def test_a_plain_function_runs_in_a_thread_and_an_async_one_on_the_loop() -> None:
    def plain() -> bool:
        time.sleep(0.05)
        return threading.current_thread() is threading.main_thread()

    async def waiting() -> bool:
        return threading.current_thread() is threading.main_thread()

    running = asyncio.ensure_future(run(plain, ""))
    await asyncio.sleep(0)
    assert not running.done()
    assert ((await running).output, (await run(waiting, "")).output) == ("false", "true")


async def test_failures_and_slowness_are_told_to_the_model(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise LookupError("no such order")

    async def late() -> None:
        raise TimeoutError("the shop's own")

    async def endless() -> None:
        await asyncio.sleep(60)

    assert (await run(broken, "")).output == "error: broken failed: LookupError: no such order"
    assert "no such order" in caplog.text and "tests/kit/test_tools.py" in caplog.text
    assert (await run(late, "")).output == "error: late failed: TimeoutError: the shop's own"
    assert (await run(endless, "", timeout=0.01)).output == "error: endless did not finish within 0.01 s"


async def test_what_a_function_raises_harms_nobody_but_itself() -> None:
    """A CancelledError of its own (of a task that it waited for), and an exit, are failures like others."""

    async def waits_for_another() -> None:
        other = asyncio.ensure_future(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    def leaves() -> None:
        raise SystemExit(3)

    def ends() -> None:
        raise StopIteration

    assert (await run(waits_for_another, "")).output.startswith("error: waits_for_another failed: CancelledError")
    assert (await run(leaves, "")).output == "error: leaves failed: SystemExit: 3"
    assert "StopIteration" in (await run(ends, "")).output


async def test_who_cancels_the_call_of_a_function_cancels_it() -> None:
    async def endless() -> None:
        await asyncio.sleep(60)

    running = asyncio.ensure_future(run(endless, ""))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_decorated_coroutine_function_is_waited_for() -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "found"

    def decorated() -> Any:
        return inner()

    assert (await run(decorated, "")).output == "found"


async def test_functions_that_hang_hold_up_nothing_else() -> None:
    """Neither what others do in threads, nor the exit of the app; and there are never more than a few of a call."""
    release = threading.Event()

    def hangs() -> None:
        release.wait(10)

    calls = FunctionCalls(CALL, tools_of([hangs]), 0.01)
    try:
        outputs = [(await calls.run(Item(name="hangs"))).output for _ in range(AT_ONCE + 1)]
        assert outputs.count("error: hangs did not finish within 0.01 s") == AT_ONCE
        assert outputs[-1] == "error: too many calls at once; try again"
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 5) == "done"
        hanging = [thread for thread in threading.enumerate() if thread.name == "tool hangs"]
        assert len(hanging) == AT_ONCE and all(thread.daemon for thread in hanging)
    finally:
        release.set()
    for thread in hanging:
        await asyncio.to_thread(thread.join, 5)
    assert (await calls.run(Item(name="hangs"))).output == "done"


async def test_outputs() -> None:
    def long() -> str:
        return "x" * (LONGEST_OUTPUT + 1)

    def nothing() -> None:
        return

    def odd() -> Any:
        return threading.main_thread

    assert (await run(nothing, "")).output == "done"
    assert (await run(long, "")).output.endswith(f"(cut after {LONGEST_OUTPUT} characters)")
    assert "main_thread" in (await run(odd, "")).output


def test_what_cannot_be_a_tool_is_named() -> None:
    def starred(*numbers: int) -> None: ...

    def unreadable(thing: threading.Thread) -> None: ...

    def unseen(thing: Unseen) -> None: ...

    with pytest.raises(ConfigError, match="starred: parameter numbers"):
        tool_of(starred)
    with pytest.raises(ConfigError, match="tool unreadable: a parameter's type"):
        tool_of(unreadable)
    with pytest.raises(ConfigError, match="tool unseen: a type of its signature is unknown: name 'Unseen'"):
        tool_of(unseen)
    with pytest.raises(ConfigError, match="lambda"):
        tool_of(lambda: 1)
    with pytest.raises(ConfigError, match="two tools are named order"):
        tools_of([order, order])


def test_a_method_and_a_mutable_default() -> None:
    class Shop:
        def find(self, words: list[str] = []) -> str:  # noqa: B006
            """Find something."""
            words.append("found")
            return ",".join(words)

    tool = tool_of(Shop().find)
    assert list(tool.schema["parameters"]["properties"]) == ["words"]
    assert [asyncio.run(tool.run(CALL, "")).output for _ in range(2)] == ["found", "found"]
