"""Users whose phone is an app: a call to one of them becomes an incoming call of its own, which the app is told of.

So two apps can talk to each other. Each has its own call, with its own callbacks and streams.
"""

from __future__ import annotations

from collections.abc import Callable

from offhook.calls.actions import DialLeg
from offhook.errors import CallError, LegError
from offhook.legs.leg import Leg, LegEnd, LegEvent
from offhook.legs.pair import PairedLeg
from offhook.service.identities import WITHHELD
from offhook.service.node import Node
from offhook.service.outside import Phone
from offhook.wire.identifiers import COMMUNICATION_USER
from offhook.wire.results import RESULTS

_DECLINED = "declined"
_IN_EVENTS = {"User-To-User": "userToUser"}
"""How IncomingCall names SIP headers (protocol.md §6.3)."""
_REFUSALS = {
    (RESULTS[name].code, RESULTS[name].sub_code): name
    for name in ("rejected", "busy", "refused", "not_answered", "unreachable", "service_stopping")
}


class AppPhones:
    """Finds the apps that watch a user."""

    def __init__(self, node: Node, watched: Callable[[str, str], bool]) -> None:
        """`watched`: whether an app hears of calls to one raw id from another."""
        self._node = node
        self._watched = watched

    def find(self, action: DialLeg) -> Phone | None:
        """The apps that would be told of this call, if its target is a user and there are any."""
        target = action.target
        caller = action.source or WITHHELD
        if target.kind != COMMUNICATION_USER or not self._watched(target.raw_id, caller.raw_id):
            return None
        return _AppPhone(self._node)


class _AppPhone:
    """Rings apps (node.Phone)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def ring(self, action: DialLeg, call_id: str) -> Leg:
        """See `Phone`: a leg into an incoming call that begins now."""
        node = self._node
        calling = PairedLeg(action.leg_id, lambda leg_id, event: self._heard(call_id, leg_id, event), _refusal)

        def called(leg_id: str, event: Callable[[str, LegEvent], None]) -> Leg:
            leg = PairedLeg(leg_id, event, _refusal)
            calling.call(leg)
            return leg

        caller = action.source or WITHHELD
        try:
            sip = {_IN_EVENTS.get(name, name): value for name, value in action.sip_headers}
            node.place(caller, action.target, action.display_name, called, sip, dict(action.voip_headers))
        except CallError as error:
            why = RESULTS[error.outcome].text(error.detail)
            raise LegError("busy", f"the node takes no call for {action.target.raw_id}: {why}") from None
        return calling

    def _heard(self, call_id: str, leg_id: str, event: LegEvent) -> None:
        live = self._node.moved.get(leg_id) or self._node.calls.get(call_id)
        if live is not None:
            self._node.leg_event(live, leg_id, event)


def _refusal(end: LegEnd) -> str:
    """The outcome for a caller whose call was not taken."""
    return _REFUSALS.get((end.code, end.sub_code), _DECLINED)
