"""SIP over a stream: cuts TCP and TLS bytes into messages by Content-Length (RFC 3261 §§7.5, 18.3; RFC 5626 §4.4.1)."""

from __future__ import annotations

from offhook.errors import SipError
from offhook.sip.message import MAX_MESSAGE

PING = b"\r\n\r\n"
PONG = b"\r\n"


class Framer:
    """Bytes in, whole messages out. A stream that cannot be cut any more raises SipError and is to be closed."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.pings = 0
        """Keep-alive pings so far that want a pong."""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now."""
        self._buffer += data
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> bytes | None:
        buffer = self._buffer
        while buffer.startswith(PONG):
            if buffer.startswith(PING):
                self.pings += 1
                del buffer[:4]
            elif len(buffer) == 2 or (len(buffer) == 3 and buffer[2:] == b"\r"):
                return None  # half a ping, or a pong: the next bytes tell
            else:
                del buffer[:2]
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > MAX_MESSAGE:
                raise SipError(f"no end of the headers within {MAX_MESSAGE} bytes")
            return None
        size = end + 4 + _length(bytes(buffer[:end]))
        if size > MAX_MESSAGE:
            raise SipError(f"a message of {size} bytes is more than {MAX_MESSAGE}")
        if len(buffer) < size:
            return None
        message = bytes(buffer[:size])
        del buffer[:size]
        return message


def _length(head: bytes) -> int:
    """Content-Length, which a stream cannot do without; 0 where it is left out all the same."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            text = value.strip()
            if not text.isdigit() or len(text) > 7:
                raise SipError(f"no Content-Length: {text[:20]!r}")
            return int(text)
    return 0
