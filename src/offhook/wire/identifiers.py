"""Communication identifiers and their raw ids, every kind of protocol.md §3.6.

Requests may hold any part of an identifier (raw id alone, sub-object alone, both, with or without `kind`);
what we write always holds kind, raw id and the one sub-object, because the SDKs read different parts.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from offhook.errors import WireError
from offhook.wire.exclusions import EXCLUSIONS, excluded
from offhook.wire.fields import Fields, wrong

COMMUNICATION_USER: Final = "communicationUser"
PHONE_NUMBER: Final = "phoneNumber"
TEAMS_USER: Final = "microsoftTeamsUser"
TEAMS_APP: Final = "microsoftTeamsApp"
TEAMS_EXTENSION_USER: Final = "teamsExtensionUser"
UNKNOWN: Final = "unknown"

ANONYMOUS: Final = "anonymous"

_CLOUDS: Final = ("public", "dod", "gcch")
_ACS_PREFIXES: Final = {"8:acs:": "public", "8:dod-acs:": "dod", "8:gcch-acs:": "gcch"}
_TEAMS_USER_PREFIXES: Final = {"8:orgid:": "public", "8:dod:": "dod", "8:gcch:": "gcch"}
_TEAMS_APP_PREFIXES: Final = {"28:orgid:": "public", "28:dod:": "dod", "28:gcch:": "gcch"}
_VISITOR_PREFIX: Final = "8:teamsvisitor:"
_SPOOL_PREFIX: Final = "8:spool:"
_NUMBER: Final = re.compile(r"\+?[0-9][0-9().\- ]*", re.ASCII)


class Identifier(msgspec.Struct, frozen=True, eq=False):
    """Who takes part in a call. Two identifiers are the same person exactly when their raw ids are equal.

    `id` is what the kind's sub-object names: the number, the user id or the app id.
    """

    kind: str
    raw_id: str
    id: str
    cloud: str = "public"
    is_anonymous: bool = False
    asserted_id: str | None = None
    tenant_id: str | None = None
    resource_id: str | None = None

    @property
    def value(self) -> str:
        """The phone number as text ("+1555..."), or the id."""
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identifier) and other.raw_id == self.raw_id

    def __hash__(self) -> int:
        return hash(self.raw_id)

    def to_wire(self) -> dict[str, Any]:
        return write_identifier(self)


def parse_raw_id(raw: str) -> Identifier:
    """The identifier that a raw id names; `unknown` for a form we do not know. WireError only if empty or no text."""
    if not isinstance(raw, str) or not raw:
        raise WireError("rawId: must be a text that is not empty", "rawId")
    if raw.startswith("4:"):
        return _phone(raw)
    prefix, suffix = _split_prefix(raw)
    if suffix:
        if prefix in _ACS_PREFIXES:
            return _acs_user(raw, suffix, _ACS_PREFIXES[prefix])
        if prefix == _SPOOL_PREFIX:
            return Identifier(COMMUNICATION_USER, raw, raw)
        if prefix == _VISITOR_PREFIX:
            return Identifier(TEAMS_USER, raw, suffix, is_anonymous=True)
        if prefix in _TEAMS_USER_PREFIXES:
            return Identifier(TEAMS_USER, raw, suffix, _TEAMS_USER_PREFIXES[prefix])
        if prefix in _TEAMS_APP_PREFIXES:
            return Identifier(TEAMS_APP, raw, suffix, _TEAMS_APP_PREFIXES[prefix])
    return Identifier(UNKNOWN, raw, raw)


def _split_prefix(raw: str) -> tuple[str, str]:
    end = raw.find(":", raw.find(":") + 1) + 1
    return raw[:end], raw[end:]


def _phone(raw: str) -> Identifier:
    number, _, asserted = raw[2:].rpartition("_")
    if not number or not asserted:
        number, asserted = raw[2:], ""
    if not number:
        return Identifier(UNKNOWN, raw, raw)
    anonymous = number == ANONYMOUS
    return Identifier(PHONE_NUMBER, raw, number, is_anonymous=anonymous, asserted_id=asserted or None)


def _acs_user(raw: str, suffix: str, cloud: str) -> Identifier:
    parts = suffix.split("_")
    if len(parts) == 3 and all(parts):
        resource, tenant, user = parts
        return Identifier(TEAMS_EXTENSION_USER, raw, user, cloud, tenant_id=tenant, resource_id=resource)
    return Identifier(COMMUNICATION_USER, raw, raw, cloud)


def phone_number(number: str) -> Identifier:
    """A phone number in E.164, e.g. "+15550100"; WireError if empty."""
    if not number:
        raise WireError("phoneNumber.value: must not be empty", "phoneNumber.value")
    return parse_raw_id(f"4:{number}")


def communication_user(user_id: str) -> Identifier:
    """A user of the resource, by id ("8:acs:...")."""
    return parse_raw_id(user_id)


def resolve_target(text: str) -> Identifier:
    """What a person types at a prompt: "+1555", "1555", "4:+1555" or any raw id. WireError if it is none of these."""
    text = text.strip()
    if _NUMBER.fullmatch(text) and ":" not in text:
        digits = re.sub(r"[^0-9]", "", text)
        return phone_number("+" + digits)
    if ":" in text:
        return parse_raw_id(text)
    raise WireError(f"{text!r} is neither a phone number such as +15550100 nor a raw id such as 8:acs:...", "rawId")


def read_identifier(obj: Any, field: str) -> Identifier:
    """Somebody whom a request names. WireError naming the field; UnsupportedError for kinds that are left out."""
    return _served(any_identifier(obj, field), field)


def _served(identifier: Identifier, field: str) -> Identifier:
    if identifier.kind in EXCLUSIONS:
        raise excluded(identifier.kind, field)
    return identifier


def any_identifier(obj: Any, field: str) -> Identifier:
    """The identifier in a decoded JSON object; the raw id wins where parts differ. WireError naming the field."""
    fields = Fields(obj, field)
    raw = fields.text("rawId")
    named = [kind for kind in _SUB_READERS if fields.raw(kind) is not None]
    if len(named) > 1:
        raise wrong(field, f"holds more than one of {', '.join(named)}; give the one that applies")
    sub_raw = _SUB_READERS[named[0]](Fields(fields.raw(named[0]), fields.at(named[0]))) if named else None
    if raw:
        identifier = parse_raw_id(raw)
        if identifier.kind != UNKNOWN or sub_raw is None:
            return identifier
    if not sub_raw:
        raise wrong(field, "names nobody; give rawId, communicationUser.id or phoneNumber.value")
    return _user(sub_raw) if named == [COMMUNICATION_USER] else parse_raw_id(sub_raw)


def _user(user_id: str) -> Identifier:
    identifier = parse_raw_id(user_id)
    return Identifier(COMMUNICATION_USER, user_id, user_id) if identifier.kind == UNKNOWN else identifier


def read_user(obj: Any, field: str) -> Identifier:
    """`{id}` as in `answeredBy` and `source` of requests; the id may have any form. Errors as `read_identifier`."""
    return _served(_user(_user_raw_id(Fields(obj, field))), field)


def read_phone(obj: Any, field: str) -> Identifier:
    """`{value}` as in `sourceCallerIdNumber`."""
    return parse_raw_id(_phone_raw_id(Fields(obj, field)))


def _user_raw_id(fields: Fields) -> str:
    return fields.required_text("id")


def _phone_raw_id(fields: Fields) -> str:
    if fields.flag("isAnonymous"):
        return f"4:{ANONYMOUS}"
    value = fields.required_text("value", "write it as +15550100")
    if value.startswith("4:") and len(value) > 2:
        return value
    asserted = fields.text("assertedId")
    return f"4:{value}_{asserted}" if asserted and not value.endswith(f"_{asserted}") else f"4:{value}"


def _teams_user_raw_id(fields: Fields) -> str:
    user = fields.required_text("userId")
    if fields.flag("isAnonymous"):
        return _VISITOR_PREFIX + user
    return _prefix(_TEAMS_USER_PREFIXES, fields) + user


def _teams_app_raw_id(fields: Fields) -> str:
    return _prefix(_TEAMS_APP_PREFIXES, fields) + fields.required_text("appId")


def _teams_extension_raw_id(fields: Fields) -> str:
    parts = [fields.required_text(name) for name in ("resourceId", "tenantId", "userId")]
    return _prefix(_ACS_PREFIXES, fields) + "_".join(parts)


def _prefix(prefixes: dict[str, str], fields: Fields) -> str:
    cloud = fields.choice("cloud", _CLOUDS, "public")
    return next(prefix for prefix, name in prefixes.items() if name == cloud)


_SUB_READERS: Final = {
    COMMUNICATION_USER: _user_raw_id,
    PHONE_NUMBER: _phone_raw_id,
    TEAMS_USER: _teams_user_raw_id,
    TEAMS_APP: _teams_app_raw_id,
    TEAMS_EXTENSION_USER: _teams_extension_raw_id,
}


def write_identifier(identifier: Identifier) -> dict[str, Any]:
    """The JSON object: kind, raw id and the one sub-object."""
    wire: dict[str, Any] = {"kind": identifier.kind, "rawId": identifier.raw_id}
    if identifier.kind in _SUB_WRITERS:
        wire[identifier.kind] = _SUB_WRITERS[identifier.kind](identifier)
    return wire


def write_phone(identifier: Identifier) -> dict[str, Any]:
    """`{value}`, with isAnonymous and assertedId only where they say something."""
    wire: dict[str, Any] = {"value": identifier.id}
    if identifier.is_anonymous:
        wire["isAnonymous"] = True
    if identifier.asserted_id:
        wire["assertedId"] = identifier.asserted_id
    return wire


def write_user(identifier: Identifier) -> dict[str, Any]:
    """`{id}`."""
    return {"id": identifier.raw_id}


def _write_teams_user(identifier: Identifier) -> dict[str, Any]:
    wire: dict[str, Any] = {"userId": identifier.id, "cloud": identifier.cloud}
    if identifier.is_anonymous:
        wire["isAnonymous"] = True
    return wire


def _write_teams_app(identifier: Identifier) -> dict[str, Any]:
    return {"appId": identifier.id, "cloud": identifier.cloud}


def _write_teams_extension(identifier: Identifier) -> dict[str, Any]:
    return {
        "userId": identifier.id,
        "tenantId": identifier.tenant_id,
        "resourceId": identifier.resource_id,
        "cloud": identifier.cloud,
    }


_SUB_WRITERS: Final = {
    COMMUNICATION_USER: write_user,
    PHONE_NUMBER: write_phone,
    TEAMS_USER: _write_teams_user,
    TEAMS_APP: _write_teams_app,
    TEAMS_EXTENSION_USER: _write_teams_extension,
}
