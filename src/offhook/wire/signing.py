"""Signatures: HMAC of REST requests (protocol.md §4.1), sealed incoming-call contexts (§3.5), tokens for apps (§5.4).

Keys, nonces, token ids and the time are arguments. Nothing here remembers requests: two equal requests within one
second rightly carry equal signatures, so there is no replay cache.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from offhook.errors import SignatureError, WireError
from offhook.wire.fields import decode_object, encode

MAX_SKEW_S: Final = 300.0
CALLBACK_TOKEN_LIFE_S: Final = 300
STREAM_TOKEN_LIFE_S: Final = 24 * 3600
DEFAULT_ISSUER: Final = "https://acscallautomation.communication.azure.com"

_SCHEME: Final = "HMAC-SHA256 "
_SIGNED_HEADERS: Final = "x-ms-date;host;x-ms-content-sha256"
_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4})"
    r" (\d{2}):(\d{2}):(\d{2}) GMT",
    re.ASCII,
)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VERB: Final = re.compile(r":[A-Za-z]+\Z", re.ASCII)


def http_date(unix: float) -> str:
    """Seconds since 1970 as RFC 1123 writes them, whatever the locale: 'Sun, 22 Nov 2026 12:08:00 GMT'."""
    at = _EPOCH + timedelta(seconds=int(unix))
    return f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} {at:%H:%M:%S} GMT"


def content_sha256(body: bytes) -> str:
    """Value of x-ms-content-sha256."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")


def sign_hmac(method: str, target: str, host: str, date: str, body: bytes, key: bytes) -> dict[str, str]:
    """The headers that sign a request. `target` is path and query as sent, `host` the Host header, `date` http_date."""
    digest = content_sha256(body)
    signature = base64.b64encode(_hmac(key, method, target, f"{date};{host};{digest}")).decode("ascii")
    return {
        "x-ms-date": date,
        "x-ms-content-sha256": digest,
        "Authorization": f"{_SCHEME}SignedHeaders={_SIGNED_HEADERS}&Signature={signature}",
    }


def verify_hmac(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    key: bytes,
    now: float,
    *,
    hosts: Sequence[str] = (),
) -> None:
    """Returns if the request is signed with `key` within five minutes of `now`; SignatureError saying why otherwise.

    `target` is the request target as received, `headers` have lower-case names, `hosts` are further host names under
    which clients know this service (behind a proxy that rewrites Host).
    """
    signature = _read_authorization(headers.get("authorization"))
    date, digest, host = (_header(headers, name) for name in ("x-ms-date", "x-ms-content-sha256", "host"))
    _check_date(date, now)
    if not hmac.compare_digest(digest.encode("utf-8", "replace"), content_sha256(body).encode("ascii")):
        raise SignatureError("x-ms-content-sha256 is not the hash of the body that arrived; was it changed on the way?")
    for candidate_host in _host_forms(host, hosts):
        for candidate in _target_forms(target):
            expected = _hmac(key, method, candidate, f"{date};{candidate_host};{digest}")
            if hmac.compare_digest(expected, signature):
                return
    raise SignatureError(
        f"The signature does not match. Check that the access key is the one of this service and that host {host!r} "
        "and the path reach it unchanged"
    )


def _hmac(key: bytes, method: str, target: str, values: str) -> bytes:
    text = f"{method.upper()}\n{target}\n{values}"
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")


def _read_authorization(value: str | None) -> bytes:
    if not value:
        raise SignatureError("The Authorization header is missing; sign the request with the access key")
    if not value.startswith(_SCHEME):
        raise SignatureError(
            "The Authorization header must start with 'HMAC-SHA256 '; use the access key of this service"
        )
    parts = dict(part.strip().partition("=")[::2] for part in value[len(_SCHEME) :].split("&"))
    if parts.get("SignedHeaders", "").lower() != _SIGNED_HEADERS:
        raise SignatureError(f"Authorization must say SignedHeaders={_SIGNED_HEADERS}")
    try:
        signature = base64.b64decode(parts.get("Signature", "").encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        signature = b""
    if len(signature) != 32:
        raise SignatureError("Authorization must hold Signature= with the base64 of 32 bytes")
    return signature


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise SignatureError(f"The {name} header is missing, which the signature needs")
    return value


def _check_date(date: str, now: float) -> None:
    match = _DATE.fullmatch(date)
    try:
        if match is None:
            raise ValueError
        day, month, year, hour, minute, second = match.groups()
        fields = (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
        signed = datetime(*fields, tzinfo=UTC).timestamp()
    except ValueError:
        raise SignatureError("x-ms-date must look like 'Sun, 22 Nov 2026 12:08:00 GMT'") from None
    ahead = signed - now
    if abs(ahead) > MAX_SKEW_S:
        side = "ahead of" if ahead > 0 else "behind"
        raise SignatureError(
            f"x-ms-date is {abs(ahead):.0f} s {side} this service's clock, more than {MAX_SKEW_S:.0f} s; "
            "set the clocks, or sign again if this is an old request"
        )


def _host_forms(host: str, others: Sequence[str]) -> Iterator[str]:
    """The Host header as sent, then what real clients sign instead: a slash after it, a default port more or less."""
    for name in dict.fromkeys((host, *others)):
        bare, _, port = name.rpartition(":")
        forms = [name]
        if bare and port in ("80", "443"):
            forms.append(bare)
        elif not port.isdigit() or not bare:
            forms += [f"{name}:443", f"{name}:80"]
        for form in forms:
            yield form
            yield f"{form}/"


def _target_forms(target: str) -> Iterator[str]:
    """The target as sent, then as signed by clients whose HTTP stack decodes the path after signing (RFC 3986 §6).

    Seen: `.../participants/8:acs:x` or `.../4:%2B1425` on the wire, signed with every reserved character encoded.
    """
    yield target
    path, mark, query = target.partition("?")
    head, slash, last = path.rpartition("/")
    everywhere = "/".join(_encoded(segment) for segment in head.split("/"))
    verb = _VERB.search(last)
    lasts = [_encoded(last)]
    if verb:
        lasts.append(_encoded(last[: verb.start()]) + verb.group())
    seen = {target}
    for start in (head, everywhere):
        for end in lasts:
            form = f"{start}{slash}{end}{mark}{query}"
            if form not in seen:
                seen.add(form)
                yield form


def _encoded(segment: str) -> str:
    return quote(unquote(segment, errors="surrogateescape"), safe="", errors="surrogateescape")


# Apps store a context in columns and messages sized for the real one; ours is never short (real-cases: 7.9 kB).
_CONTEXT_BYTES: Final = 1536
_CONTEXT_HEADER: Final = {"alg": "dir", "enc": "A256GCM", "typ": "JWT"}


def seal_context(payload: Mapping[str, Any], key: bytes, nonce: bytes) -> str:
    """An incomingCallContext: JWT-looking, at least 1.5 kB, unreadable and unchangeable without `key`.

    `payload` is JSON-ready and must hold "exp", the Unix time after which `open_context` refuses it. `nonce` is 12
    random bytes, never used twice with one key. ValueError for a payload without exp or a nonce of another length.
    """
    if not isinstance(payload.get("exp"), int | float) or len(nonce) != 12:
        raise ValueError("seal_context needs a payload with a numeric 'exp' and a nonce of 12 bytes")
    return _seal(encode(dict(payload)).ljust(_CONTEXT_BYTES), key, nonce)


def _seal(plain: bytes, key: bytes, nonce: bytes) -> str:
    header = _b64url(encode(_CONTEXT_HEADER))
    sealed = AESGCM(_context_key(key)).encrypt(nonce, plain, header.encode("ascii"))
    inner = encode({"cc": base64.b64encode(nonce + sealed[:-16]).decode("ascii")})
    return f"{header}.{_b64url(inner)}.{_b64url(sealed[-16:])}"


def open_context(text: str, key: bytes, now: float) -> dict[str, Any]:
    """The payload of a sealed context. SignatureError: "expired" after its exp, "not valid" for anything else."""
    try:
        header, inner, tag = text.split(".")
        sealed = base64.b64decode(decode_object(_unb64url(inner), "context")["cc"], validate=True)
        nonce = sealed[:12]
        plain = AESGCM(_context_key(key)).decrypt(nonce, sealed[12:] + _unb64url(tag), header.encode("ascii"))
        payload = decode_object(plain, "context")
        # Base64 has several spellings of the same bytes; only the one that we wrote is ours.
        if _seal(plain, key, nonce) != text:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, InvalidTag, WireError):
        raise SignatureError(
            "incomingCallContext is not valid; send it back whole, as IncomingCall gave it", "incomingCallContext"
        ) from None
    if now > payload["exp"]:
        raise SignatureError("incomingCallContext has expired; the call rings no more", "incomingCallContext")
    return payload


def _context_key(key: bytes) -> bytes:
    return hmac.digest(key, b"offhook incoming call context", "sha256")


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _unb64url(text: str) -> bytes:
    padded = text.encode("ascii") + b"=" * (-len(text) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


# The permissions that tokens of ACS users carry as a number whatever their scopes; `acsScope` tells those.
_USER_SCP: Final = 1792


def _times(now: float, jti: str, life: int) -> dict[str, Any]:
    at = int(now)
    return {"iat": at, "nbf": at, "exp": at + life, "jti": jti}


class TokenIssuer:
    """Issues RS256 tokens: for callbacks (5 minutes) and stream handshakes (24 hours), protocol.md §5.4; for users."""

    def __init__(self, private_key: RSAPrivateKey, issuer: str, audience: str, kid: str) -> None:
        self.issuer = issuer
        self.audience = audience
        self.kid = kid
        self._key = private_key
        self._header = _b64url(encode({"alg": "RS256", "kid": kid, "typ": "JWT"}))

    def callback_token(self, now: float, jti: str) -> str:
        """A token for one callback post; `now` in Unix seconds, `jti` a fresh id."""
        return self._token(now, jti, CALLBACK_TOKEN_LIFE_S)

    def stream_token(self, now: float, jti: str) -> str:
        """A token for one connection to the app's WebSocket."""
        return self._token(now, jti, STREAM_TOKEN_LIFE_S)

    def user_token(self, now: float, jti: str, user: str, scopes: Sequence[str], life: int) -> str:
        """An access token of a user ("8:acs:..."), of `life` seconds, with the claims that clients of ACS read.

        It has no audience, so that nobody can show it to an app as the token of a callback.
        """
        claims = {
            "skypeid": user.removeprefix("8:"),
            "scp": _USER_SCP,
            "acsScope": ",".join(scopes),
            "resourceId": self.audience,
            "iss": self.issuer,
            **_times(now, jti, life),
        }
        return self._signed(claims)

    def _token(self, now: float, jti: str, life: int) -> str:
        return self._signed({"iss": self.issuer, "aud": self.audience, **_times(now, jti, life)})

    def _signed(self, claims: Mapping[str, Any]) -> str:
        signed = f"{self._header}.{_b64url(encode(dict(claims)))}"
        signature = self._key.sign(signed.encode("ascii"), padding.PKCS1v15(), SHA256())
        return f"{signed}.{_b64url(signature)}"

    def jwks(self) -> dict[str, Any]:
        """The key page: one RSA public key (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        return {
            "keys": [
                {
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": self.kid,
                    "n": _b64url_number(numbers.n),
                    "e": _b64url_number(numbers.e),
                }
            ]
        }

    def openid_configuration(self, base_url: str) -> dict[str, Any]:
        """The OpenID page; `base_url` is this service's endpoint as the asker reaches it."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{base_url.rstrip('/')}/calling/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        }


def _b64url_number(value: int) -> str:
    return _b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
