"""Tokens and key pages of a service that exists only in tests."""

from __future__ import annotations

import json
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from offhook.kit.tokens import DEFAULT_ISSUER

NOW = 1_800_000_000.0
AUDIENCE = "c727b82c-e91b-4d4e-9d09-e594a936121e"
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "two"})


def page(*keys: RSAKey) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) | {"use": "sig", "alg": "RS256"} for key in keys]}).encode()


def token(key: Any = KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
    all_claims = {"iss": DEFAULT_ISSUER, "aud": AUDIENCE, "exp": int(NOW) + 300, "nbf": int(NOW), "iat": int(NOW)}
    all_claims |= claims
    kept = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode({"alg": "RS256", "kid": "one"} | (header or {}), kept, key, algorithms=["RS256", "HS256"])


class Page:
    """A key page that counts its readers."""

    def __init__(self, *keys: RSAKey) -> None:
        self.body = page(*keys)
        self.error: Exception | None = None
        self.fetches = 0

    def __call__(self, url: str) -> bytes:
        self.fetches += 1
        if self.error is not None:
            raise self.error
        return self.body
