"""What a node runs with: a plan, made of the options of `offhook dev` or of the file of `offhook serve`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from offhook.errors import ConfigError
from offhook.service.bearer import TokenRule
from offhook.service.console_logins import ConsoleRule
from offhook.service.eventgrid import Watcher
from offhook.service.history import HistoryRule
from offhook.service.recordings import RecordingRule
from offhook.service.routing import SipPlan
from offhook.service.speech import SpeechPlan
from offhook.service.targets import Targets
from offhook.service.webrtc_plan import WebRtcPlan
from offhook.wire.tokens import keys_may_come_from

# Fixed and documented, so that every tool on this machine finds the node; refused on any other than loopback.
LOCAL_ACCESS_KEY = "b2ZmaG9vay1sb2NhbC1kZXZlbG9wbWVudC1rZXktMDAwMQ=="
DEFAULT_PORT = 8480
ACS_ISSUER = "https://acscallautomation.communication.azure.com"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """Everything that a running node is built from.

    `keys` empty: the state directory's own random key. `public_url` empty: built from host and port. `tls`:
    certificate and key files, else those of our own CA. `drain_seconds`: how long live calls may go on after SIGTERM.
    """

    host: str
    port: int
    state_dir: Path
    keys: tuple[str, ...] = ()
    public_url: str = ""
    tls: tuple[Path, Path] | None = None
    watchers: tuple[Watcher, ...] = ()
    trust: tuple[Path, ...] = ()
    map: tuple[str, ...] = ()
    issuer: str = ACS_ISSUER
    restart_ms: int = 40
    drain_seconds: float = 0.0
    most_calls: int = 0
    """Calls at once; 0: as many as the clock has room for."""
    targets: Targets = field(default_factory=lambda: Targets(private=True))
    sip: SipPlan | None = None
    prompts: Path | None = None
    """The folder of the sound files that apps may play by name."""
    sound: bool = False
    """Whether what legs say and hear is kept for looking at calls."""
    recordings: RecordingRule = RecordingRule()
    history: HistoryRule = HistoryRule()
    """How long calls can be looked at."""
    tokens: TokenRule | None = None
    """Whose bearer tokens open the REST interface, beside the access keys."""
    speech: SpeechPlan = field(default_factory=SpeechPlan)
    webrtc: WebRtcPlan | None = None
    """How browsers that are phones reach the node with their media; None: there are none."""
    console: ConsoleRule = ConsoleRule()
    """Who gets the console's pages."""

    @property
    def names(self) -> tuple[str, ...]:
        """What clients and phones know the node by, beside the names of loopback: its certificate must hold these."""
        known = ["" if self.loopback else self.host, urlsplit(self.public_url).hostname or ""]
        if self.sip is not None:
            known.append(self.sip.advertise)
        return tuple(name for name in known if name)

    @property
    def further_trust(self) -> tuple[Path, ...]:
        """PEM files without which clients could not check a certificate that is not of our own CA."""
        return () if self.tls is None else (self.tls[0], *self.trust)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the node."""
        return is_loopback(self.host)


class Planned(Protocol):
    """Settings from which a plan is made."""

    def plan(self) -> NodePlan:
        """The plan. ConfigError when it cannot be made."""


class Settings(Planned, Protocol):
    """Settings of a command that runs a node."""

    def said(self, problem: str) -> str:
        """A problem that names options of `dev`, in the words of these settings."""


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
    prompts: Path | None = None
    token_issuer: str = ""
    token_keys: str = ""
    history_days: float = HistoryRule().days
    speech_url: str = ""
    speech_key: str = field(default="", repr=False)
    webrtc_host: str = ""
    webrtc_port: int = 0
    console: bool = True

    def plan(self) -> NodePlan:
        """See `Planned`. Only this machine can reach a node on loopback; then the fixed local key serves."""
        if bool(self.token_issuer) != bool(self.token_keys):
            raise ConfigError("--token-issuer and --token-keys belong together: give both, or neither")
        if self.token_keys and not keys_may_come_from(self.token_keys):
            raise ConfigError(f"--token-keys {self.token_keys}: give an https:// URL, or http:// of this machine")
        if self.prompts is not None and not self.prompts.is_dir():
            raise ConfigError(f"--prompts {self.prompts}: there is no such folder; make it, or name another")
        if self.speech_url and not self.speech_url.lower().startswith(("http://", "https://")):
            raise ConfigError(f"--speech-url {self.speech_url}: give an http:// or https:// URL, with /v1 at its end")
        if self.webrtc_host and _address(self.webrtc_host) != self.webrtc_host:
            raise ConfigError(
                f"--webrtc-host {self.webrtc_host}: give an IP address; 0.0.0.0 is every one of this machine"
            )
        return NodePlan(
            host=self.host,
            port=self.port,
            state_dir=self.state_dir,
            keys=(LOCAL_ACCESS_KEY,) if is_loopback(self.host) else (),
            watchers=tuple(Watcher(url) for url in self.incoming),
            trust=tuple(self.trust),
            map=tuple(self.map),
            issuer=self.issuer or ACS_ISSUER,
            restart_ms=self.restart_ms,
            prompts=self.prompts,
            history=HistoryRule(self.history_days),
            sound=True,
            tokens=TokenRule(self.token_issuer, self.token_keys) if self.token_issuer else None,
            speech=SpeechPlan("openai", self.speech_url, self.speech_key) if self.speech_url else SpeechPlan(),
            sip=None if self.sip_port is None else SipPlan(host="127.0.0.1", port=self.sip_port),
            webrtc=WebRtcPlan(self.webrtc_host or _address(self.host), self.webrtc_port),
            console=self._console(),
        )

    def _console(self) -> ConsoleRule:
        """Open on loopback; elsewhere with a token of the node's own."""
        if not self.console:
            return ConsoleRule()
        return ConsoleRule(open=True) if is_loopback(self.host) else ConsoleRule(made=True)

    def said(self, problem: str) -> str:
        """See `Settings`."""
        return problem


def _address(host: str) -> str:
    """The address to listen on of a host that may be a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "127.0.0.1" if is_loopback(host) else "0.0.0.0"


def meet(one: str, other: str) -> bool:
    """Whether two places to listen at share an address."""
    anywhere = {"0.0.0.0", "::"}
    loopback = {"localhost", "127.0.0.1", "::1"}
    return bool(one == other or {one, other} & anywhere or ("localhost" in (one, other) and {one, other} <= loopback))


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
