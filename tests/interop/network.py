"""A network of one browser that can be cut: it stands between the browser and a node, for TCP and for UDP.

While it is cut nothing passes and nothing is refused, as with a cable that is out: TCP's bytes wait, datagrams are
lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

Address = tuple[str, int]
REDIRECT = """
(() => {
  const real = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    const sdp = description.sdp.replace(/( 127\\.0\\.0\\.1) \\d+ typ host/g, "$1 PORT typ host");
    return real.call(this, { type: description.type, sdp });
  };
})();
"""
"""Has a page send its media to our port, as if the node said so."""


class _Near(asyncio.DatagramProtocol):
    """What browsers send comes here; each of their sockets gets one of its own towards the node."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.transport: asyncio.DatagramTransport | None = None
        self._far: dict[Address, asyncio.DatagramTransport] = {}
        self._early: dict[Address, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: Address) -> None:
        if self._network.is_cut:
            return
        if source in self._far:
            self._far[source].sendto(data)
        elif source in self._early:
            self._early[source].append(data)
        else:
            self._early[source] = [data]
            task = asyncio.get_running_loop().create_task(self._open(source))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self, source: Address) -> None:
        far, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Far(self._network, self, source), remote_addr=("127.0.0.1", self._network.media)
        )
        self._far[source] = far
        for data in self._early.pop(source):
            far.sendto(data)

    def close(self) -> None:
        for transport in (self.transport, *self._far.values()):
            if transport is not None:
                transport.close()


class _Far(asyncio.DatagramProtocol):
    def __init__(self, network: Network, near: _Near, source: Address) -> None:
        self._network, self._near, self._source = network, near, source

    def datagram_received(self, data: bytes, source: Address) -> None:
        if not self._network.is_cut and self._near.transport is not None:
            self._near.transport.sendto(data, self._source)

    def error_received(self, why: Exception) -> None:
        """The node is gone; so is what we would say."""


class Network:
    """`port`: where pages are; `script`: what they must run so that their media comes through here too."""

    def __init__(self, signalling: int, media: int) -> None:
        """Of the node: its TCP port, and its UDP port for browsers."""
        self.signalling, self.media = signalling, media
        self.port = 0
        self.script = ""
        self._passes = asyncio.Event()
        self._passes.set()

    @property
    def is_cut(self) -> bool:
        return not self._passes.is_set()

    def cut(self) -> None:
        self._passes.clear()

    def mend(self) -> None:
        self._passes.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Network]:
        near = _Near(self)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: near, ("127.0.0.1", 0))
        server = await asyncio.start_server(self._tcp, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self.script = REDIRECT.replace("PORT", str(transport.get_extra_info("sockname")[1]))
        try:
            yield self
        finally:
            self.mend()
            server.close()
            near.close()

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.signalling)
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        await self._passes.wait()
        writer.close()
