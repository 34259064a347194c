"""`offhook doctor --config`: a file and a machine before the node runs there."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from tests.service.config_text import KEY

from offhook.cli import main
from offhook.cli.config_checks import planned

FILE = """
[node]
host = "127.0.0.1"
port = {rest}
state_dir = "{state}"
public_url = "https://voice.example.com"
[resource]
key1 = "{key}"
[[webhook]]
url = "https://app.example.com/events"
[sip]
host = "127.0.0.1"
port = {port}
rtp_ports = "{rtp}"
"""


def file(folder: Path, port: int, rtp: str = "24000-24039", rest: int = 0, more: str = "") -> Path:
    path = folder / "offhook.toml"
    path.write_text(FILE.format(state=folder, key=KEY, port=port, rtp=rtp, rest=rest) + more)
    return path


def results(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in planned(path):
        found.setdefault(each.name, []).append(each.result)
    return found


def test_a_file_before_its_node_runs(tmp_path: Path, free_port: Any) -> None:
    path = file(tmp_path, free_port())
    found = results(path)
    assert found == {
        "config": ["ok"], "state": ["ok"], "rest": ["ok"], "sip udp": ["ok"], "sip tcp": ["ok"], "sip tls": ["ok"],
        "advertise": ["ok"], "rtp ports": ["ok", "ok"],
    }, [each.detail for each in planned(path)]  # fmt: skip


def a_port_of_both() -> tuple[socket.socket, socket.socket, int]:
    """A UDP socket and a TCP socket that listens, on one port: what is free for the one may be taken for the other."""
    while True:
        sip, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        sip.bind(("127.0.0.1", 0))
        port = int(sip.getsockname()[1])
        try:
            tcp.bind(("127.0.0.1", port))
        except OSError:
            sip.close()
            tcp.close()
            continue
        tcp.listen()
        return sip, tcp, port


def test_ports_that_somebody_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sip, tcp, port = a_port_of_both()
    with sip, tcp:
        media, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        with media, other:
            media.bind(("127.0.0.1", 24100))
            other.bind(("127.0.0.1", 24103))
            path = file(tmp_path, port, "24100-24103")
            found = results(path)
            assert main(["doctor", "--config", str(path)]) == 1
    assert found["sip udp"] == found["sip tcp"] == ["fail"] and found["rtp ports"] == ["ok", "fail"]
    assert "choose another port in [sip]" in capsys.readouterr().out


def test_a_file_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "offhook.toml"
    path.write_text("[sip]\nport = 5060\n")
    assert {each.result for each in planned(path)} == {"fail"}


@pytest.mark.parametrize("name", ["rest", "sip tls"])
def test_a_tcp_port_that_somebody_has(tmp_path: Path, free_port: Any, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = file(tmp_path, free_port(), rest=port) if name == "rest" else file(tmp_path, port - 1)
        (found,) = [each for each in planned(path) if each.name == name]
    assert found.result == "fail" and f"127.0.0.1:{port}" in found.detail and "choose another port in [" in found.fix


def test_an_address_that_is_not_of_this_machine(tmp_path: Path, free_port: Any) -> None:
    path = file(tmp_path, free_port())
    path.write_text(path.read_text().replace('[node]\nhost = "127.0.0.1"', '[node]\nhost = "192.0.2.77"'))
    (found,) = [each for each in planned(path) if each.name == "rest"]
    assert found.result == "fail" and "192.0.2.77" in found.detail and "host in [node]" in found.fix


def test_a_hint_is_shown_and_fails_nothing(tmp_path: Path, free_port: Any) -> None:
    path = file(tmp_path, free_port(), more='destinations = ["+1*"]\n')
    assert results(path)["config"] == ["skip", "ok"]


@pytest.mark.parametrize("node", ['tls_certificate = "junk.pem"\ntls_key = "junk.pem"', 'state_dir = "junk.pem"'])
def test_files_that_are_not_what_they_should_be(tmp_path: Path, node: str) -> None:
    (tmp_path / "junk.pem").write_text("x")
    path = tmp_path / "offhook.toml"
    path.write_text(f'[node]\n{node}\n[resource]\nkey1 = "{KEY}"\n')
    assert main(["doctor", "--config", str(path)]) == 1


def test_the_port_of_browsers_audio_that_somebody_has(tmp_path: Path, free_port: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        more = '[webrtc]\nhost = "127.0.0.1"\nport = {}\n[console]\ntoken = "eN1-vC9_tR4wKq7xZs2m"\n'
        path = file(tmp_path, free_port(), more=more.format(taken.getsockname()[1]))
        (found,) = [each for each in planned(path) if each.name == "webrtc"]
    assert found.result == "fail" and "choose another port in [webrtc]" in found.fix
    assert results(path)["webrtc"] == ["ok"]
