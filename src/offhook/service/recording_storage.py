"""Files of recordings that an app wants in a storage of its own: put there like blobs (docs/recording.md).

`PUT {container}/{file}?{query}` with `x-ms-blob-type: BlockBlob`, the query that opens the container kept as it came.
Connections go where the rule of `Targets` lets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import ssl
from pathlib import Path
from typing import Final

import aiohttp

from offhook.service.origins import Origins
from offhook.service.posting import describe, request_url, shown
from offhook.service.targets import Targets

log = logging.getLogger("offhook.recordings")

WAITS: Final = (1.0, 5.0, 30.0)  # seconds before the second and each further try
TIMEOUT: Final = aiohttp.ClientTimeout(total=3600, sock_connect=10, sock_read=60)


class Storage:
    """Puts files into containers."""

    def __init__(
        self, tls: ssl.SSLContext | None, origins: Origins, targets: Targets, waits: tuple[float, ...] = WAITS
    ) -> None:
        self._tls = tls
        self._origins = origins
        self._targets = targets
        self._waits = waits

    async def put(self, container_url: str, name: str, source: Path | bytes, content_type: str) -> str:
        """Put a file; the URL that it has then, without what opens it: the query, and a user. OSError says what was
        wrong with the last try."""
        base, _, query = container_url.partition("#")[0].partition("?")
        place = f"{base.rstrip('/')}/{name}"
        url = f"{place}?{query}" if query else place
        for wait in (*self._waits, None):
            try:
                problem, again = await self._try(url, source, content_type)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                problem, again = describe(error, False), not isinstance(error, ValueError)
            if not problem:
                return shown(url)
            if wait is None or not again:
                break
            log.warning("a recording could not be put to %s: %s; tried again", shown(url), problem)
            await asyncio.sleep(wait)
        raise OSError(f"{shown(url)}: {problem}")

    async def _try(self, url: str, source: Path | bytes, content_type: str) -> tuple[str, bool]:
        """What is wrong (empty: nothing), and whether it may be better another time."""
        connector = aiohttp.TCPConnector(socket_factory=self._targets.open_socket)
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=TIMEOUT))
            if isinstance(source, bytes):
                body: io.BufferedIOBase = io.BytesIO(source)
            else:
                body = await asyncio.to_thread(source.open, "rb")
            stack.callback(body.close)
            headers = {
                "x-ms-blob-type": "BlockBlob",
                "x-ms-version": "2021-08-06",
                "Content-Type": content_type,
                **self._origins.headers(url),
            }
            response = await session.put(
                request_url(self._origins.dial(url)),
                data=body,
                headers=headers,
                ssl=self._tls or True,
                allow_redirects=False,
            )
            async with response:
                if 200 <= response.status < 300:
                    return "", False
                again = response.status in (408, 429) or response.status >= 500
                return f"the storage answered {response.status}", again
