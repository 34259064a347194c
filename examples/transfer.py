"""A speech model as a receptionist: it hands callers over to people, and takes them back when nobody answers."""

import os
from typing import Literal

from offhook.kit import Call, RelayFailed, TransferFailed, VoiceApp, relay

app = VoiceApp()

PEOPLE = {
    "sales": os.environ.get("SALES_NUMBER", "+15550100021"),
    "service": os.environ.get("SERVICE_NUMBER", "+15550100022"),
}
INSTRUCTIONS = """You are the receptionist of a bicycle factory. Find out whom the caller needs.
Say that you connect them, then use the tool. When nobody answers, say so, and offer to take a message."""


async def connect(call: Call, department: Literal["sales", "service"]) -> str:
    """Connect the caller with a department."""
    await call.quiet()  # they hear the announcement to its end
    try:
        await call.transfer(PEOPLE[department])
    except TransferFailed as error:
        return f"nobody answers: {error}"
    return "connected"


@app.on_call
async def agent(call: Call) -> None:
    try:
        await relay(call, instructions=INSTRUCTIONS, greeting="Say hello.", tools=[connect], tool_timeout_s=100)
    except RelayFailed as error:
        print(f"no model for call {call.id}: {error}", flush=True)
        await call.transfer(PEOPLE["service"])  # a person, then


if __name__ == "__main__":
    app.run()
