"""The node's own files: made once, kept, renewed, shared by two nodes, accepted by strict clients."""

from __future__ import annotations

import concurrent.futures
import datetime
import multiprocessing
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509

from offhook.errors import ConfigError
from offhook.service.certificates import State, client_context, server_context

FILES = ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem", "ca-bundle.pem", "token-key.pem"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> State:
    return State.open(tmp_path_factory.mktemp("kept") / "state")


@pytest.fixture
def state(kept: State, tmp_path: Path) -> State:
    """A copy that a test may spoil."""
    shutil.copytree(kept.path, tmp_path / "state")
    return State.open(tmp_path / "state")


def in_days(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


def test_a_second_start_keeps_everything(kept: State) -> None:
    before = {name: (kept.path / name).read_bytes() for name in [*FILES, "access-key", "resource-id"]}
    again = State.open(kept.path)
    assert {name: (kept.path / name).read_bytes() for name in before} == before
    assert (again.access_key, again.resource_id, again.token_key_id) == (
        kept.access_key,
        kept.resource_id,
        kept.token_key_id,
    )


def test_keys_are_private(kept: State) -> None:
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o700
    for name in ["ca-key.pem", "server-key.pem", "token-key.pem", "access-key"]:
        assert stat.S_IMODE((kept.path / name).stat().st_mode) == 0o600, name
    assert not [path.name for path in kept.path.iterdir() if path.name.startswith(".") and path.name != ".lock"]


def test_life_times_and_names(kept: State) -> None:
    ca = x509.load_pem_x509_certificate(kept.ca_file.read_bytes())
    server = x509.load_pem_x509_certificate(kept.server_file.read_bytes())
    assert 3640 < (ca.not_valid_after_utc - in_days(0)).days <= 3650
    assert 360 < (server.not_valid_after_utc - in_days(0)).days <= 365
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
@pytest.mark.parametrize("store", ["ca.pem", "ca-bundle.pem"])
def test_a_strict_client_accepts_the_server(kept: State, name: str, store: str) -> None:
    context = ssl.create_default_context(cafile=kept.path / store)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    assert handshake(server_context(kept), context, name) in ("TLSv1.2", "TLSv1.3")


def test_our_own_client_context_accepts_the_server(kept: State) -> None:
    assert handshake(server_context(kept), client_context(kept), "localhost")


def test_a_stranger_does_not_accept_the_server(kept: State) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server_context(kept), ssl.create_default_context(), "localhost")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_verifies_strictly(kept: State) -> None:
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "localhost"]
    done = subprocess.run(
        [*command, "-CAfile", str(kept.ca_file), str(kept.server_file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_node_accepts_the_server(kept: State) -> None:
    script = (
        "require('tls').connect({port:+process.argv[1],host:'127.0.0.1',servername:'localhost'},"
        "function(){console.log(this.authorized);this.end()})"
        ".on('error',e=>{console.log(e.message);process.exit(1)})"
    )
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        sock, _ = listening.accept()
        with sock, server_context(kept).wrap_socket(sock, server_side=True) as tls:
            tls.recv(1)

    server = threading.Thread(target=serve)
    server.start()
    try:
        done = subprocess.run(
            ["node", "-e", script, str(listening.getsockname()[1])],
            env={"NODE_EXTRA_CA_CERTS": str(kept.ca_file), "PATH": "/usr/bin:/bin:/usr/local/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    finally:
        server.join(10)
        listening.close()
    assert done.stdout.strip() == "true", done.stdout + done.stderr


def test_the_server_certificate_is_renewed_in_time_and_the_ca_stays(state: State) -> None:
    ca, server = state.ca_file.read_bytes(), state.server_file.read_bytes()
    State.open(state.path, now=lambda: in_days(330))
    assert state.server_file.read_bytes() == server
    State.open(state.path, now=lambda: in_days(340))
    assert state.server_file.read_bytes() != server
    assert state.ca_file.read_bytes() == ca


def test_another_host_name_makes_another_certificate(state: State) -> None:
    State.open(state.path, names=["node.example", "192.0.2.7", "localhost"])
    server = x509.load_pem_x509_certificate(state.server_file.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "node.example"]
    assert "192.0.2.7" in [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    before = state.server_file.read_bytes()
    State.open(state.path, names=["0.0.0.0"])
    assert state.server_file.read_bytes() == before


def test_a_lost_server_key_is_made_again(state: State) -> None:
    state.server_key_file.unlink()
    server_context(State.open(state.path))


@pytest.mark.parametrize("name", [*FILES[:4], "token-key.pem", "access-key", "resource-id"])
def test_a_spoilt_file_is_named_with_the_fix(state: State, name: str) -> None:
    (state.path / name).write_bytes(b"\xff spoilt")
    with pytest.raises(ConfigError, match=rf"{name}: .*remove") as caught:
        State.open(state.path)
    assert "\n" not in str(caught.value)


def test_a_lost_ca_key_is_named(state: State) -> None:
    (state.path / "ca-key.pem").unlink()
    with pytest.raises(ConfigError, match=r"ca-key.pem: the file is missing"):
        State.open(state.path)


def test_a_ca_at_its_end_is_named(state: State) -> None:
    with pytest.raises(ConfigError, match=r"ca.pem: the CA expires"):
        State.open(state.path, now=lambda: in_days(3640))


def test_a_path_that_is_a_file_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="--state"):
        State.open(tmp_path / "file")


def test_the_users_own_store_joins_the_bundle(
    state: State, kept: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    shutil.copy(kept.ca_file, other)
    mine = State.open(tmp_path / "mine")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    bundle = State.open(mine.path).ca_bundle.read_bytes()
    assert kept.ca_file.read_bytes().strip() in bundle and mine.ca_file.read_bytes().strip() in bundle
    monkeypatch.setenv("SSL_CERT_FILE", str(mine.ca_bundle))
    assert kept.ca_file.read_bytes().strip() not in State.open(mine.path).ca_bundle.read_bytes()


def test_trust_adds_certificates_and_names_a_bad_one(kept: State, tmp_path: Path) -> None:
    other = State.open(tmp_path / "other")
    assert handshake(server_context(other), client_context(kept, [other.ca_file]), "localhost")
    assert handshake(server_context(other), client_context(kept, [other.server_file]), "localhost")
    for bad in [tmp_path / "none.pem", tmp_path, other.path / "ca-key.pem", other.path / "access-key"]:
        with pytest.raises(ConfigError, match=r"--trust .*" + bad.name):
            client_context(kept, [bad])


def test_two_nodes_that_start_at_once_share_one_ca(tmp_path: Path) -> None:
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        seen = list(pool.map(open_and_read, [str(tmp_path / "state")] * 8))
    assert len(set(seen)) == 1


def open_and_read(path: str) -> tuple[bytes, bytes, str, str, str]:
    state = State.open(path)
    server_context(state)
    return (
        state.ca_file.read_bytes(),
        state.server_file.read_bytes(),
        state.token_key_id,
        state.access_key,
        state.resource_id,
    )


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """A handshake in memory; raises what the client raises."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    return theirs.version()
