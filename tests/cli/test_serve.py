"""`offhook serve` as a process: what it says, how it drains, changes keys and ends, and who trusts its certificate."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.live import OFFHOOK, LiveNode, TestApp, answer, rest, serve_node, until
from tests.service.config_text import HEAD, KEY, OTHER_KEY, SIP, written
from tests.sip_phone import BYE, Line, TestPhone

from offhook.cli.serve import show_banner
from offhook.service.app_environment import TRUST_VARIABLES
from offhook.service.certificates import State

NODE = '[node]\nhost = "127.0.0.1"\nport = {port}\nstate_dir = "state"\n'
UNTRUSTING = {name: value for name, value in os.environ.items() if name not in TRUST_VARIABLES}


def serve(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    command = [*OFFHOOK, "serve", "--config", str(written(folder, text))]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def run(*words: str, **variables: str) -> tuple[int, str]:
    """A command with none of the trust variables but these; its exit status and what it prints."""
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, *words, env={**UNTRUSTING, **variables}, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, told.decode()


def test_every_problem_has_a_line_of_its_own(tmp_path: Path) -> None:
    told = serve(tmp_path, HEAD + "[node]\nport = 70000\ndrain_seconds = -1\n")
    lines = told.stderr.splitlines()
    assert told.returncode == 2 and len(lines) == 2 and not told.stdout
    assert all(line.startswith("offhook serve: ") for line in lines) and "[node] port" in lines[0]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    command = [*OFFHOOK, "serve", "--config", str(tmp_path / "nix.toml")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert told.returncode == 2 and "config init" in told.stderr


@pytest.mark.parametrize("kind", ["rest", "udp", "tcp", "tls"])
def test_a_port_that_is_taken_is_named_as_in_the_file(tmp_path: Path, free_port: Callable[[], int], kind: str) -> None:
    family = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    port = free_port() + (kind == "tls")
    with socket.socket(socket.AF_INET, family) as taken:
        taken.bind(("127.0.0.1", port))
        if kind != "udp":
            taken.listen()
        text = HEAD + NODE.format(port=port if kind == "rest" else 0)
        if kind != "rest":
            text += SIP + f"port = {port - 1 if kind == 'tls' else port}\n"
        told = serve(tmp_path, text)
    assert told.returncode == 2, told.stdout
    (line,) = told.stderr.strip().splitlines()
    assert str(port) in line and "--" not in line
    assert ("[node] port" if kind == "rest" else "[sip] port") in line


def test_the_banner_says_how_apps_come_in_and_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    announced: dict[str, Any] = {
        "endpoint": "https://calls.example.com/",
        "issuer": "https://issuer",
        "jwksUri": "https://calls.example.com/calling/keys",
        "caBundle": "/state/ca-bundle.pem",
        "tlsCertificate": None,
        "accessKey": KEY,
        "webrtc": {"port": 8481, "candidates": ["198.51.100.7", "10.0.0.5"]},
    }
    show_banner(announced)
    show_banner({**announced, "tlsCertificate": "/etc/chain.pem"})
    shown = capsys.readouterr().out
    assert "endpoint=https://calls.example.com/;accesskey=KEY" in shown and KEY not in shown
    assert "SSL_CERT_FILE=/state/ca-bundle.pem" in shown
    assert "of our own CA" in shown and "/etc/chain.pem" in shown
    assert "UDP 8481 of 198.51.100.7, 10.0.0.5" in shown


# signals ------------------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@contextlib.asynccontextmanager
async def in_a_call(folder: Path) -> AsyncIterator[tuple[LiveNode, TestPhone, Line]]:
    app, carrier = TestApp(), TestPhone("15557770001", "127.0.0.2")
    text = (
        HEAD + NODE.format(port=0) + "allow_private_targets = true\ndrain_seconds = 600\n"
        f'[[webhook]]\nurl = "{{webhook}}"\n{SIP}port = 0\n[[trunk]]\nname = "carrier"\nallow = ["127.0.0.2"]\n'
    )
    async with app.running(), carrier.running():
        async with serve_node(written(folder, text.format(webhook=app.webhook))) as node:
            await until(lambda: app.validations, "validation")
            line = carrier.call(node.info["sip"]["udp"])
            invited = await app.invited()
            await answer(node, invited["incomingCallContext"], app.callback)
            await carrier.answered(line)
            node.process.send_signal(signal.SIGTERM)
            await until(lambda: [e for e in node.named("node") if e["name"] == "draining"], "draining")
            yield node, carrier, line


async def test_sigterm_takes_no_new_calls_and_waits_for_live_ones(tmp_path: Path) -> None:
    async with in_a_call(tmp_path) as (node, carrier, line):
        refused = carrier.call(node.info["sip"]["udp"])
        await until(lambda: refused.over, "a refusal")
        assert node.process.returncode is None and not line.over
        line.leg.hang_up(BYE)
        assert await asyncio.wait_for(node.process.wait(), 20) == 0


async def test_a_second_sigterm_ends_live_calls(tmp_path: Path) -> None:
    async with in_a_call(tmp_path) as (node, _, line):
        node.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(node.process.wait(), 20) == 0
        await until(lambda: line.over, "a BYE")


async def test_sighup_changes_the_keys_of_a_running_node(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + NODE.format(port=0))
    async with serve_node(path) as node:
        assert node.info["endpoint"].startswith("https://localhost:") and node.info["accessKey"] == KEY
        written(tmp_path, HEAD.replace(KEY, OTHER_KEY) + NODE.format(port=0))
        node.process.send_signal(signal.SIGHUP)
        await until(lambda: [e for e in node.named("node") if e["name"] == "reloaded"], "new keys")
        answers = [(await rest(node, "GET", "/calling/callConnections/none", key=key))[0] for key in (KEY, OTHER_KEY)]
        assert answers == [401, 404]


# certificates -------------------------------------------------------------------------------------------------------


def certificate(folder: Path, *, whole: bool) -> str:
    """Keys of [node] for a certificate of a CA that the node did not make: the chain holds it, or `trust` does."""
    state = State.open(folder / "company")
    chain = folder / "chain.pem"
    chain.write_bytes(state.server_file.read_bytes() + (state.ca_file.read_bytes() if whole else b""))
    trust = "" if whole else f'trust = ["{state.ca_file}"]\n'
    return f'tls_certificate = "{chain}"\ntls_key = "{state.server_key_file}"\n{trust}'


@pytest.mark.parametrize("whole", [True, False])
async def test_apps_trust_a_certificate_of_the_companys_ca(tmp_path: Path, whole: bool) -> None:
    path = written(tmp_path, HEAD + NODE.format(port=0) + certificate(tmp_path, whole=whole))
    async with serve_node(path) as node:
        by_http = node.connection_string.replace(node.info["endpoint"], node.http)
        doctor = (*OFFHOOK, "doctor", "--json", "--node", node.connection_string)
        status, told = await run("exec", "--node", by_http, "--", *doctor)
        rows = [json.loads(line) for line in told.splitlines()]
        assert status == 0 and {row["result"] for row in rows} == {"ok"}, told
        assert "chain.pem" in next(row["detail"] for row in rows if row["check"] == "tls")


async def test_the_doctor_names_the_bundle_where_the_node_is_not_trusted(tmp_path: Path) -> None:
    async with serve_node(written(tmp_path, HEAD + NODE.format(port=0))) as node:
        status, told = await run("doctor", "--node", node.connection_string)
        assert status == 1 and "ca-bundle.pem" in told and "another program" not in told
        status, told = await run("doctor", "--node", node.connection_string, SSL_CERT_FILE=node.info["caBundle"])
        assert "ok    port" in told and "ok    tls" in told and "SSL_CERT_FILE vouches for" in told


async def test_the_doctor_asks_no_more_than_is_needed_of_a_certificate_that_everybody_trusts(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + NODE.format(port=0) + certificate(tmp_path, whole=True))
    roots = tmp_path / "roots.pem"
    roots.write_bytes((tmp_path / "company" / "ca.pem").read_bytes())
    async with serve_node(path) as node:
        status, told = await run("doctor", "--node", node.connection_string, SSL_CERT_FILE=str(roots))
        assert "ok    port" in told and "ok    tls" in told and "SSL_CERT_FILE vouches for" in told, told
        assert status == 1 and "REQUESTS_CA_BUNDLE is not set" in told


async def test_a_key_of_another_node_is_named(tmp_path: Path) -> None:
    async with serve_node(written(tmp_path, HEAD + NODE.format(port=0))) as node:
        status, told = await run("doctor", "--node", f"endpoint={node.http}/;accesskey={OTHER_KEY}")
        assert status == 1 and "refused our key" in told and "connection string" in told
