"""The double's server: where services have it, with their keys, and what a test may turn on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.kit.realtime_double.answers import RATE, Answer, Say, tone
from tests.kit.realtime_double.session import Session
from tests.kit.realtime_double.vocabulary import Vocabulary
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

BAD_KEY = "sk-bad"


class RealtimeDouble:
    """`async with RealtimeDouble([answers]) as double`: then `double.url` is an OPENAI_BASE_URL."""

    def __init__(self, answers: Sequence[Answer] | Callable[[Session], Answer] = (), *, port: int = 0) -> None:
        self.sessions: list[Session] = []
        self.pace_s = 0.0
        """Pause between deltas."""
        self.think_s = 0.0
        """Pause before the first one."""
        self.late_deltas = 0
        """Deltas that are on their way when a response is canceled."""
        self.refused = 0
        """Connections that were refused."""
        self.delta_bytes = 4801
        """Length of a delta: odd, so that every other one begins within a sample."""
        self.silence_ms = 300
        """Silence that ends a turn."""
        self.fail_with: str | None = None
        """Code of the error with which responses fail."""
        self.refuse_settings = False
        self.refuse_with: int | None = None
        """HTTP status for new connections."""
        self.open = asyncio.Event()
        """While it is not set, nothing is read."""
        self.open.set()
        self.heard: Callable[[bytes], str] = lambda pcm: f"({len(pcm) * 500 // RATE} ms of sound)"
        """The words of what the caller said."""
        self._answers = answers
        self._given = 0
        self._port = port
        self._server: Server | None = None

    def answer(self, session: Session) -> Answer:
        """The next answer; after the last of a row, a tone."""
        if callable(self._answers):
            return self._answers(session)
        self._given += 1
        return self._answers[self._given - 1] if self._given <= len(self._answers) else [Say(tone(), "A tone.")]

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    @property
    def origin(self) -> str:
        """As an Azure endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """As OPENAI_BASE_URL."""
        return f"{self.origin}/v1"

    @property
    def session(self) -> Session:
        """The newest."""
        return self.sessions[-1]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """All that was refused."""
        return [error for session in self.sessions for error in session.errors]

    @property
    def mistakes(self) -> list[dict[str, Any]]:
        """The same but for cancels that came when the response had just ended, which no client can know."""
        return [error for error in self.errors if error["code"] != "response_cancel_not_active"]

    async def __aenter__(self) -> RealtimeDouble:
        self._server = await serve(
            self._serve, "127.0.0.1", self._port, process_request=self._admit, compression=None, max_size=None
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._server is not None
        self.open.set()
        for session in self.sessions:
            session.drop()
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.refuse_with is not None:
            self.refused += 1
            return connection.respond(HTTPStatus(self.refuse_with), "refused\n")
        key = request.headers.get("api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not key or key == BAD_KEY:
            return connection.respond(HTTPStatus.UNAUTHORIZED, '{"error":{"code":"invalid_api_key"}}\n')
        if _place(request.path, request.headers.get("OpenAI-Beta")) is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such resource\n")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        place = _place(socket.request.path, socket.request.headers.get("OpenAI-Beta"))
        assert place is not None
        session = Session(self, socket, *place)
        self.sessions.append(session)
        await session.run()


def _place(path: str, beta: str | None) -> tuple[Vocabulary, str] | None:
    """What is at a path, and the model asked for: OpenAI, Azure OpenAI in both vocabularies, Voice Live."""
    parts = urlsplit(path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path == "/v1/realtime" and "model" in query:
        return Vocabulary(preview=beta is not None), query["model"]
    if parts.path == "/openai/v1/realtime" and "model" in query and "api-version" not in query:
        return Vocabulary(preview=False), query["model"]
    if parts.path == "/openai/realtime" and "api-version" in query and "deployment" in query:
        return Vocabulary(preview=True), query["deployment"]
    if parts.path == "/voice-live/realtime" and "api-version" in query and "model" in query:
        return Vocabulary(preview=True, loose=True), query["model"]
    return None
