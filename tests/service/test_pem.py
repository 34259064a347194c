"""Files in PEM form, judged before they are used."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from offhook.service.certificates import State, client_context, server_context
from offhook.service.pem import chain_hints, chain_problem, trust_problem

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def made(folder: Path, names: list[str], days: int = 90, password: bytes = b"") -> tuple[Path, Path]:
    """A certificate of its own issuer, from 2026-05-01 on, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    start = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, start, start + datetime.timedelta(days=days))
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False
        )
    certificate, secret = folder / "c.pem", folder / "k.pem"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    kind = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind))
    return certificate, secret


@pytest.mark.parametrize(
    ("names", "days", "host", "words"),
    [
        (["calls.example.com"], 90, "calls.example.com", []),
        (["calls.example.com"], 90, "CALLS.example.com", []),
        (["*.example.com"], 90, "calls.example.com", []),
        (["*.example.com"], 90, "a.calls.example.com", ["does not name a.calls.example.com"]),
        (["*.example.com"], 90, "192.0.2.1", ["does not name 192.0.2.1"]),
        (["calls.example.com"], 90, "", []),
        (["calls.example.com"], 20, "", ["is valid from 2026-05-01 to 2026-05-21 only"]),
        ([], 90, "calls.example.com", ["has no subjectAltName"]),
    ],
)
def test_what_clients_will_not_like(tmp_path: Path, names: list[str], days: int, host: str, words: list[str]) -> None:
    hints = chain_hints(made(tmp_path, names, days)[0], host, NOW)
    assert len(hints) == len(words) and all(word in hint for word, hint in zip(words, hints, strict=True))


def test_a_key_with_a_password_is_a_problem_and_asks_nobody(tmp_path: Path) -> None:
    assert "k.pem" in chain_problem(*made(tmp_path, ["x.example"], password=b"secret"))
    assert not chain_problem(*made(tmp_path, ["x.example"]))


def test_files_of_trust(tmp_path: Path) -> None:
    certificate, key = made(tmp_path, ["x.example"])
    assert not trust_problem(certificate)
    assert trust_problem(key) and trust_problem(tmp_path) and trust_problem(tmp_path / "none.pem")


def test_further_files_join_the_bundle_while_they_are_asked_for(tmp_path: Path) -> None:
    certificate, key = made(tmp_path, ["x.example"])
    state = State.open(tmp_path / "state", further=[certificate])
    assert certificate.read_bytes().strip() in state.ca_bundle.read_bytes()
    server_context(state, (certificate, key)), client_context(state)
    assert certificate.read_bytes().strip() not in State.open(state.path).ca_bundle.read_bytes()
