"""Says back what the caller says."""

from offhook.kit import Call, TurnTaking, VoiceApp

app = VoiceApp(turn_taking=TurnTaking(barge_in=False))  # or the caller's voice would stop their own echo


@app.on_call
async def agent(call: Call) -> None:
    async for frame in call.audio:
        call.play(frame.pcm)


if __name__ == "__main__":
    app.run()
