"""Python functions as tools of a model: their JSON schema from the signature, their arguments checked, their calls run.

A tool is a plain function, sync or async. Its docstring tells the model what it is for; a parameter's description is
a line `name: text` under `Args:`, or `Annotated[str, "text"]`. A parameter of type `Call`, or named `call`, gets the
call and is not shown to the model.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import re
import threading
import time
import typing
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import msgspec

from offhook.errors import ConfigError
from offhook.kit.realtime_events import ToolCalled

if TYPE_CHECKING:
    from offhook.kit.call import Call

log: Final = logging.getLogger("offhook.kit")

ToolFunction: TypeAlias = Callable[..., Any]
"""Sync or async."""

TIMEOUT_S: Final = 30.0
LONGEST_OUTPUT: Final = 32_768
"""Characters of an output that the model is given; the rest is cut off, and the output says so."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One function as a model sees it."""

    name: str
    function: ToolFunction
    description: str
    arguments: type[msgspec.Struct]
    call_parameter: str | None

    @property
    def schema(self) -> dict[str, Any]:
        """Its entry in the session's `tools`, the same in both vocabularies."""
        (_,), parts = msgspec.json.schema_components([self.arguments], ref_template="#/$defs/{name}")
        parameters = dict(parts.pop(self.arguments.__name__))
        parameters.pop("title", None)
        if parts:
            parameters["$defs"] = parts
        return {"type": "function", "name": self.name, "description": self.description, "parameters": parameters}

    async def run(
        self, call: Call, arguments: str, timeout: float = TIMEOUT_S, threads: set[threading.Thread] | None = None
    ) -> ToolCalled:
        """Check the arguments (JSON of the model), run it, and tell its output as text. Never raises.

        A plain function runs in a thread, which is added to `threads`: it goes on when it is given up.
        """
        started = time.monotonic()
        try:
            given = msgspec.json.decode(arguments or "{}", type=self.arguments, strict=False)
        except msgspec.DecodeError as error:
            output, failed = f"error: the arguments of {self.name} are wrong: {error}", True
        else:
            output, failed = await self._run(call, given, timeout, threads if threads is not None else set())
        if len(output) > LONGEST_OUTPUT:
            output = f"{output[:LONGEST_OUTPUT]}... (cut after {LONGEST_OUTPUT} characters)"
        return ToolCalled(self.name, arguments, output, failed, time.monotonic() - started)

    async def _run(
        self, call: Call, given: msgspec.Struct, timeout: float, threads: set[threading.Thread]
    ) -> tuple[str, bool]:
        named = {name: getattr(given, name) for name in self.arguments.__struct_fields__}
        if self.call_parameter is not None:
            named[self.call_parameter] = call
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                if inspect.iscoroutinefunction(self.function):
                    result = await self.function(**named)
                else:
                    result = await _in_thread(self.function, named, threads)
                    if inspect.isawaitable(result):  # of a decorated coroutine function, or an object that is called
                        result = await result
            return _text(result), False
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # by the relay; a CancelledError of the function's own is a failure like any other
            if limit.expired():
                log.warning("call %s: tool %s took longer than %g s", call.id, self.name, timeout)
                return f"error: {self.name} did not finish within {timeout:g} s", True
            log.exception("call %s: tool %s failed", call.id, self.name)
            return f"error: {self.name} failed: {type(error).__name__}: {error}", True


async def _in_thread(function: ToolFunction, named: dict[str, Any], threads: set[threading.Thread]) -> Any:
    """As asyncio.to_thread, in a thread of its own: functions that hang hold up neither other calls nor the exit."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def tell(result: Any, error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result((result, error))

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(function, **named)
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(tell, result, error)

    thread = threading.Thread(target=work, name=f"tool {function.__name__}", daemon=True)
    threads.add(thread)
    thread.start()
    result, error = await ended
    if error is not None:
        raise error
    return result


def tools_of(functions: Iterable[ToolFunction]) -> dict[str, Tool]:
    """By name. ConfigError for what cannot be a tool, and for two of one name."""
    tools: dict[str, Tool] = {}
    for function in functions:
        tool = tool_of(function)
        if tool.name in tools:
            raise ConfigError(f"two tools are named {tool.name}: rename one")
        tools[tool.name] = tool
    return tools


def tool_of(function: ToolFunction) -> Tool:
    """A function as a tool. ConfigError, naming the parameter, when its signature cannot be told to a model."""
    name = getattr(function, "__name__", "")
    if not callable(function) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        raise ConfigError(f"a tool is a function with a name of letters, digits and _, not {function!r}")
    text = inspect.getdoc(function) or ""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        hints = _hints_without_call(function, name, error)
    described = _described(text)
    call_parameter = None
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, str)
        if parameter.name == "call" or _is_call(hint):
            call_parameter = parameter.name
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigError(f"tool {name}: parameter {parameter.name} must have a name that a model can give")
        else:
            fields.append(_field(parameter, _annotated(hint, described.get(parameter.name))))
    fields.sort(key=lambda one: len(one) == 3)
    arguments = msgspec.defstruct(f"{name}_arguments", fields, forbid_unknown_fields=True, kw_only=True)
    tool = Tool(name, function, text, arguments, call_parameter)
    try:
        tool.schema  # noqa: B018
    except TypeError as error:
        raise ConfigError(f"tool {name}: a parameter's type cannot be told to a model: {error}") from None
    return tool


def _field(parameter: inspect.Parameter, hint: Any) -> tuple[Any, ...]:
    if parameter.default is parameter.empty:
        return (parameter.name, hint)
    default = parameter.default
    if isinstance(default, list | dict | set):
        return (parameter.name, hint, msgspec.field(default_factory=lambda: default.copy()))
    return (parameter.name, hint, default)


def _annotated(hint: Any, description: str | None) -> Any:
    if typing.get_origin(hint) is Annotated:
        kind, *notes = typing.get_args(hint)
        words = [note for note in notes if isinstance(note, str)]
        kept = tuple(note for note in notes if not isinstance(note, str))
        hint, description = (Annotated[(kind, *kept)] if kept else kind), words[0] if words else description
    return Annotated[hint, msgspec.Meta(description=description)] if description else hint


def _described(doc: str) -> dict[str, str]:
    """The lines `name: text` (or `name (type): text`) under `Args:` of a docstring."""
    _, found, rest = doc.partition("Args:\n")
    if not found:
        return {}
    block = rest.split("\n\n")[0]
    return {name: text.strip() for name, text in re.findall(r"^\s*(\w+)(?: *\([^)]*\))?: *(.+)$", block, re.MULTILINE)}


def _is_call(hint: Any) -> bool:
    return isinstance(hint, type) and hint.__name__ == "Call" and hint.__module__.startswith("offhook.kit")


def _hints_without_call(function: ToolFunction, name: str, error: NameError) -> dict[str, Any]:
    from offhook.kit.call import Call

    try:  # a name that is imported for type checkers only, as Call often is
        return typing.get_type_hints(function, localns={"Call": Call}, include_extras=True)
    except NameError:
        raise ConfigError(f"tool {name}: a type of its signature is unknown: {error}") from None


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    if result is None:
        return "done"
    try:
        return msgspec.json.encode(result).decode()
    except (TypeError, ValueError):
        return str(result)
