"""The checks of `offhook doctor` that concern phones: SIP ports, the advertised address, RTP ports, one-way audio."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offhook.service.checks import FAIL, OK, SKIP, Check

WAIT = 2.0
SETTLED = 150
"""Frames after which audio must have come both ways: three seconds."""
_LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


async def running(status: Mapping[str, Any] | None) -> list[Check]:
    """What a running node's SIP side looks like from here."""
    sip = None if status is None else status.get("sip")
    if status is None or sip is None:
        return []
    host = sip["listens"]
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    found = [await _options(near, sip["udp"], strangers=sip["strangers"])]
    found.append(await _stream("sip tcp", near, sip["tcp"], None))
    if "tls" in sip:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # whether it can be trusted is another check
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        found.append(await _stream("sip tls", near, sip["tls"], context))
    found.append(advertised(host, sip["host"], sip["udp"], tuple(sip["rtpPorts"])))
    found.append(ranged(tuple(sip["rtpPorts"])))
    found.append(heard(status.get("media") or [], sip["host"], latch=bool(sip["latch"])))
    return found


async def _options(host: str, port: int, *, strangers: bool) -> Check:
    """OPTIONS over UDP: whatever answers is a SIP server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        shown = f"[{host}]" if ":" in host else host
        try:
            asking.connect((host, port))
            ours = asking.getsockname()[1]
            asking.send(_REQUEST.format(host=shown, port=port, ours=ours, word=uuid.uuid4().hex).encode())
            answer = await asyncio.wait_for(loop.sock_recv(asking, 4096), WAIT)
        except TimeoutError:
            if not strangers:
                return Check("sip udp", SKIP, f"{shown}:{port} answers trunks and registered phones only")
            return Check("sip udp", FAIL, f"{shown}:{port} gave no answer in {WAIT:g} s", "look for a firewall")
        except OSError as why:
            return Check("sip udp", FAIL, f"{shown}:{port}: {why.strerror or why}", "check host and port in [sip]")
    said = answer.partition(b"\r")[0].decode("ascii", "replace")[:60]
    return Check("sip udp", OK, f"{shown}:{port} answers: {said}")


_REQUEST = (
    "OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{ours};rport;branch=z9hG4bK{word}\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:doctor@{host}>;tag={word}\r\nTo: <sip:{host}>\r\nCall-ID: {word}\r\n"
    "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


async def _stream(name: str, host: str, port: int, context: ssl.SSLContext | None) -> Check:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=context), WAIT)
    except (OSError, TimeoutError) as why:
        return Check(name, FAIL, f"{host}:{port}: {why or type(why).__name__}", "look for a firewall")
    writer.close()
    return Check(name, OK, f"{host}:{port} takes connections")


def advertised(listens: str, shown: str, port: int, rtp: tuple[int, ...]) -> Check:
    """Whether others can reach the address that our messages name."""
    address = ipaddress.ip_address(shown)
    if address.is_loopback and not ipaddress.ip_address(listens).is_loopback:
        return Check(
            "advertise", FAIL, f"{shown} is this machine's own: no phone elsewhere can send there",
            "set [sip] advertise to the address that phones reach",
        )  # fmt: skip
    if address.is_loopback:
        return Check("advertise", OK, f"{shown}: phones on this machine only")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((shown, 0))
        except OSError as why:
            if why.errno != errno.EADDRNOTAVAIL:
                return Check("advertise", FAIL, f"{shown}: {why.strerror or why}", "check [sip] advertise")
            ports = f"{rtp[0]}-{rtp[1]}" if rtp[0] else "every port"
            return Check(
                "advertise", OK, f"{shown} is not of this machine: the NAT there must pass UDP {port} and {ports} on, "
                "with their numbers unchanged",
            )  # fmt: skip
    reach = "; a private address: only phones in this network reach it" if address.is_private else ""
    return Check("advertise", OK, f"{shown} is an address of this machine{reach}")


def ranged(rtp: tuple[int, ...]) -> Check:
    """How many calls the RTP range has room for, and whether the system gives its ports to others."""
    first, last = rtp
    if not first:
        return Check("rtp ports", OK, "any free port of the system: for this machine only")
    room = (last + 1 - first - first % 2) // 2
    if room < 1:
        return Check("rtp ports", FAIL, f"{first}-{last} has no pair of ports", "widen [sip] rtp_ports")
    try:
        low, high = map(int, _LOCAL_PORTS.read_text().split())
    except (OSError, ValueError):
        low = high = 0
    shared = f"; the system gives out {low}-{high} too, so some may be taken" if low <= last and first <= high else ""
    return Check("rtp ports", OK, f"{first}-{last}: room for {room} calls; open them in the firewall{shared}")


def heard(legs: Sequence[Mapping[str, Any]], advertise: str, *, latch: bool) -> Check:
    """Live calls whose audio flows one way only, with the likeliest reason."""
    settled = [leg for leg in legs if leg["frames"] >= SETTLED and not leg["held"]]
    if not settled:
        return Check("audio", SKIP, "no call over SIP has lasted three seconds: place one and run this again")
    for leg in settled:
        found = _one_way(leg, advertise, latch=latch)
        if found is not None:
            return Check("audio", FAIL, f"call {leg['callId']}: {found[0]}", found[1])
    return Check("audio", OK, f"flows both ways in {len(settled)} {'call' if len(settled) == 1 else 'calls'}")


def _one_way(leg: Mapping[str, Any], advertise: str, *, latch: bool) -> tuple[str, str] | None:
    """What is wrong with a call's audio and what would help; None: nothing."""
    remote = f"{leg['host']}:{leg['port']}"
    if not leg["received"] and leg["strange"] and not latch:
        behind = "set [sip] latch = true: the phone is behind a NAT"
        return f"packets come, but not from {remote}, which its phone signalled", behind
    if not leg["received"]:
        fix = f"open [sip] rtp_ports for UDP in the firewall, and see that {advertise} reaches this machine"
        return f"nothing comes from {remote}", fix
    elsewhere = "set [sip] latch = true, or have the phone use STUN"
    if leg["lostTherePercent"] == 100:
        return f"{remote} reports that it hears nothing of us", elsewhere
    if _private(leg["host"]) and not _private(advertise) and leg["roundTripMs"] is None:
        return f"we send to {remote}, a private address of another network", elsewhere
    return None


def _private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
