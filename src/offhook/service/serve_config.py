"""The configuration file of `offhook serve` (TOML): read, checked, made into a plan. docs/serve.md explains each key.

Every error names the file, the place in it, what is wrong there and what would be right; all of them are found at
once as far as they do not hide each other.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from offhook.errors import ConfigError
from offhook.legs.sip import KNOWN, MediaRules
from offhook.service.config import ACS_ISSUER, NodePlan
from offhook.service.eventgrid import Watcher
from offhook.service.origins import origin_of
from offhook.service.routing import NumberRule, SipPlan, TrunkRule, User, is_pattern
from offhook.service.targets import Network, Targets, networks

LEAST_KEY = 32
"""Bytes of an access key, at least."""


class _Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class NodeSection(_Section):
    """`[node]`."""

    host: str = "0.0.0.0"
    port: int = 8443
    public_url: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    state_dir: str = "/var/lib/offhook"
    trust: list[str] = []
    issuer: str = ACS_ISSUER
    restart_ms: int = 40
    drain_seconds: float = 60.0
    most_calls: int = 0
    allow_targets: list[str] = []
    allow_private_targets: bool = False


class ResourceSection(_Section):
    """`[resource]`: what a connection string is made of."""

    key1: str = ""
    key1_env: str = ""
    key2: str = ""
    key2_env: str = ""


class WebhookSection(_Section, rename={"from_": "from"}):
    """`[[webhook]]`: an Event Grid subscription to IncomingCall."""

    url: str
    name: str = ""
    to: list[str] = []
    from_: list[str] = []


class SipSection(_Section):
    """`[sip]`."""

    host: str = "0.0.0.0"
    port: int = 5060
    advertise: str = ""
    rtp_ports: str = "20000-29999"
    latch: bool = True
    codecs: list[str] = msgspec.field(default_factory=lambda: list(MediaRules().codecs))
    inband_dtmf: bool = False
    realm: str = "offhook"
    destinations: list[str] = []
    requests_per_second: float = 50.0


class UserSection(_Section):
    """`[[user]]`: a phone that may register."""

    name: str
    password: str = ""
    password_env: str = ""
    number: str = ""


class TrunkSection(_Section):
    """`[[trunk]]`."""

    name: str
    host: str = ""
    port: int = 0
    transport: str = "udp"
    allow: list[str] = []
    username: str = ""
    password: str = ""
    password_env: str = ""
    register: bool = False
    prefixes: list[str] = []
    strip: int = 0
    add: str = ""
    plus: bool = True
    caller_id: str = ""
    trusted: bool = True
    calls: int = 0
    calls_per_second: float = 0.0


class NumberSection(_Section):
    """`[[number]]`."""

    number: str
    webhooks: list[str] = []
    calls: int = 0
    calls_per_second: float = 0.0


class File(_Section):
    """The whole file."""

    resource: ResourceSection
    node: NodeSection = msgspec.field(default_factory=NodeSection)
    webhook: list[WebhookSection] = []
    sip: SipSection | None = None
    user: list[UserSection] = []
    trunk: list[TrunkSection] = []
    number: list[NumberSection] = []


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong: where in the file, what, and what would be right."""

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.fix}"


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """A file that was read. `plan` is what a node is built from."""

    path: Path
    checked: NodePlan

    def plan(self) -> NodePlan:
        """See `Planned`."""
        return self.checked


def read(path: Path, environment: Mapping[str, str] | None = None) -> ServeConfig:
    """Read a file. ConfigError with every problem, one a line."""
    config, problems = check(path, os.environ if environment is None else environment)
    if config is None:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def check(path: Path, environment: Mapping[str, str]) -> tuple[ServeConfig | None, list[Problem]]:
    """Read a file and say what is wrong with it; the config is None unless nothing is."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        fix = "make one by  offhook config init"
        return None, [Problem("the file", f"cannot be read ({error.strerror or error})", fix)]
    except UnicodeDecodeError:
        return None, [Problem("the file", "is no UTF-8 text", "save it as UTF-8")]
    try:
        file = msgspec.convert(tomllib.loads(text), File)
    except tomllib.TOMLDecodeError as error:
        return None, [Problem("the file", f"is no TOML: {error}", "see the comments of  offhook config init")]
    except msgspec.ValidationError as error:
        return None, [_shape(str(error))]
    reader = _Reader(file, path.parent, environment)
    plan = reader.plan()
    return (None, reader.problems) if reader.problems else (ServeConfig(path, plan), [])


class _Reader:
    """Turns sections into rules and gathers what is wrong."""

    def __init__(self, file: File, folder: Path, environment: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._folder = folder
        self._environment = environment

    def wrong(self, where: str, what: str, fix: str) -> None:
        self.problems.append(Problem(where, what, fix))

    def plan(self) -> NodePlan:
        node = self._file.node
        if not 0 <= node.port <= 65535:
            self.wrong("[node] port", f"{node.port} is no port", "give 1 to 65535, or 0 for any free one")
        if node.public_url:
            self._url("[node] public_url", node.public_url, ("https", "http"))
        if node.drain_seconds < 0 or node.most_calls < 0:
            self.wrong("[node]", "drain_seconds and most_calls cannot be below 0", "give 0 or more")
        if not 0 <= node.restart_ms <= 200:
            self.wrong("[node] restart_ms", f"{node.restart_ms} is out of range", "give 0 to 200")
        return NodePlan(
            host=node.host,
            port=node.port,
            state_dir=self._path(node.state_dir),
            keys=self._keys(),
            public_url=node.public_url.rstrip("/"),
            tls=self._tls(node),
            watchers=self._watchers(),
            trust=tuple(self._existing(f"[node] trust {n}", item) for n, item in enumerate(node.trust, 1)),
            issuer=node.issuer,
            restart_ms=node.restart_ms,
            drain_seconds=node.drain_seconds,
            most_calls=node.most_calls,
            targets=Targets(node.allow_private_targets, self._networks("[node] allow_targets", node.allow_targets)),
            sip=self._sip(),
        )

    def _keys(self) -> tuple[str, ...]:
        resource, keys = self._file.resource, []
        for name, value, variable in (
            ("key1", resource.key1, resource.key1_env),
            ("key2", resource.key2, resource.key2_env),
        ):
            where = f"[resource] {name}"
            key = self._secret(where, value, variable)
            if not key:
                continue
            try:
                size = len(base64.b64decode(key, validate=True))
            except binascii.Error:
                self.wrong(where, "is no base64", "make one by  offhook config key")
                continue
            if size < LEAST_KEY:
                self.wrong(where, f"is only {size} bytes long", f"give at least {LEAST_KEY}: offhook config key")
            keys.append(key)
        if not keys and not self.problems:
            self.wrong("[resource]", "has no access key", "set key1, or key1_env with the variable that holds it")
        return tuple(keys)

    def _secret(self, where: str, value: str, variable: str) -> str:
        if value and variable:
            self.wrong(where, "is given twice, in the file and by a variable", "keep one of them")
        if variable and not self._environment.get(variable):
            self.wrong(f"{where}_env", f"the environment has no {variable}", "set it, or name another variable")
        return value or self._environment.get(variable, "")

    def _tls(self, node: NodeSection) -> tuple[Path, Path] | None:
        if not node.tls_certificate and not node.tls_key:
            return None
        if not (node.tls_certificate and node.tls_key):
            self.wrong("[node]", "tls_certificate and tls_key belong together", "give both, or neither")
            return None
        certificate = self._existing("[node] tls_certificate", node.tls_certificate)
        return certificate, self._existing("[node] tls_key", node.tls_key)

    def _watchers(self) -> tuple[Watcher, ...]:
        made: list[Watcher] = []
        for number, webhook in enumerate(self._file.webhook, 1):
            where = f"[[webhook]] {number}"
            self._url(f"{where} url", webhook.url, ("https", "http"))
            if webhook.name and any(webhook.name == other.name for other in made):
                self.wrong(f"{where} name", f"{webhook.name!r} is taken", "give each webhook a name of its own")
            made.append(
                Watcher(
                    webhook.url,
                    webhook.name,
                    self._filters(f"{where} to", webhook.to),
                    self._filters(f"{where} from", webhook.from_),
                )
            )
        return tuple(made)

    def _filters(self, where: str, texts: list[str]) -> tuple[str, ...]:
        made = []
        for text in texts:
            if text.startswith(("4:", "8:")):
                made.append(text)
            elif is_pattern(text) and text != "*":
                made.append("4:" + _plus(text))
            elif text != "*":
                self.wrong(where, f"{text!r} is neither a number nor a raw id", "write +1555..., +1555* or 8:acs:...")
        return tuple(made)

    def _sip(self) -> SipPlan | None:
        sip, file = self._file.sip, self._file
        if sip is None:
            if file.user or file.trunk or file.number:
                self.wrong("[sip]", "is missing, though there are users, trunks or numbers", "add a [sip] section")
            return None
        if not 0 <= sip.port <= 65534:
            self.wrong("[sip] port", f"{sip.port} is no port", "give 1 to 65534 (TLS takes the next one)")
        if sip.advertise:
            self._address("[sip] advertise", sip.advertise)
        self._address("[sip] host", sip.host)
        if sip.host in ("0.0.0.0", "::") and not sip.advertise:
            self.wrong(
                "[sip] advertise", "is needed, since host means every address", "give the address that phones reach"
            )
        return SipPlan(
            host=sip.host,
            port=sip.port,
            advertise=sip.advertise,
            rtp_ports=self._range(sip.rtp_ports),
            media=MediaRules(self._codecs(sip.codecs), sip.latch, sip.inband_dtmf),
            realm=sip.realm,
            open_to_loopback=False,
            users=self._users(),
            trunks=self._trunks(),
            numbers=self._numbers(),
            destinations=tuple(self._patterns("[sip] destinations", sip.destinations)),
            requests=sip.requests_per_second,
        )

    def _codecs(self, names: list[str]) -> tuple[str, ...]:
        made = tuple(dict.fromkeys(name.upper() for name in names))
        for name in made:
            if name not in KNOWN:
                self.wrong("[sip] codecs", f"{name!r} is no codec that we speak", f"choose from {', '.join(KNOWN)}")
        if not made:
            self.wrong("[sip] codecs", "is empty", f"choose from {', '.join(KNOWN)}")
        return tuple(name for name in made if name in KNOWN)

    def _users(self) -> tuple[User, ...]:
        made: list[User] = []
        for number, user in enumerate(self._file.user, 1):
            where = f"[[user]] {number}"
            password = self._secret(f"{where} password", user.password, user.password_env)
            if not re.fullmatch(r"[A-Za-z0-9+._-]{1,64}", user.name):
                self.wrong(f"{where} name", f"{user.name!r} is no user", "use letters, digits and + . _ -")
            if any(user.name == other.name for other in made):
                self.wrong(f"{where} name", f"{user.name!r} is taken", "give each user a name of its own")
            if len(password) < 8:
                self.wrong(f"{where} password", "is shorter than 8 characters", "choose a longer one")
            if user.number and (not is_pattern(user.number) or user.number.endswith("*")):
                self.wrong(f"{where} number", f"{user.number!r} is no number", "write it as +15550100001")
            made.append(User(user.name, password, _plus(user.number)))
        return tuple(made)

    def _trunks(self) -> tuple[TrunkRule, ...]:
        made: list[TrunkRule] = []
        for number, trunk in enumerate(self._file.trunk, 1):
            where = f"[[trunk]] {number}"
            if any(trunk.name == other.name for other in made):
                self.wrong(f"{where} name", f"{trunk.name!r} is taken", "give each trunk a name of its own")
            if trunk.transport not in ("udp", "tcp", "tls"):
                self.wrong(f"{where} transport", f"{trunk.transport!r} is none", "give udp, tcp or tls")
            if not trunk.allow and not trunk.host:
                self.wrong(where, "neither takes calls (allow) nor carries any (host)", "give one of them")
            if (trunk.register or trunk.prefixes) and not trunk.host:
                self.wrong(f"{where} host", "is missing", "give the carrier's name or address")
            if trunk.register and not trunk.username:
                self.wrong(f"{where} username", "is missing, and register needs it", "give the account's user")
            if trunk.strip < 0 or trunk.calls < 0 or trunk.calls_per_second < 0:
                self.wrong(where, "strip, calls and calls_per_second cannot be below 0", "give 0 or more")
            made.append(
                TrunkRule(
                    name=trunk.name,
                    host=trunk.host,
                    port=trunk.port,
                    transport=trunk.transport,
                    allow=self._networks(f"{where} allow", trunk.allow),
                    username=trunk.username,
                    password=self._secret(f"{where} password", trunk.password, trunk.password_env),
                    register=trunk.register,
                    prefixes=tuple(self._patterns(f"{where} prefixes", trunk.prefixes)),
                    strip=trunk.strip,
                    add=trunk.add,
                    plus=trunk.plus,
                    caller_id=trunk.caller_id,
                    trusted=trunk.trusted,
                    calls=trunk.calls,
                    rate=trunk.calls_per_second,
                )
            )
        return tuple(made)

    def _numbers(self) -> tuple[NumberRule, ...]:
        names = {webhook.name for webhook in self._file.webhook if webhook.name}
        made = []
        for number, rule in enumerate(self._file.number, 1):
            where = f"[[number]] {number}"
            (pattern,) = self._patterns(f"{where} number", [rule.number]) or [""]
            for name in rule.webhooks:
                if name not in names:
                    near = difflib.get_close_matches(name, names, 1)
                    fix = f"did you mean {near[0]!r}?" if near else "name a [[webhook]] of the file"
                    self.wrong(f"{where} webhooks", f"there is no webhook named {name!r}", fix)
            made.append(NumberRule(pattern, tuple(rule.webhooks), rule.calls, rule.calls_per_second))
        return tuple(made)

    # values -----------------------------------------------------------------------------------------------------

    def _patterns(self, where: str, texts: list[str]) -> list[str]:
        for text in texts:
            if not is_pattern(text):
                self.wrong(where, f"{text!r} is no number and no prefix", "write +15550100001 or +1555*")
        return [_plus(text) for text in texts if is_pattern(text)]

    def _networks(self, where: str, texts: list[str]) -> tuple[Network, ...]:
        try:
            return networks(texts)
        except ValueError as error:
            self.wrong(where, str(error), "write addresses or networks such as 203.0.113.0/24")
            return ()

    def _address(self, where: str, text: str) -> None:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            self.wrong(where, f"{text!r} is no IP address", "give an address, not a name")

    def _url(self, where: str, text: str, schemes: tuple[str, ...]) -> None:
        try:
            origin_of(text)
        except ValueError as error:
            self.wrong(where, str(error), f"give a URL that begins with {schemes[0]}://")
            return
        if text.partition(":")[0].lower() not in schemes:
            self.wrong(where, f"{text!r} is no web address", f"give a URL that begins with {schemes[0]}://")

    def _range(self, text: str) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text.replace(" ", ""))
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1024 <= first < last <= 65535 or last - first < 3:
            self.wrong(
                "[sip] rtp_ports", f"{text!r} is no range of ports", "write it as 20000-29999, two for each call"
            )
        return first, last

    def _path(self, text: str) -> Path:
        path = Path(text).expanduser()
        return path if path.is_absolute() else self._folder / path

    def _existing(self, where: str, text: str) -> Path:
        path = self._path(text)
        if not path.is_file():
            self.wrong(where, f"{path} is no file", "give the path of a PEM file, absolute or from this file's folder")
        return path


def _plus(number: str) -> str:
    """As numbers are compared: with their +."""
    return number if not number or number.startswith(("+", "*")) else f"+{number}"


_SHAPES: tuple[tuple[str, Callable[[re.Match[str]], tuple[str, str]]], ...] = (
    (
        r"Object contains unknown field `(\w+)`",
        lambda found: (f"there is no key {found[1]!r}", _nearest(found[1])),
    ),
    (r"Object missing required field `(\w+)`", lambda found: (f"{found[1]!r} is missing", "add it")),
    (r"Expected `(.+?)`, got `(.+?)`", lambda found: (f"must be {found[1]}, not {found[2]}", "change its value")),
)


def _shape(text: str) -> Problem:
    """A complaint about the file's shape in words of the file."""
    message, _, place = text.partition(" - at `$")
    where = place.rstrip("`").strip(".") or "the file"
    where = re.sub(r"^(\w+)\[(\d+)\]\.?", lambda f: f"[[{f[1]}]] {int(f[2]) + 1} ", where)
    where = re.sub(r"^(\w+)(?:\.|$)", r"[\1] ", where) if not where.startswith("[") and where != "the file" else where
    for pattern, words in _SHAPES:
        found = re.match(pattern, message)
        if found is not None:
            return Problem(where.strip(), *words(found))
    return Problem(where.strip(), message, "see the comments of  offhook config init")


def _nearest(key: str) -> str:
    known: dict[str, Any] = {}
    for section in _Section.__subclasses__():
        known.update(dict.fromkeys(section.__struct_encode_fields__))
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]!r}?" if near else "remove it"
