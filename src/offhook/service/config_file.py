"""The file of `offhook serve` as text (TOML): its tables, their keys and what each takes, and faults of its shape.

docs/serve.md explains every key; a test sees to it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, get_args, get_type_hints

import msgspec

from offhook.legs.sip import MediaRules
from offhook.service.bearer import AUDIENCE
from offhook.service.config import ACS_ISSUER
from offhook.service.console_logins import ConsoleRule
from offhook.service.history import HistoryRule
from offhook.service.speech import SpeechPlan


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong: where in the file, what, and what would be right. Not `fatal`: allowed, but hardly meant."""

    where: str
    what: str
    fix: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{'' if self.fatal else 'hint: '}{self.where}: {self.what}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Within:
    """A key's rule: a number from `low` to `high`."""

    low: float
    high: float

    def problem(self, value: float) -> tuple[str, str] | None:
        """What is wrong and what would be right; NaN is never right."""
        if self.low <= value <= self.high:
            return None
        return f"{value} is out of range", f"give {self.low:g} to {self.high:.0f}"


@dataclass(frozen=True, slots=True)
class Like:
    """A key's rule: a text of a pattern; empty only where the pattern allows it."""

    pattern: str
    fix: str

    def problem(self, value: str) -> tuple[str, str] | None:
        """What is wrong and what would be right."""
        return None if re.fullmatch(self.pattern, value) else (f"{value!r} cannot be used", self.fix)


Port = Annotated[int, Within(0, 65535)]
Count = Annotated[int, Within(0, 1_000_000)]
PerSecond = Annotated[float, Within(0, 1_000_000)]
Name = Annotated[str, Like(r"[^\x00-\x1f\x7f]{1,64}", "give it a name")]
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ADDRESS = rf"{_LABEL}(\.{_LABEL})*\.?|\[?[0-9A-Fa-f:.]+:[0-9A-Fa-f:.]*\]?"
Host = Annotated[str, Like(_ADDRESS, "give a host name or an address alone: no scheme, no port")]
OptionalHost = Annotated[str, Like(f"|{_ADDRESS}", "give a host name or an address alone: no scheme, no port")]


class Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class NodeSection(Section):
    """`[node]`."""

    host: Host = "0.0.0.0"
    port: Port = 8443
    public_url: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    state_dir: Annotated[str, Like(r"[^\x00]+", "give a folder that only this node uses")] = "/var/lib/offhook"
    trust: list[str] = []
    issuer: Annotated[str, Like(r"[^\s\x00-\x1f\x7f]+", "give a URL, or leave it out")] = ACS_ISSUER
    restart_ms: Annotated[int, Within(0, 200)] = 40
    drain_seconds: Annotated[float, Within(0, 86400)] = 60.0
    most_calls: Count = 0
    allow_targets: list[str] = []
    allow_private_targets: bool = False


class ResourceSection(Section):
    """`[resource]`: what a connection string is made of."""

    key1: str = ""
    key1_env: str = ""
    key2: str = ""
    key2_env: str = ""


class TokensSection(Section):
    """`[tokens]`: bearer tokens that open the REST interface."""

    issuer: Annotated[str, Like(r"[^\s\x00-\x1f\x7f]+", "give the issuer as its tokens name it (iss)")]
    jwks_url: str
    audience: Annotated[str, Like(r"[^\s\x00-\x1f\x7f]+", "give the audience of the tokens (aud)")] = AUDIENCE
    clients: list[str] = []


class RecordingsSection(Section):
    """`[recordings]`: where files of recordings are kept, and for how long."""

    folder: Annotated[str, Like(r"[^\x00]*", "give a folder that only this node uses")] = ""
    keep_hours: Annotated[float, Within(0, 876_000)] = 48.0
    most_megabytes: Annotated[int, Within(0, 1_000_000_000)] = 0


class ConsoleSection(Section):
    """`[console]`: pages to see calls on, behind a token."""

    enabled: bool = True
    token: str = ""
    token_env: str = ""
    session_hours: Annotated[float, Within(0.1, 8760)] = ConsoleRule().session_hours


class WebRtcSection(Section):
    """`[webrtc]`: browsers that are phones."""

    enabled: bool = True
    host: str = "0.0.0.0"
    port: Port = 8481
    advertise: list[str] = []
    stun: list[str] = []
    turn: list[str] = []
    turn_username: str = ""
    turn_password: str = ""
    turn_password_env: str = ""
    turn_secret: str = ""
    turn_secret_env: str = ""


class HistorySection(Section):
    """`[history]`: for how long calls that are over can be looked at."""

    days: Annotated[float, Within(0, 36_500)] = HistoryRule().days
    megabytes: Annotated[int, Within(0, 1_000_000_000)] = HistoryRule().megabytes
    sound: bool = False


class PromptsSection(Section):
    """`[prompts]`: sound files of the node that apps may play."""

    folder: Annotated[str, Like(r"[^\x00]+", "give the folder that holds them")]


class SpeechSection(Section):
    """`[speech]`: who speaks texts and understands callers."""

    provider: Annotated[str, Like("local|openai|off", "give local, openai or off")] = "local"
    base_url: str = ""
    key: str = ""
    key_env: str = ""
    voice: Name = SpeechPlan().voice
    voice_model: Name = SpeechPlan().voice_model
    recogniser_model: Name = SpeechPlan().recogniser_model
    timeout: Annotated[float, Within(1, 120)] = SpeechPlan().timeout


class WebhookSection(Section, rename={"from_": "from"}):
    """`[[webhook]]`: an Event Grid subscription to IncomingCall."""

    url: str
    name: str = ""
    to: list[str] = []
    from_: list[str] = []


class SipSection(Section):
    """`[sip]`. TLS takes the port after `port`."""

    host: str = "0.0.0.0"
    port: Annotated[int, Within(0, 65534)] = 5060
    advertise: str = ""
    rtp_ports: str = "20000-29999"
    latch: bool = False
    media_timeout: Annotated[float, Within(0, 86400)] = 30.0
    codecs: list[str] = msgspec.field(default_factory=lambda: list(MediaRules().codecs))
    inband_dtmf: bool = False
    realm: Annotated[str, Like(r'[^"\\\x00-\x1f\x7f]{1,100}', "give a text without quotes and line ends")] = "offhook"
    destinations: list[str] = []
    requests_per_second: PerSecond = 50.0


class UserSection(Section):
    """`[[user]]`: a phone that may register."""

    name: Annotated[str, Like(r"[A-Za-z0-9+._-]{1,64}", "use letters, digits and + . _ -")]
    password: str = ""
    password_env: str = ""
    number: str = ""


class TrunkSection(Section):
    """`[[trunk]]`."""

    name: Name
    host: OptionalHost = ""
    port: Port = 0
    transport: Annotated[str, Like("udp|tcp|tls|auto", "give udp, tcp, tls or auto")] = "udp"
    allow: list[str] = []
    username: Annotated[str, Like(r'[^\s"\\<>\x00-\x1f\x7f]{0,128}', "give it without blanks, quotes and < >")] = ""
    password: str = ""
    password_env: str = ""
    register: bool = False
    prefixes: list[str] = []
    strip: Annotated[int, Within(0, 20)] = 0
    add: Annotated[str, Like(r"\+?[0-9*#]{0,20}", "give digits, with + before them if it is wanted")] = ""
    plus: bool = True
    caller_id: Annotated[str, Like(r"[A-Za-z0-9+._-]{0,64}", "give a number such as +15550100000")] = ""
    from_domain: OptionalHost = ""
    trusted: bool = True
    srtp: Annotated[str, Like("off|optional|required", "give off, optional or required")] = "optional"
    calls: Count = 0
    calls_per_second: PerSecond = 0.0


class NumberSection(Section):
    """`[[number]]`."""

    number: str
    webhooks: list[str] = []
    calls: Count = 0
    calls_per_second: PerSecond = 0.0


class File(Section):
    """The whole file."""

    resource: ResourceSection
    node: NodeSection = msgspec.field(default_factory=NodeSection)
    tokens: TokensSection | None = None
    recordings: RecordingsSection = msgspec.field(default_factory=RecordingsSection)
    history: HistorySection = msgspec.field(default_factory=HistorySection)
    console: ConsoleSection | None = None
    webrtc: WebRtcSection | None = None
    prompts: PromptsSection | None = None
    speech: SpeechSection = msgspec.field(default_factory=SpeechSection)
    webhook: list[WebhookSection] = []
    sip: SipSection | None = None
    user: list[UserSection] = []
    trunk: list[TrunkSection] = []
    number: list[NumberSection] = []


def parse(text: str) -> File | Problem:
    """The tables of a file, or the first thing that is wrong with its shape."""
    try:
        return msgspec.convert(tomllib.loads(text), File)
    except tomllib.TOMLDecodeError as error:
        return Problem("the file", f"is no TOML: {error}", "see the comments of  offhook config init")
    except msgspec.ValidationError as error:
        return _shape(str(error))


def tables(file: File) -> Iterator[tuple[str, Section]]:
    """Every table that is there, under the name that a person knows it by: `[node]`, `[[user]] 2`."""
    for name in file.__struct_fields__:
        value = getattr(file, name)
        if isinstance(value, list):
            yield from ((f"[[{name}]] {number}", item) for number, item in enumerate(value, 1))
        elif value is not None:
            yield f"[{name}]", value


def single_values(file: File) -> Iterator[Problem]:
    """What breaks the rules that stand beside the keys above."""
    for where, table in tables(file):
        for key, hint in get_type_hints(type(table), include_extras=True).items():
            for rule in getattr(hint, "__metadata__", ()):
                found = rule.problem(getattr(table, key))
                if found is not None:
                    yield Problem(f"{where} {key}", *found)


# shape --------------------------------------------------------------------------------------------------------------


def sections() -> dict[str, tuple[type[Section], bool]]:
    """The tables by name, and whether there may be several of one."""
    made = {}
    for name, kind in get_type_hints(File).items():
        classes = [part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, Section)]
        made[name] = classes[0], getattr(kind, "__origin__", None) is list
    return made


_KINDS = {
    "array": ("a list", 'put it in brackets: ["..."]'),
    "object": ("a table", "see the comments of  offhook config init"),
    "str": ("a text", 'put it in quotes: "..."'),
    "int": ("a whole number", "write it without quotes and point"),
    "float": ("a number", "write it without quotes"),
    "bool": ("true or false", "write true or false, without quotes"),
}
"""What msgspec's words for kinds of values mean, and how to write one."""


def _unknown(found: re.Match[str], steps: list[str]) -> tuple[str, str]:
    key, known, table = found[1], sections(), steps[0] if steps else ""
    own = known[table][0].__struct_encode_fields__ if table in known else tuple(known)
    near = difflib.get_close_matches(key, own, 1)
    homes = [
        f"[[{name}]]" if several else f"[{name}]"
        for name, (kind, several) in known.items()
        if key in kind.__struct_encode_fields__
    ]
    fix = f"did you mean {near[0]!r}?" if near else "remove it"
    if homes and not near:
        fix = f"it belongs in {' or '.join(homes)}"
    elif key in known and table:
        fix = f"write [{key}] without anything before it"
    return f"there is no key {key!r}", fix


def _missing(found: re.Match[str], steps: list[str]) -> tuple[str, str]:
    return f"{found[1]!r} is missing", "add it"


def _another_kind(found: re.Match[str], steps: list[str]) -> tuple[str, str]:
    (wanted, fix), (got, _) = (_KINDS.get(word.partition(" ")[0], (word, "change it")) for word in found.groups())
    what = f"must be {wanted}, not {got}"
    if len(steps) == 1 and steps[0] in sections():
        return what, f"write [[{steps[0]}]]" if sections()[steps[0]][1] else f"write [{steps[0]}], and only once"
    return what, fix


_SHAPES: tuple[tuple[str, Callable[[re.Match[str], list[str]], tuple[str, str]]], ...] = (
    (r"Object contains unknown field `(\w+)`", _unknown),
    (r"Object missing required field `(\w+)`", _missing),
    (r"Expected `(.+?)`, got `(.+?)`", _another_kind),
)


def _shape(text: str) -> Problem:
    """A complaint of msgspec's in words of the file."""
    message, _, place = text.partition(" - at `$")
    steps = re.findall(r"\w+", place)
    table = steps[0] if steps else ""
    if len(steps) > 1 and steps[1].isdigit():
        where = " ".join([f"[[{table}]] {int(steps[1]) + 1}", *steps[2:3]])
    else:
        where = " ".join([f"[{table}]" if table else "the file", *steps[1:2]])
    for pattern, words in _SHAPES:
        found = re.match(pattern, message)
        if found is not None:
            return Problem(where, *words(found, steps))
    return Problem(where, message, "see the comments of  offhook config init")
