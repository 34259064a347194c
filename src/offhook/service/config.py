"""Settings of a node, as the command line gives them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

# Fixed and documented, so that every tool on this machine finds the node; refused on any other than loopback.
LOCAL_ACCESS_KEY = "b2ZmaG9vay1sb2NhbC1kZXZlbG9wbWVudC1rZXktMDAwMQ=="
DEFAULT_PORT = 8480
ACS_ISSUER = "https://acscallautomation.communication.azure.com"


@dataclass(frozen=True, slots=True)
class DevConfig:
    """What `offhook dev` runs with. `restart_ms` is the playout restart rule's threshold; `sip_port` None: no SIP."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    incoming: list[str] = field(default_factory=list)
    state_dir: Path = Path("~/.offhook")
    trust: list[Path] = field(default_factory=list)
    map: list[str] = field(default_factory=list)
    issuer: str | None = None
    json: bool = False
    restart_ms: int = 40
    sip_port: int | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the node; then the fixed local key serves."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
