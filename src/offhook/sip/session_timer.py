"""Session timers: a call whose other side is gone without a word ends by itself (RFC 4028).

One side, the refresher, says within half the interval that it is still there; the other ends the call when it does
not. The roles `uac` and `uas` in the header are those of the one message that carries them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from offhook.sip.grammar import number
from offhook.sip.message import Message, Request, Response, tokens
from offhook.sip.timers import Timer, Timers

MIN_SE = 90
"""The shortest interval in seconds that we agree to (§5)."""
INTERVAL = 1800
"""What we ask for."""
LONGEST = 7 * 24 * 3600
Headers = list[tuple[str, str]]


class Terms(NamedTuple):
    """A Session-Expires header: seconds, and the refresher or "" when it is left open."""

    interval: int
    refresher: str


def terms(message: Message) -> Terms | None:
    """What a message says; None without the header, or with one that cannot be read."""
    interval, _, rest = (message.headers.get_first("session-expires") or "").partition(";")
    seconds = _seconds(interval)
    if seconds is None:
        return None
    for part in rest.split(";"):
        name, _, value = part.partition("=")
        if name.strip().lower() == "refresher" and value.strip().lower() in ("uac", "uas"):
            return Terms(seconds, value.strip().lower())
    return Terms(seconds, "")


class SessionTimer:
    """The timer of one session. `refresh` is asked for when it is our turn, `expire` when nobody refreshed."""

    def __init__(self, timers: Timers, refresh: Callable[[float], None], expire: Callable[[float], None]) -> None:
        self.interval = 0
        """Seconds that were agreed on; 0: no timer runs."""
        self.ours = False
        """Whether the refreshes are ours to send."""
        self._timers = timers
        self._refresh = refresh
        self._expire = expire
        self._floor = MIN_SE
        self._wanted = INTERVAL
        self._waits: list[Timer] = []

    def request_headers(self, *, first: bool) -> Headers:
        """For an INVITE or UPDATE of ours; a later one keeps the role that is agreed on (§7.4)."""
        if first:
            return [("Session-Expires", str(self._wanted)), ("Min-SE", str(self._floor))]
        if not self.interval:
            return []
        role = "uac" if self.ours else "uas"
        return [("Session-Expires", f"{self.interval};refresher={role}"), ("Min-SE", str(self._floor))]

    def too_brief(self, request: Request) -> bool:
        """Whether their interval is below what we agree to: 422 with Min-SE follows (§9).

        Only for who knows of timers: a proxy may have asked on behalf of a side that could do nothing with a 422.
        """
        asked = terms(request)
        return asked is not None and asked.interval < MIN_SE and _knows(request)

    def accept(self, request: Request, now: float) -> Headers:
        """Headers of our 2xx to their INVITE or UPDATE; starts the timer (§9)."""
        asked = terms(request)
        if asked is None:
            if not self.interval or request.method not in ("INVITE", "UPDATE"):
                self.stop()
                return []
            asked = Terms(self.interval, "uas" if self.ours else "uac")
        # A proxy may have asked for it on behalf of a side that cannot refresh.
        role = (asked.refresher or "uac") if _knows(request) else "uas"
        self._start(min(max(asked.interval, MIN_SE), LONGEST), role == "uas", now)
        required = [("Require", "timer")] if role == "uac" else []
        return [("Session-Expires", f"{self.interval};refresher={role}"), *required]

    def accepted(self, answer: Response, now: float) -> None:
        """Their 2xx to our INVITE or UPDATE: without the header there is no timer (§7.2)."""
        said = terms(answer)
        if said is None or said.interval < 1:
            self.stop()
        else:
            self._start(min(max(said.interval, MIN_SE), LONGEST), said.refresher != "uas", now)

    def refused(self, answer: Response) -> bool:
        """A 422: ask for what they want from now on; False when they do not say, or want the same as before."""
        least = _seconds(answer.headers.get_first("min-se") or "")
        if least is None or least > LONGEST or least <= self._floor:
            return False
        self._floor = least
        self._wanted = max(self._wanted, least)
        self.interval = max(self.interval, least) if self.interval else 0
        return True

    def stop(self) -> None:
        """No timer runs any more."""
        self.interval = 0
        for wait in self._waits:
            wait.cancel()

    def again(self, now: float, pause: float) -> None:
        """A refresh did not go through, for a reason that may pass."""
        if self.interval and self.ours:
            self._waits.append(self._timers.start(now + pause, self._refresh))

    def _start(self, interval: int, ours: bool, now: float) -> None:
        self.stop()
        self.interval, self.ours = interval, ours
        # §10: the other side is given up shortly before the end, so that the BYE comes in time.
        self._waits = [self._timers.start(now + interval - min(32, interval // 3), self._expire)]
        if ours:
            self._waits.append(self._timers.start(now + interval / 2, self._refresh))


def _knows(request: Request) -> bool:
    return "timer" in tokens(request, "supported") or "timer" in tokens(request, "require")


def _seconds(text: str) -> int | None:
    return number(text.partition(";")[0])
