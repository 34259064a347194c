"""A SIP caller for load: sets up N calls over UDP, lets `rtpload` speak over them, hangs up; prints one JSON line.

sipload.py N USER SIP_PORT SECONDS PID RTPLOAD [FIRST_RTP_PORT] [CALLS_PER_SECOND]
PID is the server's process, whose CPU is read while audio flows. Everything is on loopback.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Call:
    """One call, by its Call-ID."""

    target: str
    call_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:10])
    branch: str = field(default_factory=lambda: f"z9hG4bK{uuid.uuid4().hex[:16]}")
    to_tag: str = ""
    rtp_port: int = 0
    failed: int = 0
    dropped: bool = False


class Caller:
    """All calls over one socket."""

    def __init__(self, user: str, port: int) -> None:
        self.user = user
        self.server = ("127.0.0.1", port)
        self.calls: dict[str, Call] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]

    def invite(self, rtp_port: int) -> None:
        """Begin a call whose audio is at `rtp_port`."""
        call = Call(f"sip:{self.user}@127.0.0.1:{self.server[1]}")
        self.calls[call.call_id] = call
        sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {rtp_port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        )
        self.send("INVITE", call, 1, sdp)

    def send(self, method: str, call: Call, number: int, body: str = "") -> None:
        """One request of a call."""
        branch = call.branch if method == "INVITE" else f"z9hG4bK{uuid.uuid4().hex[:16]}"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = (
            f"{method} {call.target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{self._port};branch={branch};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:15550100001@127.0.0.1>;tag={call.tag}\r\n"
            f"To: <sip:{self.user}@127.0.0.1>{call.to_tag}\r\nCall-ID: {call.call_id}\r\nCSeq: {number} {method}\r\n"
            f"Contact: <sip:load@127.0.0.1:{self._port}>\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self._socket.sendto(text.encode(), self.server)

    def pump(self, seconds: float) -> None:
        """Take what comes for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self._socket], [], [], left)[0]:
            self._take(self._socket.recv(8192).decode("latin1"))

    def _take(self, text: str) -> None:
        call = self.calls.get(_header(text, "call-id"))
        if not text.startswith("SIP/2.0"):
            lines = [line for line in text.split("\r\n") if line.lower().startswith(_ECHOED)]
            reply = "SIP/2.0 200 OK\r\n" + "\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n"
            self._socket.sendto(reply.encode(), self.server)
            if call is not None and text.startswith("BYE"):
                call.dropped = True
            return
        status, number = int(text[8:11]), _header(text, "cseq")
        if call is None or not number.endswith("INVITE") or status < 200:
            return
        tagged = re.search(r"(?im)^to:.*;tag=([^\s;]+)", text)
        call.to_tag = f";tag={tagged[1]}" if tagged else ""
        if status == 200:
            contact, media = re.search(r"(?im)^contact:\s*<([^>]+)>", text), re.search(r"m=audio (\d+)", text)
            call.target = contact[1] if contact else call.target
            call.rtp_port = int(media[1]) if media else 0
        else:
            call.failed = status
        self.send("ACK", call, 1)

    def hang_up(self) -> None:
        """End all."""
        for number, call in enumerate(self.calls.values()):
            if call.rtp_port:
                self.send("BYE", call, 2)
            if number % 20 == 19:
                self.pump(0.05)
        self.pump(0.5)


_ECHOED = ("via:", "from:", "to:", "call-id:", "cseq:")


def _header(text: str, name: str) -> str:
    found = re.search(rf"(?im)^{name}:\s*(.+?)\s*$", text)
    return found[1] if found else ""


def cpu(pid: int) -> float:
    """User and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> int:
    """Run one load."""
    count, user, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    seconds, pid = float(sys.argv[4]), int(sys.argv[5])
    first = int(sys.argv[7]) if len(sys.argv) > 7 else 20000
    rate = float(sys.argv[8]) if len(sys.argv) > 8 else 25.0
    caller = Caller(user, port)
    rtp = subprocess.Popen(
        [sys.argv[6], str(count), str(first)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert rtp.stdin is not None and rtp.stdout is not None
    assert rtp.stdout.readline().strip() == "bound"
    before = resident_mb(pid)
    for number in range(count):
        caller.invite(first + 2 * number)
        caller.pump(1 / rate)
    calls = list(caller.calls.values())
    for _ in range(50):
        if all(call.rtp_port or call.failed for call in calls):
            break
        caller.pump(0.1)
    up = sum(call.rtp_port > 0 for call in calls)
    out: dict[str, Any] = {"asked": count, "up": up, "failed": sorted({call.failed for call in calls if call.failed})}
    try:
        if up == count:
            caller.pump(1.5)
            rtp.stdin.write(f"{seconds}\n" + "".join(f"{call.rtp_port}\n" for call in calls))
            rtp.stdin.flush()
            assert rtp.stdout.readline().strip() == "live"
            spent, began = cpu(pid), time.monotonic()
            while rtp.poll() is None and time.monotonic() - began < seconds - 0.3:
                caller.pump(0.1)
            core = (cpu(pid) - spent) / (time.monotonic() - began)
            out.update(json.loads(rtp.stdout.readline()))
            out["dropped"] = sum(call.dropped for call in calls)
            out["core"] = round(core, 4)
            out["us"] = round(core / count / 50 * 1e6, 2)
            out["kbPerCall"] = round((resident_mb(pid) - before) * 1000 / count, 1)
    finally:
        if rtp.poll() is None:
            rtp.kill()
        caller.hang_up()
    print(json.dumps(out), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
