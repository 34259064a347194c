"""The SIP messages of calls, as they went over the network, in their traces: repeated ones too (docs/trace.md).

The first messages of a call come before there is one: those of an INVITE wait here until it is known what call it has
become. Of dialogs that become none, the last 64 are kept for a moment, four messages each.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from offhook.service.masking import SipText
from offhook.service.trace import CallTrace, Traces
from offhook.sip.transaction import Peer

MOST_DIALOGS: Final = 10_000
MOST_WAITING: Final = 64
MOST_MESSAGES: Final = 4
_HEAD: Final = 16 * 1024
_LONGEST: Final = 256  # of a Call-ID, what tells dialogs apart here
# One way to match each byte: what comes here may be anybody's, and the media clock waits meanwhile.
_CALL_ID: Final = re.compile(rb"(?im)^(?:call-id|i)[ \t]*:([^\r\n]*)")
_CSEQ: Final = re.compile(rb"(?im)^cseq[ \t]*:[ \t]*\d+[ \t]+([A-Za-z]+)")
_Waiting = tuple[float, str, dict[str, Any]]


class SipNotes:
    """Sees every message of a node's SIP side (`MessageTap`)."""

    def __init__(self, traces: Traces, now: Callable[[], float]) -> None:
        """`now`: the clock of the traces, in monotonic seconds."""
        self._traces = traces
        self._now = now
        self._legs: OrderedDict[bytes, str] = OrderedDict()
        self._waiting: OrderedDict[bytes, list[_Waiting]] = OrderedDict()

    def known(self, call_id: str, leg_id: str) -> None:
        """A dialog of this Call-ID is a leg's."""
        key = call_id.encode("utf-8", "surrogateescape")[:_LONGEST]
        self._legs[key] = leg_id
        self._legs.move_to_end(key)
        if len(self._legs) > MOST_DIALOGS:
            self._legs.popitem(last=False)

    def saw(self, direction: str, data: bytes, peer: Peer) -> None:
        """A message that came (in) or goes (out)."""
        found = _CALL_ID.search(data, 0, _HEAD)
        if found is None:
            return
        call_id = found[1].strip(b" \t")[:_LONGEST]
        leg_id = self._legs.get(call_id)
        trace = None if leg_id is None else self._traces.of_leg(leg_id)
        method = _CSEQ.search(data, 0, _HEAD)
        name = _name(data, "" if method is None else method[1].decode("ascii").upper())
        detail = {"direction": direction, "peer": str(peer), "text": SipText.of(data)}
        if trace is None or leg_id is None:
            if method is not None and method[1].upper() in (b"INVITE", b"ACK"):
                self._wait(call_id, (self._now(), name, detail))
            return
        for at, earlier, what in self._waiting.pop(call_id, ()):
            self._note(at, trace, leg_id, earlier, what)
        self._note(self._now(), trace, leg_id, name, detail)

    def _note(self, at: float, trace: CallTrace, leg_id: str, name: str, detail: dict[str, Any]) -> None:
        self._traces.note_at(max(at, trace.began), trace, "sip", name, {"leg": leg_id, **detail})

    def _wait(self, call_id: bytes, message: _Waiting) -> None:
        waiting = self._waiting.setdefault(call_id, [])
        if len(waiting) < MOST_MESSAGES:
            waiting.append(message)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)


def _name(data: bytes, method: str) -> str:
    """The method of a request; status and method of a response."""
    words = data.lstrip(b"\r\n")[:64].split(None, 2)
    if len(words) > 1 and words[0].upper().startswith(b"SIP/"):
        return f"{words[1].decode('ascii', 'replace')} {method}".strip()
    return method or (words[0].decode("ascii", "replace") if words else "")
