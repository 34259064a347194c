"""The double as a program, for examples: `python -m tests.kit.realtime_double --port 9090`, then in another terminal
`OPENAI_BASE_URL=http://127.0.0.1:9090/v1 OPENAI_API_KEY=sk-none python examples/realtime_agent.py`."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from tests.kit.realtime_double.answers import Say, read_answers, voice
from tests.kit.realtime_double.server import RealtimeDouble


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--answers", help="JSON, or @file with it: see read_answers")
    given = options.parse_args()
    text = given.answers or '[{"say": "Hello, how can I help you?"}]'
    answers = read_answers(Path(text[1:]).read_text() if text.startswith("@") else text)
    row = iter(answers)
    again = "I am only a double of a model. Ask me something else."
    voice(again)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with RealtimeDouble(lambda session: next(row, [Say(voice(again), again)]), port=given.port) as double:
        print(f"OPENAI_BASE_URL={double.url}", flush=True)
        await stop.wait()


asyncio.run(main())
