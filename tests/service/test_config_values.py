"""Secrets, URLs, networks, folders and PEM files of the configuration file."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from tests.service.config_text import HEAD, KEY, SIP, one, said

from offhook.service.certificates import State
from offhook.service.config import LOCAL_ACCESS_KEY


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["[resource]", "no access key", "key1"]),
        ('key1 = "short"', ["[resource] key1", "base64", "config key"]),
        ('key1 = "schlüssel"', ["[resource] key1", "base64"]),
        (f'key1 = "{encoded(b"abc")}"', ["3 bytes", "config key"]),
        (f'key1 = "{encoded(bytes(64))}"', ["not random", "config key"]),
        (f'key1 = "{encoded(b"secret" * 10)}"', ["not random"]),
        (f'key1 = "{LOCAL_ACCESS_KEY}"', ["offhook dev", "config key"]),
        (f'key1 = "{KEY}"\nkey2 = "{KEY}"', ["[resource] key2", "the same as key1"]),
        ('key1_env = "NOT_SET"', ["[resource] key1_env", "NOT_SET", "set it"]),
    ],
)
def test_access_keys_that_would_not_protect(tmp_path: Path, text: str, words: list[str]) -> None:
    told = one(tmp_path, f"[resource]\n{text}\n")
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[node]\ntls_key = "x.pem"', ["tls_certificate", "both"]),
        ('[node]\nallow_targets = ["10.0.0.0/99"]', ["allow_targets", "10.0.0.0/99"]),
        ('[node]\npublic_url = "calls.example.com"', ["public_url", "https://"]),
        ('[node]\npublic_url = "https://calls.example.com/abc"', ["public_url", "write https://calls.example.com"]),
        ('[node]\npublic_url = "https://calls.example.com/?a=b"', ["public_url", "write https://calls.example.com"]),
        ('[node]\npublic_url = "https://me@calls.example.com"', ["public_url", "write https://calls.example.com"]),
        ('[node]\npublic_url = "https://calls.example.com:0"', ["public_url", "port 0"]),
        ('[node]\npublic_url = "https://a..b"', ["public_url", "neither a host name nor an address"]),
        ('[[webhook]]\nurl = "ftp://x"', ["[[webhook]] 1 url", "https://"]),
        ('[[webhook]]\nurl = "wss://x"', ["[[webhook]] 1 url", "https://"]),
        ('[[webhook]]\nurl = "https://x y/"', ["[[webhook]] 1 url", "blank"]),
        ('[[webhook]]\nurl = "https://x:99999/"', ["[[webhook]] 1 url", "Port"]),
        ('[[webhook]]\nurl = "http://[::1/x"', ["[[webhook]] 1 url"]),
        (SIP + 'rtp_ports = "9-8"', ["rtp_ports", "20000-29999"]),
        (SIP + 'destinations = ["plus one"]', ["destinations", "'plus one'"]),
        (SIP + '[[user]]\nname = "anna"\npassword = "short"', ["[[user]] 1 password", "8 characters"]),
        (SIP + '[[user]]\nname = "anna"\npassword_env = "NOT_SET"', ["[[user]] 1 password_env", "NOT_SET"]),
        (SIP + '[[trunk]]\nname = "t"\nallow = ["carrier.example"]', ["[[trunk]] 1 allow", "203.0.113.0/24"]),
        (SIP + 'advertise = "2001:db8::1"', ["[sip] advertise", "IPv6", "IPv4"]),
        (SIP + 'advertise = "0.0.0.0"', ["[sip] advertise", "nobody's"]),
        (SIP + 'advertise = "224.0.0.1"', ["[sip] advertise", "nobody's"]),
        (SIP + 'advertise = "sip.example.com"', ["[sip] advertise", "no IP address"]),
        ('[sip]\nhost = "localhost"', ["[sip] host", "no IP address"]),
        ('[node]\nstate_dir = "offhook.toml"', ["[node] state_dir", "offhook.toml is a file", "folder"]),
        ('[node]\nstate_dir = "offhook.toml/below"', ["[node] state_dir", "offhook.toml is a file"]),
    ],
)
def test_values_with_their_place_and_their_fix(tmp_path: Path, text: str, words: list[str]) -> None:
    told = one(tmp_path, f"{HEAD}{text}\n")
    assert all(word in told for word in words), told


def test_every_network_that_is_none_is_named(tmp_path: Path) -> None:
    problems = said(tmp_path, HEAD + '[node]\nallow_targets = ["a", "10.0.0.0/8", "b"]\n')
    assert [problem.what[:3] for problem in problems] == ["'a'", "'b'"]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    return State.open(tmp_path_factory.mktemp("state"), names=["calls.example.com"])


def tls(certificate: Path | str, key: Path | str, more: str = "") -> str:
    return f'{HEAD}[node]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n{more}\n'


def test_a_chain_and_its_key(tmp_path: Path, state: State) -> None:
    good = (state.server_file, state.server_key_file)
    assert said(tmp_path, tls(*good)) == []
    assert said(tmp_path, tls(*good, 'public_url = "https://calls.example.com"')) == []
    hint = one(tmp_path, tls(*good, 'public_url = "https://other.example.com"'), fatal=False)
    assert "does not name other.example.com" in hint


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("junk.pem", "server-key.pem", ["junk.pem", "not a PEM certificate"]),
        ("server.pem", "junk.pem", ["junk.pem", "not a PEM private key"]),
        ("server.pem", "ca-key.pem", ["ca-key.pem is not the key of", "server.pem"]),
        ("none.pem", "server-key.pem", ["none.pem is no file"]),
        (".", "server-key.pem", ["is no file"]),
    ],
)
def test_files_that_tls_cannot_use(tmp_path: Path, state: State, certificate: str, key: str, words: list[str]) -> None:
    (state.path / "junk.pem").write_text("x")
    told = one(tmp_path, tls(state.path / certificate, state.path / key))
    assert "[node] tls_certificate" in told and all(word in told for word in words), told


def test_trust_that_holds_no_certificate(tmp_path: Path, state: State) -> None:
    assert said(tmp_path, f'{HEAD}[node]\ntrust = ["{state.ca_file}"]\n') == []
    (tmp_path / "junk.pem").write_text("x")
    told = one(tmp_path, f'{HEAD}[node]\ntrust = ["junk.pem"]\n')
    assert "[node] trust 1" in told and "junk.pem" in told


def test_a_folder_that_nobody_may_look_into_is_no_traceback(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        told = said(tmp_path, tls(closed / "c.pem", closed / "k.pem"))
    finally:
        closed.chmod(stat.S_IRWXU)
    assert len(told) == 2
