"""The way to a speech model that lasts as long as the call: connecting, losing the connection, trying again.

The client's own reconnecting exists in the general release only and keeps an old token, so this is ours: the same for
all services, with a new token and new settings each time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from offhook.errors import ConfigError, OffhookError
from offhook.kit.realtime_services import Connection, KeyFailed, Service

log: Final = logging.getLogger("offhook.kit")

STEADY_S: Final = 10.0
"""A connection that held this long was a good one: the tries are counted from zero again."""
_TRY_AGAIN: Final = frozenset({408, 409, 425, 429})
"""HTTP statuses below 500 of a refused handshake that may be better next time."""
_FINAL_CLOSES: Final = frozenset({1008, 3000, 3003})
"""Codes with which a connection is closed at once that would fare no better the next time: policy, unauthorized,
forbidden. One that has held for a while may have outlived its token."""
_FINAL_REASON: Final = "invalid_request_error"


class RelayFailed(OffhookError):
    """The speech model cannot be reached, refuses the session, or is lost for good. The call is still there."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """What is done when the connection to the model breaks, or cannot be made."""

    tries: int = 5
    """In a row; then the relay ends with RelayFailed. 0: never try again."""
    first_delay_s: float = 0.5
    """Before the first try; it doubles each time, less up to a quarter by chance."""
    longest_delay_s: float = 8.0
    history: bool = True
    """Tell the new session as text what was said so far, as far as there are transcripts."""


async def keep_connected(
    service: Service,
    model: str,
    policy: Reconnect,
    talk: Callable[[Connection, int, float], Awaitable[None]],
) -> None:
    """Connect and `talk(connection, tries, seconds without)` until it returns; again when the connection breaks.

    RelayFailed when it is lost for good. ConfigError for settings that are wrong or missing, at once.
    """
    loop = asyncio.get_running_loop()
    tries, lost_at = 0, loop.time()
    while True:
        since = loop.time()
        try:
            async with await asyncio.to_thread(service.connect, model) as connection:
                since = loop.time()
                await talk(connection, tries, since - lost_at)
                return
        except (ConfigError, RelayFailed):
            raise
        except Exception as error:
            steady = loop.time() - since > STEADY_S
            reason = _reason(error, steady=steady)
        now = loop.time()
        if steady:
            tries = 0
        if not tries:
            lost_at = now
        tries += 1
        if tries > policy.tries:
            raise RelayFailed(_given_up(policy.tries, now - lost_at, reason))
        delay = min(policy.first_delay_s * 2 ** (tries - 1), policy.longest_delay_s) * random.uniform(0.75, 1)
        log.warning("the speech model: %s; try %d of %d in %.1f s", reason, tries, policy.tries, delay)
        await asyncio.sleep(delay)


def _given_up(tries: int, seconds: float, reason: str) -> str:
    if not tries:
        return f"the speech model: {reason}"
    return f"the speech model: {reason}; {tries} more tries within {seconds:.1f} s did not help"


def _reason(error: Exception, *, steady: bool) -> str:
    """What broke, in words. RelayFailed when another try is pointless; what is no failure of a connection is raised."""
    import openai
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

    if isinstance(error, InvalidStatus):
        status, body = error.response.status_code, bytes(error.response.body or b"")[:300].decode(errors="replace")
        text = f"the service refused the connection with HTTP {status} {body.strip()}".rstrip()
        if 400 <= status < 500 and status not in _TRY_AGAIN:
            raise RelayFailed(f"{text}: check the key or the roles of the credential, the model's name and the URL")
        return text
    if isinstance(error, ConnectionClosed):
        closed = error.rcvd
        text = f"the connection was closed ({closed.code} {closed.reason})" if closed else "the connection broke off"
        final = closed and (closed.code in _FINAL_CLOSES or closed.reason.startswith(_FINAL_REASON))
        if final and not steady:
            raise RelayFailed(text) from error
        return text
    if isinstance(error, ssl.SSLCertVerificationError):
        raise RelayFailed(
            f"the service's certificate is not trusted: {error}: set SSL_CERT_FILE to its authority's"
        ) from error
    passing = (OSError, TimeoutError, KeyFailed, InvalidHandshake, ServiceRequestError, ServiceResponseError)
    if isinstance(error, passing):
        return str(error) or type(error).__name__
    if isinstance(error, openai.OpenAIError) or type(error).__module__.startswith("azure."):
        raise RelayFailed(f"no connection to the speech model: {error}") from error
    raise error
