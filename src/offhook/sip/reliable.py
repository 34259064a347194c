"""Provisional answers that must arrive: PRACK from both sides (RFC 3262)."""

from __future__ import annotations

from collections.abc import Callable

from offhook.sip.grammar import number
from offhook.sip.message import Request, Response, cseq, encode, tokens
from offhook.sip.timers import Timer, Timers
from offhook.sip.transaction import PATIENCE, T1, Peer, Transaction

EXTENSION = "100rel"


class ReliableProvisionals:
    """The called side: each is repeated until its PRACK comes, and the next waits for that (§3)."""

    def __init__(
        self,
        timers: Timers,
        send: Callable[[bytes, Peer], None],
        never: Callable[[float], None],
        first: int,
    ) -> None:
        """`never` is called when a PRACK never comes; `first` is the RSeq to begin with."""
        self._timers = timers
        self._send = send
        self._never = never
        self._number = first
        self._waiting: list[Response] = []
        self._pending: Response | None = None
        self._last: str = ""
        self.settled = False
        """Whether a description of ours is confirmed: offer and answer are complete."""
        self._timer: Timer | None = None
        self._give_up: Timer | None = None

    @staticmethod
    def wanted(invite: Request, body: bytes) -> bool:
        """Whether an answer to this INVITE is to be sent reliably: they require it, or can and it has a description."""
        return EXTENSION in tokens(invite, "require") or bool(body and EXTENSION in tokens(invite, "supported"))

    @property
    def holds_answer(self) -> bool:
        """Whether a description is under way that nobody has confirmed: a 2xx must wait for it (§3)."""
        return any(answer.body for answer in ([self._pending] if self._pending else []) + self._waiting)

    def send(self, answer: Response, transaction: Transaction, now: float) -> None:
        """Send it, or keep it until the one before is confirmed."""
        if self._pending is not None:
            self._waiting.append(answer)
            return
        self._number += 1
        answer.headers.set_single("Require", EXTENSION)
        answer.headers.set_single("RSeq", str(self._number))
        self._pending = answer
        self._last = f"{self._number} {cseq(answer)[0]} invite"
        transaction.respond(answer, now)
        self._repeat(encode(answer), transaction, now, T1)
        self._give_up = self._timers.start(now + PATIENCE, self._never)

    def confirmed(self, prack: Request, transaction: Transaction, now: float) -> bool:
        """Their PRACK, and the INVITE's transaction; False when it is of nothing that we sent."""
        said = " ".join((prack.headers.get_first("rack") or "").lower().split())
        if not self._last or said != self._last:
            return False
        self._stop()
        self.settled = self.settled or bool(self._pending and self._pending.body)
        self._pending = None
        if self._waiting:
            self.send(self._waiting.pop(0), transaction, now)
        return True

    def stop(self) -> None:
        """A final answer is out: nothing is repeated any more."""
        self._stop()
        self._pending = None
        self._waiting.clear()

    def _stop(self) -> None:
        for timer in (self._timer, self._give_up):
            if timer is not None:
                timer.cancel()

    def _repeat(self, data: bytes, transaction: Transaction, now: float, pause: float) -> None:
        def again(at: float) -> None:
            self._send(data, transaction.peer)
            self._repeat(data, transaction, at, 2 * pause)

        self._timer = self._timers.start(now + pause, again)


class Acknowledger:
    """The calling side: which provisional answers are new, and the RAck that confirms each (§4)."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def due(self, answer: Response, tag: str) -> str | None:
        """The RAck for an answer; "" when none is wanted; None when it is a repetition or comes before its turn."""
        value, last = number(answer.headers.get_first("rseq")), self._last.get(tag)
        if EXTENSION not in tokens(answer, "require") or value is None or value >= 2**32:
            return ""
        if last is not None and value != last + 1:
            return None
        self._last[tag] = value
        return f"{value} {cseq(answer)[0]} INVITE"
