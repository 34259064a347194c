"""The checks of `offhook doctor --config`: whether this machine can give a node what its file asks for."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from offhook.service.checks import FAIL, OK, SKIP, Check
from offhook.service.config import NodePlan
from offhook.service.config_file import Problem
from offhook.service.routing import SipPlan
from offhook.service.serve_config import check
from offhook.service.sip_checks import advertised, ranged

TRIED = 20
"""Pairs of RTP ports that are tried."""
UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM


def planned(path: Path) -> list[Check]:
    """What the file of `offhook serve` asks for, before a node runs."""
    config, problems = check(path, os.environ)
    found = [_said(path, problem) for problem in problems]
    if config is None:
        return found
    plan = config.plan()
    found += [Check("config", OK, f"{path} is good"), _state(plan), _free("rest", plan.host, plan.port, TCP, "[node]")]
    sip, webrtc = plan.sip, plan.webrtc
    if webrtc is not None:
        found.append(_free("webrtc", webrtc.host, webrtc.port, UDP, "[webrtc]"))
    if sip is None:
        return [*found, Check("sip", SKIP, f"{path} has no [sip] section: no phones")]
    found += [
        _free("sip udp", sip.host, sip.port, UDP, "[sip]"),
        _free("sip tcp", sip.host, sip.port, TCP, "[sip]"),
        _free("sip tls", sip.host, sip.port and sip.port + 1, TCP, "[sip]"),
        advertised(sip.host, sip.advertise or sip.host, sip.port, sip.rtp_ports),
    ]
    return [*found, ranged(sip.rtp_ports), _pairs(sip)]


def _said(path: Path, problem: Problem) -> Check:
    result = FAIL if problem.fatal else SKIP
    return Check("config", result, f"{path}: {problem.where} {problem.what}", problem.fix)


def _state(plan: NodePlan) -> Check:
    """Whether the state directory is there or can be made, and may be written to."""
    path = plan.state_dir
    first = next(each for each in (path, *path.absolute().parents) if os.path.exists(each))
    if not os.access(first, os.W_OK | os.X_OK):
        fix = f"give this user the right to write to {first}, or choose another state_dir in [node]"
        return Check("state", FAIL, f"{path}: this user may not write to {first}", fix)
    return Check("state", OK, f"{path} {'is there' if first == path else 'can be made'}")


def _free(name: str, host: str, port: int, kind: socket.SocketKind, section: str) -> Check:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        _bind(host, port, kind)
    except OSError as why:
        fix = {
            errno.EADDRINUSE: f"stop what has it, or choose another port in {section}",
            errno.EACCES: f"choose a port of 1024 or above in {section}, or allow this user lower ones",
        }.get(why.errno or 0, f"give an address of this machine as host in {section}")
        return Check(name, FAIL, f"{shown}: {why.strerror or why}", fix)
    return Check(name, OK, f"{shown} is free" if port else f"{shown}: any free port")


def _pairs(plan: SipPlan) -> Check:
    """Whether some pairs of the range can be bound now."""
    first, last = plan.rtp_ports
    first += first % 2
    step = max((last - first) // TRIED // 2 * 2, 2)
    taken = []
    for port in range(first, last, step):
        try:
            _bind(plan.host, port, UDP)
            _bind(plan.host, port + 1, UDP)
        except OSError:
            taken.append(port)
    tried = len(range(first, last, step))
    if len(taken) * 2 > tried:
        return Check("rtp ports", FAIL, f"{len(taken)} of {tried} pairs are taken", "choose another [sip] rtp_ports")
    return Check("rtp ports", OK, f"{tried - len(taken)} of {tried} pairs that were tried are free")


def _bind(host: str, port: int, kind: socket.SocketKind) -> None:
    family, _, protocol, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family, kind, protocol) as trial:
        if kind is TCP:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)
