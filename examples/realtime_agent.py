"""A voice agent that answers the telephone of a bicycle shop."""

from offhook.kit import Call, VoiceApp, relay

app = VoiceApp()


async def opening_hours(day: str) -> str:
    """When the shop is open on a day of the week."""
    return "closed" if day.lower() == "sunday" else "nine to six"


@app.on_call
async def agent(call: Call) -> None:
    instructions = "You answer the telephone of a bicycle shop. Be brief and friendly."
    await relay(call, model="gpt-realtime", instructions=instructions, greeting="Say hello.", tools=[opening_hours])


if __name__ == "__main__":
    app.run()
