"""A voice agent in a FastAPI application, beside its other pages. Needs `pip install fastapi 'uvicorn[standard]'`."""

import os

import uvicorn
from fastapi import FastAPI

from offhook.kit import Call, TurnTaking, VoiceApp

PORT = int(os.environ.get("PORT", "8000"))

voice = VoiceApp(
    # where the service reaches what is mounted: for mount("/voice", ...) it ends in /voice
    public_url=os.environ.get("PUBLIC_URL") or f"http://127.0.0.1:{PORT}",
    turn_taking=TurnTaking(barge_in=False),
)
server = FastAPI(lifespan=voice.lifespan)


@voice.on_call
async def agent(call: Call) -> None:
    async for frame in call.audio:
        call.play(frame.pcm)


@server.get("/health")
async def health() -> dict[str, bool]:
    return {"up": True}


server.mount("/", voice.asgi())

if __name__ == "__main__":
    uvicorn.run(server, host="127.0.0.1", port=PORT, log_level="warning")
