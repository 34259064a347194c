"""The configuration of `offhook serve`: its file read and checked, and made into a plan.

Every error names the file, the place in it, what is wrong there and what would be right; all of them are found at
once as far as they do not hide each other.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from offhook.errors import ConfigError
from offhook.legs.sip import KNOWN, MediaRules
from offhook.service.bearer import TokenRule
from offhook.service.config import NodePlan
from offhook.service.config_checks import Nearest, together
from offhook.service.config_file import File, NodeSection, Problem, SipSection, parse, single_values
from offhook.service.config_values import Values, plus
from offhook.service.console_logins import ConsoleRule
from offhook.service.eventgrid import Watcher
from offhook.service.history import HistoryRule
from offhook.service.pem import CHAIN_FIX, chain_hints, chain_problem
from offhook.service.recordings import RecordingRule
from offhook.service.routing import NumberRule, SipPlan, TrunkRule, User, is_name, is_pattern
from offhook.service.speech import SpeechPlan
from offhook.service.targets import Targets
from offhook.service.webrtc_config import webrtc_plan
from offhook.wire.tokens import keys_may_come_from

OPTIONS = {
    "--host": "[node] host",
    "--port": "[node] port",
    "--state": "[node] state_dir",
    "--trust": "[node] trust",
    "--sip-port": "[sip] port",
    "--webrtc-port": "[webrtc] port",
    "--issuer": "[node] issuer",
    "--prompts": "[prompts] folder",
    "--history-days": "[history] days",
    "--token-issuer": "[tokens] issuer",
    "--token-keys": "[tokens] jwks_url",
    "--incoming": "[[webhook]] url",
    "--speech-url": "[speech] base_url",
}
"""What the options of `offhook dev` are called in the file."""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """A file that was read. `checked` is what a node is built from; `hints`: what is allowed, but hardly meant."""

    path: Path
    checked: NodePlan
    hints: tuple[Problem, ...] = ()

    def plan(self) -> NodePlan:
        """See `Planned`."""
        return self.checked

    def again(self) -> NodePlan:
        """The plan of the file as it is now. ConfigError with every problem, one a line."""
        return read(self.path).plan()

    def said(self, problem: str) -> str:
        """See `Settings`: keys of the file for options of `dev`."""
        return re.sub(r"--[a-z-]+", lambda option: OPTIONS.get(option[0], option[0]), problem)


def read(path: Path, environment: Mapping[str, str] | None = None) -> ServeConfig:
    """Read a file. ConfigError with every problem, one a line."""
    config, problems = check(path, os.environ if environment is None else environment)
    if config is None:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems if problem.fatal))
    return replace(config, hints=tuple(problems))


def check(path: Path, environment: Mapping[str, str]) -> tuple[ServeConfig | None, list[Problem]]:
    """Read a file and say what is wrong with it; the config is None if any of that is fatal."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        fix = "make one by  offhook config init"
        return None, [Problem("the file", f"cannot be read ({error.strerror or error})", fix)]
    except UnicodeDecodeError:
        return None, [Problem("the file", "is no UTF-8 text", "save it as UTF-8")]
    file = parse(text)
    if isinstance(file, Problem):
        return None, [file]
    values = Values(path.parent, environment)
    values.problems += single_values(file)
    plan = _Reader(file, values).plan()
    problems = values.problems + list(together(file, plan))
    return (None if any(problem.fatal for problem in problems) else ServeConfig(path, plan)), problems


class _Reader:
    """Turns tables of the file into rules."""

    def __init__(self, file: File, values: Values) -> None:
        self._file = file
        self._values = values
        self._wrong = values.wrong

    def plan(self) -> NodePlan:
        node, values = self._file.node, self._values
        public_url = values.base_url("[node] public_url", node.public_url) if node.public_url else ""
        targets = Targets(node.allow_private_targets, values.networks("[node] allow_targets", node.allow_targets))
        return NodePlan(
            host=node.host.strip("[]"),
            port=node.port,
            state_dir=values.folder("[node] state_dir", node.state_dir),
            keys=self._keys(),
            public_url=public_url,
            tls=self._tls(node, urlsplit(public_url).hostname or ""),
            watchers=self._watchers(),
            trust=tuple(values.authority(f"[node] trust {n}", item) for n, item in enumerate(node.trust, 1)),
            issuer=node.issuer,
            restart_ms=node.restart_ms,
            drain_seconds=node.drain_seconds,
            most_calls=node.most_calls,
            targets=targets,
            sip=self._sip(),
            prompts=self._prompts(),
            tokens=self._tokens(),
            recordings=self._recordings(),
            history=HistoryRule(self._file.history.days, self._file.history.megabytes),
            sound=self._file.history.sound,
            speech=self._speech(),
            console=self._console(),
            webrtc=webrtc_plan(self._file.webrtc, values),
        )

    def _console(self) -> ConsoleRule:
        console, where = self._file.console, "[console] token"
        if console is None or not console.enabled:
            return ConsoleRule()
        token = self._values.token(where, console.token, console.token_env)
        if token and token in (self._file.resource.key1, self._file.resource.key2):
            self._wrong(where, "is an access key too: who sees calls would own the node", "make another one")
        return ConsoleRule(token=token, session_hours=console.session_hours)

    def _speech(self) -> SpeechPlan:
        speech, where = self._file.speech, "[speech] base_url"
        key = self._values.secret("[speech] key", speech.key, speech.key_env)
        if speech.provider == "openai":
            self._values.url(where, speech.base_url)
        elif speech.base_url or key:
            self._wrong("[speech] provider", f"is {speech.provider!r}, which has no URL and no key", 'give "openai"')
        return SpeechPlan(
            speech.provider,
            speech.base_url,
            key,
            speech.voice,
            speech.voice_model,
            speech.recogniser_model,
            speech.timeout,
        )

    def _recordings(self) -> RecordingRule:
        kept = self._file.recordings
        folder = self._values.folder("[recordings] folder", kept.folder) if kept.folder else None
        return RecordingRule(folder, kept.keep_hours, kept.most_megabytes)

    def _prompts(self) -> Path | None:
        prompts, where = self._file.prompts, "[prompts] folder"
        if prompts is None:
            return None
        path = self._values.path(prompts.folder)
        if not os.path.isdir(path):
            self._wrong(where, f"{path} is no folder", "make it, or name the one that holds the sound files")
        elif not os.access(path, os.R_OK | os.X_OK):
            self._wrong(where, f"{path} cannot be read by this user", "let the node's user read it")
        return path

    def _tokens(self) -> TokenRule | None:
        tokens, where = self._file.tokens, "[tokens] jwks_url"
        if tokens is None:
            return None
        known = len(self._values.problems)
        self._values.url(where, tokens.jwks_url)
        if len(self._values.problems) == known and not keys_may_come_from(tokens.jwks_url):
            what = f"{tokens.jwks_url!r} is neither https nor of this machine: anybody could put in keys on the way"
            self._wrong(where, what, "give a URL that begins with https://")
        for number, client in enumerate(tokens.clients, 1):
            if not client.strip():
                self._wrong(f"[tokens] clients {number}", "is empty", "give an appid, azp, oid or sub of the tokens")
        return TokenRule(tokens.issuer, tokens.jwks_url, tokens.audience, tuple(tokens.clients))

    def _keys(self) -> tuple[str, ...]:
        resource, known = self._file.resource, len(self._values.problems)
        first = self._values.access_key("[resource] key1", resource.key1, resource.key1_env)
        second = self._values.access_key("[resource] key2", resource.key2, resource.key2_env)
        if not first and not second and len(self._values.problems) == known:
            self._wrong("[resource]", "has no access key", "set key1, or key1_env with the variable that holds it")
        if first and first == second:
            self._wrong("[resource] key2", "is the same as key1", "make one by  offhook config key")
        return tuple(key for key in (first, second) if key)

    def _tls(self, node: NodeSection, host: str) -> tuple[Path, Path] | None:
        if not node.tls_certificate and not node.tls_key:
            return None
        if not (node.tls_certificate and node.tls_key):
            self._wrong("[node]", "tls_certificate and tls_key belong together", "give both, or neither")
            return None
        known, where = len(self._values.problems), "[node] tls_certificate"
        certificate = self._values.pem(where, node.tls_certificate)
        key = self._values.pem("[node] tls_key", node.tls_key)
        if len(self._values.problems) > known:
            return None
        if problem := chain_problem(certificate, key):
            self._wrong(where, problem, CHAIN_FIX)
            return None
        for hint in chain_hints(certificate, host, datetime.datetime.now(datetime.UTC)):
            what = f"{certificate} {hint}"
            self._values.problems.append(Problem(where, what, "get one that clients will take", fatal=False))
        return certificate, key

    def _watchers(self) -> tuple[Watcher, ...]:
        made = []
        for number, webhook in enumerate(self._file.webhook, 1):
            where = f"[[webhook]] {number}"
            self._values.url(f"{where} url", webhook.url)
            to, from_ = self._filters(f"{where} to", webhook.to), self._filters(f"{where} from", webhook.from_)
            made.append(Watcher(webhook.url, webhook.name, to, from_))
        return tuple(made)

    def _filters(self, where: str, texts: list[str]) -> tuple[str, ...]:
        made = []
        for text in texts:
            if text.startswith(("4:", "8:")) or text == "*":
                made.append(text)
            elif is_pattern(text):
                made.append("4:" + plus(text))
            elif is_name(text) and self._file.sip is not None:
                made.append(text.lower())
            else:
                what = f"{text!r} is no number, no prefix, no raw id and no name of SIP"
                self._wrong(where, what, "write +1555..., +1555*, 8:acs:... or, with [sip], the name")
        return tuple(made)

    def _sip(self) -> SipPlan | None:
        sip, file, values = self._file.sip, self._file, self._values
        if sip is None:
            if file.user or file.trunk or file.number:
                self._wrong("[sip]", "is missing, though there are users, trunks or numbers", "add a [sip] section")
            return None
        self._advertised(sip)
        return SipPlan(
            host=sip.host,
            port=sip.port,
            advertise=sip.advertise,
            rtp_ports=values.ports("[sip] rtp_ports", sip.rtp_ports),
            media=MediaRules(self._codecs(sip.codecs), sip.latch, sip.inband_dtmf, sip.media_timeout),
            realm=sip.realm,
            open_to_loopback=False,
            users=self._users(),
            trunks=self._trunks(),
            numbers=self._numbers(),
            destinations=tuple(values.patterns("[sip] destinations", sip.destinations)),
            requests=sip.requests_per_second,
        )

    def _advertised(self, sip: SipSection) -> None:
        where = "[sip] advertise"
        host = self._values.address("[sip] host", sip.host)
        if host is not None and host.is_multicast:
            self._wrong("[sip] host", f"{host} is a group of machines", "give an address of this machine")
        if not sip.advertise:
            if host is not None and host.is_unspecified:
                self._wrong(where, "is needed, since host means every address", "give the address that phones reach")
            return
        shown = self._values.address(where, sip.advertise)
        if shown is None or host is None:
            return
        if shown.is_unspecified or shown.is_multicast:
            self._wrong(where, f"{shown} is nobody's address", "give the address that phones reach")
        elif shown.version != host.version and sip.host != "::":
            what = f"{shown} is IPv{shown.version}, and host {host} listens on IPv{host.version}"
            self._wrong(where, what, "give two addresses of one kind")

    def _codecs(self, names: list[str]) -> tuple[str, ...]:
        made = tuple(dict.fromkeys(name.upper() for name in names))
        for name in made:
            if name not in KNOWN:
                self._wrong("[sip] codecs", f"{name!r} is no codec that we speak", f"choose from {', '.join(KNOWN)}")
        if not made:
            self._wrong("[sip] codecs", "is empty", f"choose from {', '.join(KNOWN)}")
        return tuple(name for name in made if name in KNOWN)

    def _users(self) -> tuple[User, ...]:
        made: list[User] = []
        for number, user in enumerate(self._file.user, 1):
            where = f"[[user]] {number}"
            password = self._values.password(f"{where} password", user.password, user.password_env)
            if user.number and (not is_pattern(user.number) or user.number.endswith("*")):
                self._wrong(f"{where} number", f"{user.number!r} is no number", "write it as +15550100001")
            made.append(User(user.name, password, plus(user.number)))
        return tuple(made)

    def _trunks(self) -> tuple[TrunkRule, ...]:
        made: list[TrunkRule] = []
        for number, trunk in enumerate(self._file.trunk, 1):
            where = f"[[trunk]] {number}"
            password = self._values.secret(f"{where} password", trunk.password, trunk.password_env)
            if not trunk.allow and not trunk.host:
                self._wrong(where, "neither takes calls (allow) nor carries any (host)", "give one of them")
            if (trunk.register or trunk.prefixes) and not trunk.host:
                self._wrong(f"{where} host", "is missing", "give the carrier's name or address")
            if trunk.register and not trunk.username:
                self._wrong(f"{where} username", "is missing, and register needs it", "give the account's user")
            if trunk.register and not (trunk.password or trunk.password_env):
                self._wrong(f"{where} password", "is missing, and register needs it", "give password or password_env")
            made.append(
                TrunkRule(
                    name=trunk.name,
                    host=trunk.host,
                    port=trunk.port,
                    transport=trunk.transport,
                    allow=self._values.networks(f"{where} allow", trunk.allow),
                    username=trunk.username,
                    password=password,
                    register=trunk.register,
                    prefixes=tuple(self._values.patterns(f"{where} prefixes", trunk.prefixes)),
                    strip=trunk.strip,
                    add=trunk.add,
                    plus=trunk.plus,
                    caller_id=trunk.caller_id,
                    trusted=trunk.trusted,
                    calls=trunk.calls,
                    rate=trunk.calls_per_second,
                    from_domain=trunk.from_domain,
                    srtp=trunk.srtp,
                )
            )
        return tuple(made)

    def _numbers(self) -> tuple[NumberRule, ...]:
        names = Nearest(webhook.name for webhook in self._file.webhook if webhook.name)
        made = []
        for number, rule in enumerate(self._file.number, 1):
            where = f"[[number]] {number}"
            if not is_pattern(rule.number) and not is_name(rule.number):
                what = f"{rule.number!r} is no number, no prefix and no name"
                self._wrong(f"{where} number", what, "write +15550100001, +1555*, or the name that is called")
            for name in rule.webhooks:
                if name not in names:
                    fix = names.fix(name, "name a [[webhook]] of the file")
                    self._wrong(f"{where} webhooks", f"there is no webhook named {name!r}", fix)
            pattern = plus(rule.number) if is_pattern(rule.number) else rule.number.lower()
            made.append(NumberRule(pattern, tuple(rule.webhooks), rule.calls, rule.calls_per_second))
        return tuple(made)
