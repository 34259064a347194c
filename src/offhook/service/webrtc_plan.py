"""How browsers reach the node with their media, and by whom else: the settings of `[webrtc]`."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

TURN_SECONDS = 12 * 3600
"""How long time-limited credentials of a TURN server are good."""


@dataclass(frozen=True, slots=True)
class WebRtcPlan:
    """`host` and `port` of the one UDP socket (0: any free one); `advertise`: addresses by which it is reached.

    `stun` and `turn` are URLs that browsers use; TURN with a name and a password, or with credentials made of `secret`.
    """

    host: str
    port: int = 0
    advertise: tuple[str, ...] = ()
    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    turn_username: str = ""
    turn_password: str = field(default="", repr=False)
    turn_secret: str = field(default="", repr=False)

    def ice_servers(self, user: str, now: float) -> list[dict[str, Any]]:
        """What `RTCPeerConnection` takes as iceServers. `now`: Unix seconds, for time-limited credentials, whose name
        is the time of their end and the user, and whose password signs it (draft-uberti-behave-turn-rest-00)."""
        servers: list[dict[str, Any]] = []
        if self.stun:
            servers.append({"urls": list(self.stun)})
        if self.turn:
            name, password = self.turn_username, self.turn_password
            if self.turn_secret:
                name = f"{int(now) + TURN_SECONDS}:{user}"
                signed = hmac.digest(self.turn_secret.encode(), name.encode(), hashlib.sha1)
                password = base64.b64encode(signed).decode()
            servers.append({"urls": list(self.turn), "username": name, "credential": password})
        return servers
