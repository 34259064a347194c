"""A node as a program: its log, its limits, its signals, its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from offhook.errors import ConfigError
from offhook.service.config import NodePlan, Settings
from offhook.service.process import LiveNode, Tell

log = logging.getLogger("offhook")


def run(
    command: str, config: Settings, announce: Tell, event: Tell, again: Callable[[], NodePlan] | None = None
) -> int:
    """Run until SIGTERM or SIGINT; gives back the exit status. What is wrong is told before anything is announced.

    `again` gives the plan as it is now: on SIGHUP its access keys are taken. Without it SIGHUP ends the node at once.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").addFilter(_our_fault)
    _raise_file_limit()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(config, announce, event, again))
    except ConfigError as error:
        sys.stderr.write(f"{command}: {config.said(str(error))}\n")
        return 2
    return 0


def _our_fault(record: logging.LogRecord) -> bool:
    """Requests that cannot be read are answered as such; whoever sends them must not fill the log with tracebacks."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


def _raise_file_limit() -> None:
    """Every call needs a few sockets: use all the files that this process may open."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one: its loop costs the media path half as much."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def reload(node: LiveNode, again: Callable[[], NodePlan]) -> None:
    """Take the access keys that the settings have now; what else they say waits for the next start."""
    try:
        plan = await asyncio.to_thread(again)
    except ConfigError as error:
        for line in str(error).splitlines():
            log.error("the settings stay as they were: %s", line)
        return
    node.take_keys(plan)
    if replace(plan, keys=node.plan.keys) != node.plan:
        log.warning("the access keys are read anew; other settings have changed too, and wait for the next start")
    node.tell({"event": "node", "name": "reloaded", "keys": len(node.access_keys)})


async def _serve(config: Settings, announce: Tell, event: Tell, again: Callable[[], NodePlan] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node = LiveNode(config, event)
    await node.start()
    reloads: set[asyncio.Task[None]] = set()
    if again is not None and hasattr(signal, "SIGHUP"):

        def reread() -> None:
            reloads.add(task := loop.create_task(reload(node, again)))
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reread)
    # Long-lived objects out of the collector's sight: what a full collection still walks is small. It must come now
    # and then, for every WebSocket that is served leaves a cycle behind.
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 5, 5)
    announce(node.describe())
    await stop.wait()
    if node.plan.drain_seconds and node.node.calls:
        stop.clear()
        draining = asyncio.create_task(node.drain(node.plan.drain_seconds))
        second = asyncio.create_task(stop.wait())  # a second signal does not wait
        await asyncio.wait([draining, second], return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, second):
            task.cancel()
    await node.stop()
