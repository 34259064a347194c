"""Bodies of the identity API: users of the resource and their access tokens, as azure-communication-identity sends and
reads them (REST description Communication/Identity 2023-10-01; 2025-06-30 and 2026-07-22 have the same ones).
"""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec

from offhook.wire.fields import Fields, WireStruct, json_type, shown, wrong

__all__ = [
    "IDENTITY_VERSIONS", "SCOPES", "AccessToken", "CreateIdentityRequest", "CreatedIdentity", "Identity",
    "IssueTokenRequest",
]  # fmt: skip

IDENTITY_VERSIONS: Final[tuple[str, ...]] = (
    "2021-03-07",
    "2022-06-01",
    "2022-10-01",
    "2023-10-01",
    "2025-06-30",
    "2026-07-22",
)
SCOPES: Final[tuple[str, ...]] = ("chat", "voip", "chat.join", "chat.join.limited", "voip.join")
SHORTEST_MINUTES: Final = 60
LONGEST_MINUTES: Final = 1440


def _scope(value: Any, path: str) -> str:
    for scope in SCOPES:
        if isinstance(value, str) and value.lower() == scope:
            return scope
    raise wrong(path, f"{shown(value)} is none of {', '.join(SCOPES)}")


def _scopes(fields: Fields, name: str) -> tuple[str, ...]:
    """Each scope once, in the order given."""
    return tuple(dict.fromkeys(fields.items(name, _scope)))


def _minutes(fields: Fields) -> int:
    name = "expiresInMinutes"
    value = fields.raw(name)
    if value is None:
        return LONGEST_MINUTES
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(fields.at(name), f"must be a whole number, not {json_type(value)}")
    if not SHORTEST_MINUTES <= value <= LONGEST_MINUTES:
        raise wrong(fields.at(name), f"{shown(value)} is not within {SHORTEST_MINUTES} and {LONGEST_MINUTES}")
    return value


class CreateIdentityRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /identities`. Without `scopes` no token is made; `minutes` is the token's life."""

    scopes: tuple[str, ...] = ()
    minutes: int = LONGEST_MINUTES

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(scopes=_scopes(fields, "createTokenWithScopes"), minutes=_minutes(fields))


class IssueTokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /identities/{id}/:issueAccessToken`; `minutes` is the token's life."""

    scopes: tuple[str, ...]
    minutes: int = LONGEST_MINUTES

    @classmethod
    def read(cls, fields: Fields) -> Self:
        scopes = _scopes(fields, "scopes")
        if not scopes:
            raise wrong(fields.at("scopes"), f"is required; give one of {', '.join(SCOPES)}")
        return cls(scopes=scopes, minutes=_minutes(fields))


class Identity(WireStruct, frozen=True, kw_only=True):
    """A user, by raw id: "8:acs:..."."""

    id: str


class AccessToken(WireStruct, frozen=True, kw_only=True):
    """`CommunicationIdentityAccessToken`; `expires_on` as ISO 8601."""

    token: str
    expires_on: str


class CreatedIdentity(WireStruct, frozen=True, kw_only=True):
    """`CommunicationIdentityAccessTokenResult`."""

    identity: Identity
    access_token: AccessToken | None = None
