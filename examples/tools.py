"""A speech model that looks things up, writes things down, and says goodbye: Python functions as its tools."""

import asyncio
from itertools import count
from typing import Literal

from offhook.kit import Call, RelayEvent, Said, ToolCalled, VoiceApp, relay

app = VoiceApp()
numbers = count(100)
bookings: dict[int, str] = {}

INSTRUCTIONS = """You take bookings for a small restaurant, on the telephone. Be brief and friendly.
Look for a free table before you book one. When the caller is done, say goodbye and hang up."""


async def free_tables(day: str, people: int) -> list[str]:
    """Times at which there is a table.

    Args:
        day: the day as the caller said it
        people: how many they are
    """
    await asyncio.sleep(0.3)  # a database: the conversation goes on meanwhile
    return ["18:00", "20:30"] if people <= 6 else []


def book(name: str, time: Literal["18:00", "20:30"], people: int = 2) -> str:
    """Book a table. A plain function: it runs in a thread."""
    if people > 6:
        raise ValueError("the largest table is for six")  # the model is told, and tells the caller
    number = next(numbers)
    bookings[number] = f"{name}, {time}, {people}"
    return f"booked, number {number}"


async def hang_up(call: Call) -> None:
    """End the call. Say goodbye before."""
    await call.quiet()  # until the goodbye was heard
    await call.hang_up()


def note(event: RelayEvent) -> None:
    """What was said and done, on the terminal."""
    match event:
        case Said(by, text, True):
            print(f"{by}: {text}", flush=True)
        case ToolCalled(name, arguments, output):
            print(f"  {name}{arguments} -> {output}", flush=True)


@app.on_call
async def agent(call: Call) -> None:
    await relay(
        call,
        instructions=INSTRUCTIONS,
        greeting="Say hello.",
        tools=[free_tables, book, hang_up],
        on_event=note,
    )


if __name__ == "__main__":
    app.run()
