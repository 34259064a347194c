"""The speech process: requests in by stdin, answers out by stdout, the models in one thread, at the lowest priority.

It speaks for several at once, a sentence of each in turn, so that the first sound of a short text does not wait for the
end of a long one; recognitions go between. It ends when stdin does, so that it never outlives its node.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from offhook.audio.pcm import Frame, from_bytes, to_bytes
from offhook.errors import OffhookError, SpeechError
from offhook.speech.messages import (
    HEAD,
    Answer,
    Failed,
    Forget,
    Forgotten,
    Heard,
    Piece,
    Recognise,
    Request,
    Speak,
    Spoken,
    packed,
    requests,
)
from offhook.speech.provider import Recogniser, Voice

NICENESS: Final = 10


class Worker:
    """Serves requests until there are no more. `voice` and `recogniser` are made when first needed, and then kept."""

    def __init__(
        self, voice: Callable[[], Voice], recogniser: Callable[[], Recogniser], send: Callable[[Answer], None]
    ) -> None:
        self._make_voice, self._make_recogniser = voice, recogniser
        self._send = send
        self._voice: Voice | None = None
        self._recogniser: Recogniser | None = None
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._speaking: deque[tuple[int, Iterator[Frame]]] = deque()
        self._hearing: deque[Recognise] = deque()

    def take(self, request: Request | None) -> None:
        """A request, from any thread; None: no more will come."""
        self._waiting.put(request)

    def run(self) -> None:
        """Work until `take(None)`."""
        while True:
            idle = not self._speaking and not self._hearing
            try:
                request = self._waiting.get(block=idle)
            except queue.Empty:
                self._step()
                continue
            match request:
                case None:
                    return
                case Speak():
                    self._speaking.append((request.number, self._spoken(request)))
                case Recognise():
                    self._hearing.append(request)
                case Forget(number):
                    self._speaking = deque(one for one in self._speaking if one[0] != number)
                    self._hearing = deque(one for one in self._hearing if one.number != number)
                    self._send(Forgotten(number))

    def _step(self) -> None:
        """One sentence, and one recognition."""
        if self._speaking:
            number, pieces = self._speaking.popleft()
            self._guarded(number, lambda: self._next_piece(number, pieces))
        if self._hearing:
            request = self._hearing.popleft()
            self._guarded(request.number, lambda: self._recognise(request))

    def _guarded(self, number: int, work: Callable[[], None]) -> None:
        try:
            work()
        except SpeechError as error:
            self._send(Failed(number, error.outcome, error.detail))
        except OffhookError as error:
            self._send(Failed(number, "speech_failed", f"{error}."))
        except Exception as error:  # an engine of others: whatever it raises is this request's end, not the process's
            self._send(Failed(number, "speech_failed", f"{type(error).__name__}: {error}."))

    def _spoken(self, request: Speak) -> Iterator[Frame]:
        if self._voice is None:
            self._voice = self._make_voice()
        yield from self._voice.speak(request.words, request.rate)

    def _next_piece(self, number: int, pieces: Iterator[Frame]) -> None:
        piece = next(pieces, None)
        if piece is None:
            self._send(Spoken(number))
        else:
            self._send(Piece(number, to_bytes(piece)))
            self._speaking.append((number, pieces))

    def _recognise(self, request: Recognise) -> None:
        if self._recogniser is None:
            self._recogniser = self._make_recogniser()
        heard = self._recogniser.recognise(from_bytes(request.pcm), request.language, request.phrases)
        self._send(Heard(request.number, heard))


def read_requests(source: BinaryIO, take: Callable[[Request | None], None]) -> None:
    """Hand out requests until the source ends."""
    while len(head := source.read(HEAD.size)) == HEAD.size:
        (size,) = HEAD.unpack(head)
        body = source.read(size)
        if len(body) < size:
            break
        take(requests.decode(body))
    take(None)


def serve(voice: Callable[[], Voice], recogniser: Callable[[], Recogniser]) -> None:
    """Be the speech process of a node."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's interrupt is the node's to handle
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # What an engine prints must not get between the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def send(answer: Answer) -> None:
        out.write(packed(answer))
        out.flush()

    worker = Worker(voice, recogniser, send)

    def read() -> None:
        read_requests(sys.stdin.buffer, worker.take)

    threading.Thread(target=read, daemon=True).start()
    try:
        worker.run()
    except BrokenPipeError:
        os._exit(0)  # the node is gone, and nothing is left to flush to it
