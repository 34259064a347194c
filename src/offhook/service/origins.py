"""Where a URL of the app is really dialled: the `--map PUBLIC=LOCAL` rows (issue "First light", cli).

An app may name itself by its public https host while it listens on plain HTTP on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from offhook.errors import ConfigError

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_SECURE = {"https", "wss"}
_SOCKET = {"ws", "wss"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme family, host and port: what a connection is made to. `secure` means TLS."""

    secure: bool
    host: str
    port: int

    def __str__(self) -> str:
        scheme = "https" if self.secure else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.secure else 80
        return f"{scheme}://{host}" if self.port == default else f"{scheme}://{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """The origin of an http, https, ws or wss URL; ws counts as http, wss as https. ValueError for anything else."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{url!r} is not an http, https, ws or wss URL")
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    return Origin(scheme in _SECURE, parts.hostname.lower(), parts.port or _DEFAULT_PORTS[scheme])


@dataclass(frozen=True, slots=True)
class _Row:
    public: Origin
    prefix: str
    secure: bool
    authority: str


class Origins:
    """The rows of `--map`, asked for each outbound URL. Immutable after it is made."""

    def __init__(self, rows: Iterable[str] = ()) -> None:
        """`rows`: `PUBLIC=LOCAL`, for example `https://my.host=http://127.0.0.1:8000`. ConfigError if malformed."""
        self._rows = sorted((_read_row(row) for row in rows), key=lambda row: len(row.prefix), reverse=True)

    def dial(self, url: str) -> str:
        """The URL to connect to. Path and query stay as they are, byte for byte; so does a URL that no row covers."""
        row = self._row_for(url)
        parts = _URL.match(url)
        if row is None or parts is None:
            return url
        plain, secure = ("ws", "wss") if parts["scheme"].lower() in _SOCKET else ("http", "https")
        return f"{secure if row.secure else plain}://{row.authority}{parts['rest']}"

    def headers(self, url: str) -> dict[str, str]:
        """Extra request headers for a mapped URL: the public Host and scheme, as a reverse proxy would send them.

        Apps build further URLs from these; with the local name they would build ones that nobody mapped.
        """
        row = self._row_for(url)
        parts = _URL.match(url)
        if row is None or parts is None:
            return {}
        return {
            "Host": parts["authority"].rpartition("@")[2],
            "X-Forwarded-Proto": "https" if row.public.secure else "http",
        }

    def _row_for(self, url: str) -> _Row | None:
        if not self._rows:
            return None
        parts = _URL.match(url)
        try:
            origin = origin_of(url)
        except ValueError:
            return None
        path = re.split(r"[?#]", parts["rest"], maxsplit=1)[0] if parts else ""
        for row in self._rows:
            if row.public == origin and _under(path, row.prefix):
                return row
        return None


def _under(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + "/")


def _read_row(text: str) -> _Row:
    fix = "write --map https://my.host=http://127.0.0.1:8000"
    public, equals, local = text.partition("=")
    if not equals:
        raise ConfigError(f"--map {text!r} has no '='; {fix}")
    left, left_path = _read_side(text, "left", public.strip(), fix)
    right, right_path = _read_side(text, "right", local.strip(), fix)
    if right_path:
        raise ConfigError(f"--map {text!r}: the right side takes no path, since the path of a URL is kept; {fix}")
    host = f"[{right.host}]" if ":" in right.host else right.host
    default = 443 if right.secure else 80
    authority = host if right.port == default else f"{host}:{right.port}"
    return _Row(left, left_path, right.secure, authority)


def _read_side(row: str, side: str, text: str, fix: str) -> tuple[Origin, str]:
    try:
        origin = origin_of(text)
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigError(f"--map {row!r}: the {side} side {text!r} is not an origin ({error}); {fix}") from None
    if parts.query or parts.fragment or parts.username is not None or re.search(r"[\x00-\x20\x7f]", text):
        raise ConfigError(f"--map {row!r}: the {side} side {text!r} is more than an origin; {fix}")
    return origin, parts.path.rstrip("/")
