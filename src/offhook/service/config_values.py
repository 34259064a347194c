"""Single values of the file of `offhook serve` that need more than a look: secrets, URLs, networks, files of PEM."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from offhook.errors import ConfigError
from offhook.service.config import LOCAL_ACCESS_KEY
from offhook.service.config_file import Problem
from offhook.service.origins import origin_of
from offhook.service.pem import general_name, trust_problem
from offhook.service.routing import is_pattern
from offhook.service.targets import Network, networks

LEAST_KEY = 32
"""Bytes of an access key, at least."""
LEAST_DIFFERENT = 8
"""Different bytes in it, at least: random ones have many more, what somebody typed in has fewer."""
LEAST_PASSWORD = 8
LEAST_TOKEN = 16
"""Characters of a token that a person logs in with."""
_NEW_KEY = "make one by  offhook config key"
_NEW_TOKEN = "set one made by  offhook config token , or name its variable by token_env"


class Values:
    """Reads values and gathers what is wrong with them. `folder`: where relative paths begin."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._folder = folder
        self._environment = environment

    def wrong(self, where: str, what: str, fix: str) -> None:
        """Say what is wrong."""
        self.problems.append(Problem(where, what, fix))

    def secret(self, where: str, value: str, variable: str) -> str:
        """What stands in the file, or in the variable that it names."""
        if value and variable:
            self.wrong(where, "is given twice, in the file and by a variable", "keep one of them")
        if variable and not self._environment.get(variable):
            self.wrong(f"{where}_env", f"the environment has no {variable}", "set it, or name another variable")
        return value or self._environment.get(variable, "")

    def access_key(self, where: str, value: str, variable: str) -> str:
        """An access key in base64; empty when there is none that could be used."""
        key = self.secret(where, value, variable)
        if not key:
            return ""
        try:
            raw = base64.b64decode(key, validate=True)
        except ValueError:
            self.wrong(where, "is no base64", _NEW_KEY)
            return ""
        if key == LOCAL_ACCESS_KEY:
            self.wrong(where, "is the published key of  offhook dev : everybody has it", _NEW_KEY)
        elif len(raw) < LEAST_KEY:
            self.wrong(where, f"is only {len(raw)} bytes long, of at least {LEAST_KEY}", _NEW_KEY)
        elif len(set(raw)) < LEAST_DIFFERENT:
            self.wrong(where, "is not random: anybody could guess it", _NEW_KEY)
        return key

    def password(self, where: str, value: str, variable: str) -> str:
        """A password that must be there."""
        known = len(self.problems)
        password = self.secret(where, value, variable)
        if len(self.problems) == known and len(password) < LEAST_PASSWORD:
            self.wrong(where, f"is shorter than {LEAST_PASSWORD} characters", "choose a longer one")
        return password

    def token(self, where: str, value: str, variable: str) -> str:
        """A secret that opens something to whoever has it, and must be there."""
        known = len(self.problems)
        token = self.secret(where, value, variable).strip()  # as it is typed in: a variable may end in a line's end
        if len(self.problems) > known:
            return token
        if not token:
            self.wrong(where, "is missing", _NEW_TOKEN)
        elif len(token) < LEAST_TOKEN or len(set(token)) < LEAST_DIFFERENT:
            self.wrong(where, f"is easy to guess: at least {LEAST_TOKEN} random characters are needed", _NEW_TOKEN)
        elif token == LOCAL_ACCESS_KEY:
            self.wrong(where, "is the published key of  offhook dev : everybody has it", _NEW_TOKEN)
        return token

    def url(self, where: str, text: str) -> None:
        """An http or https URL."""
        fix = "give a URL that begins with https://"
        try:
            if re.search(r"[\x00-\x20\x7f]", text):
                raise ValueError(f"{text!r} has a blank or a control character in it")
            origin_of(text)
            if urlsplit(text).port == 0:
                raise ValueError(f"{text!r} has the port 0")
            if not text.lower().startswith("http"):
                raise ValueError(f"{text!r} is no web address")
            general_name(urlsplit(text).hostname or "")
        except (ValueError, ConfigError) as error:
            self.wrong(where, str(error), fix)

    def base_url(self, where: str, text: str) -> str:
        """An http or https URL of a host alone, without `/` at its end; empty when it is none."""
        known = len(self.problems)
        self.url(where, text)
        if len(self.problems) > known:
            return ""
        parts = urlsplit(text)
        if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            host = parts.netloc.rpartition("@")[2]
            self.wrong(where, f"{text!r} is more than a host", f"write {parts.scheme}://{host}")
            return ""
        return text.rstrip("/")

    def patterns(self, where: str, texts: list[str]) -> list[str]:
        """Numbers, and beginnings of numbers that end in `*`, with their +."""
        for text in texts:
            if not is_pattern(text):
                self.wrong(where, f"{text!r} is no number and no prefix", "write +15550100001, +1555* or *")
        return [plus(text) for text in texts if is_pattern(text)]

    def networks(self, where: str, texts: list[str]) -> tuple[Network, ...]:
        """Addresses and networks."""
        made: list[Network] = []
        for text in texts:
            try:
                made += networks([text])
            except ValueError as error:
                self.wrong(where, str(error), "write addresses or networks such as 203.0.113.0/24")
        return tuple(made)

    def address(self, where: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """An IP address, not a name."""
        try:
            return ipaddress.ip_address(text)
        except ValueError:
            self.wrong(where, f"{text!r} is no IP address", "give an address, not a name")
            return None

    def ports(self, where: str, text: str) -> tuple[int, int]:
        """A range of ports with room for a call at least."""
        found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text.replace(" ", ""))
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1024 <= first < last <= 65535 or last - first < 3:
            self.wrong(where, f"{text!r} is no range of ports", "write it as 20000-29999, two for each call")
        return first, last

    def path(self, text: str) -> Path:
        """A path, absolute or from the folder of the file."""
        path = Path(text).expanduser()
        return path if path.is_absolute() else self._folder / path

    def folder(self, where: str, text: str) -> Path:
        """A folder that is there or can be made."""
        path = self.path(text)
        first = next((each for each in (path, *path.parents) if os.path.exists(each)), path)
        if os.path.exists(first) and not os.path.isdir(first):
            self.wrong(where, f"{first} is a file", "name a folder")
        return path

    def pem(self, where: str, text: str) -> Path:
        """A file that is there."""
        path = self.path(text)
        if not os.access(path, os.R_OK) or not os.path.isfile(path):
            what = "cannot be read by this user" if os.path.isfile(path) else "is no file"
            self.wrong(where, f"{path} {what}", "give the path of a PEM file, absolute or from this file's folder")
        return path

    def authority(self, where: str, text: str) -> Path:
        """A file of certificates to trust."""
        path = self.pem(where, text)
        if os.access(path, os.R_OK) and os.path.isfile(path) and (problem := trust_problem(path)):
            self.wrong(where, f"{path}: {problem}", "give a file with certificates in PEM form")
        return path


def plus(number: str) -> str:
    """As numbers are compared: with their +."""
    return number if not number or number.startswith(("+", "*")) else f"+{number}"
