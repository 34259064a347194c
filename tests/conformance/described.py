"""Requests made up from the REST description: valid ones and broken ones, with ids and URLs of a live node in them.

Schemathesis makes each up from the schema alone; then what must be alive (ids, contexts, people) is mostly taken from
the calls that run, so that the request gets beyond its first check. Every URL leads to the test's own app, or nowhere.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote, urlencode

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode, Response
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

DESCRIPTION = (
    Path(__file__).parents[1] / "fixtures/acs/CallAutomation/stable/2026-03-12/communicationservicescallautomation.json"
)
Described = Case[Any]
_MODES = ((GenerationMode.POSITIVE, 2), (GenerationMode.NEGATIVE, 1))  # and how many of three are such
_EITHER = {"callConnectionId", "callLocator"}
"""A recording is of one of them."""
_DIALLED = re.compile(r"\s*(https?|wss?|ftp|file):", re.IGNORECASE)


class Living(Protocol):
    """What runs now. Each gives a value, or None where there is none."""

    def known(self, name: str, chance: random.Random) -> Any:
        """For a property or a path parameter of that name: an id, a URL or a person that means something now."""


@dataclass(frozen=True)
class Made:
    """A request as it goes out: `target` is encoded, `api_version` inside it."""

    case: Described
    target: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The operation's id, without its group."""
        return str(self.case.operation.definition.raw["operationId"]).rpartition("_")[2]

    def check(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """AssertionError-like failure unless the description allows this answer."""
        sent = requests.Request(self.case.method, "http://node.test" + self.target).prepare()
        kept = {name: [value] for name, value in headers.items()}
        self.case.validate_response(
            Response(status, kept, body, sent, 0.0, verify=False),
            checks=[status_code_conformance, response_schema_conformance],
        )


def made_up(count: int, number: int) -> list[Described]:
    """`count` cases or a few more, the operations taking turns; the same for the same seed."""
    schema = schemathesis.openapi.from_path(DESCRIPTION)
    operations = [cast(Any, found).ok() for found in schema.get_all_operations()]
    each = -(-count // len(operations) // 3)
    piles: list[Iterator[Described]] = []
    for index, operation in enumerate(operations):
        for turn, (mode, share) in enumerate(_MODES):
            drawn = _drawn(operation.as_strategy(generation_mode=mode), share * each, number * 1000 + 10 * index + turn)
            piles += [iter(drawn[start::share]) for start in range(share)]
    return [case for layer in zip(*piles, strict=True) for case in layer]


def _drawn(strategy: Any, count: int, number: int) -> list[Described]:
    drawn: list[Described] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(case: Described) -> None:
        drawn.append(case)

    keep()
    while len(drawn) < count:  # some operations have few different requests: those are sent again
        drawn += drawn[: count - len(drawn)]
    return drawn[:count]


def sent(case: Described, living: Living, chance: random.Random) -> Made:
    """The case as a request, its names filled from what runs now in nine of ten places."""
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        known = living.known(name, chance) if chance.random() < 0.9 else None
        # The generated value is encoded already.
        path = path.replace("{" + name + "}", str(value) if known is None else quote(str(known), safe=""))
    query = {str(name): str(value) for name, value in (case.query or {}).items()}
    if chance.random() < 0.95:
        query["api-version"] = "2026-03-12"
    repeated = chance.random() < 0.3  # the first ids that are made up are the same for every operation
    headers = {
        name: str(value)
        for name, value in (case.headers or {}).items()
        if repeated and name.startswith("Repeatability") and str(value).isascii() and str(value).isprintable()
    }
    return Made(case, f"{path}?{_encoded(query)}", _body(case.body, living, chance), headers)


def _encoded(query: Mapping[str, str]) -> str:
    return urlencode(query, quote_via=quote, errors="replace")


def _body(body: Any, living: Living, chance: random.Random) -> bytes:
    if isinstance(body, bytes):
        return body
    if not isinstance(body, dict | list | str | int | float | bool | type(None)):
        return b""  # NotSet: the operation has no body
    filled = _filled("", body, lambda name: living.known(name, chance) if chance.random() < 0.9 else None)
    if isinstance(filled, dict) and chance.random() < 0.4:  # nothing but what means something now
        filled = {name: value for name, value in filled.items() if living.known(name, chance) is not None}
    if isinstance(filled, dict) and _EITHER <= filled.keys() and chance.random() < 0.9:
        del filled[chance.choice(sorted(_EITHER))]
    return json.dumps(filled).encode()


def _filled(name: str, value: Any, known: Callable[[str], Any]) -> Any:
    """A copy with what is known by its property's name put in; nothing in it can be dialled but what is known."""
    living = known(name)
    if living is not None:
        return living
    if isinstance(value, dict):
        return {key: _filled(str(key), inner, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(name, inner, known) for inner in value]
    if isinstance(value, str) and _DIALLED.match(value):
        return "http://127.0.0.1:9/"
    return value
