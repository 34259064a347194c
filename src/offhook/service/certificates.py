"""The node's own files: local CA, server certificate, token key, access key, resource id (issue "First light", TLS).

Certificates follow RFC 5280 closely enough for OpenSSL's X509_STRICT: key identifiers, critical basic
constraints and key usage. Everything is made on the first start and kept after that.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import ipaddress
import os
import re
import secrets
import ssl
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from offhook.errors import ConfigError
from offhook.service.pem import (
    CHAIN_FIX,
    broken,
    general_name,
    no_password,
    read_certificate,
    read_key,
    trust_problem,
)

CA_DAYS = 3650
SERVER_DAYS = 365
RENEW_DAYS = 30
_PEM_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

Clock = Callable[[], datetime.datetime]


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True, slots=True)
class State:
    """What a state directory holds. All paths are absolute."""

    path: Path
    ca_file: Path
    """Our CA certificate alone, PEM."""
    ca_bundle: Path
    """Public roots, the user's SSL_CERT_FILE if set, our CA and further ones: enough as the only trust store."""
    server_file: Path
    server_key_file: Path
    token_key: rsa.RSAPrivateKey
    token_key_pem: bytes
    token_key_id: str
    access_key: str
    """Random key of this directory, base64 of 64 bytes, as in a connection string."""
    resource_id: str
    """GUID; the audience of the tokens we issue."""

    @classmethod
    def open(
        cls, path: Path | str, *, names: Iterable[str] = (), further: Iterable[Path] = (), now: Clock = _utc_now
    ) -> State:
        """Read the directory, making what is missing. `names`: further names and addresses for the server certificate.

        `further`: PEM files whose certificates join the bundle. Takes up to about 0.3 s the first time (an RSA key).
        ConfigError names the file at fault and the fix.
        """
        root = Path(path).expanduser().absolute()
        try:
            _make_directory(root)
            with _locked(root):
                return _open(root, tuple(names), tuple(further), now())
        except OSError as error:
            where = error.filename or root
            raise ConfigError(
                f"--state {root}: cannot use {where} ({error.strerror or error}); name a directory you may write to"
            ) from error

    def console_token(self) -> str:
        """The random token of the console, made when it is first asked for. ConfigError names the fix."""
        with _locked(self.path):
            return _console_token(self.path / "console-token")


def server_context(state: State, files: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """The TLS context of the node's port: TLS 1.2 or newer, HTTP/1.1. `files`: certificate chain and key, not ours.

    ConfigError when the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = files or (state.server_file, state.server_key_file)
    try:
        context.load_cert_chain(certificate, key, no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{certificate} and {key} cannot be used for TLS ({error}); {CHAIN_FIX}") from None
    return context


def client_context(state: State, trust: Iterable[Path | str] = ()) -> ssl.SSLContext:
    """The TLS context for everything the node dials: usual roots, our CA, and the PEM files of `--trust`.

    A PEM given by the user may be a CA or one server's own certificate, and need not meet X509_STRICT.
    """
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    context.load_verify_locations(state.ca_bundle)
    for item in trust:
        problem = trust_problem(Path(item))
        if problem:
            raise ConfigError(f"--trust {item}: {problem}; give a readable file of certificates in PEM form")
        context.load_verify_locations(item)
    return context


# -- the directory


def _open(root: Path, names: Sequence[str], further: Sequence[Path], now: datetime.datetime) -> State:
    ca, ca_key = _certificate_authority(root, now)
    server, server_key = root / "server.pem", root / "server-key.pem"
    wanted = _names(names)
    if not _server_is_good(server, server_key, ca, wanted, now):
        _make_server(server, server_key, ca, ca_key, wanted, now)
    bundle = root / "ca-bundle.pem"
    _write_if_changed(bundle, _bundle(bundle, ca, further))
    token_key, token_pem = _token_key(root / "token-key.pem")
    public = token_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return State(
        path=root,
        ca_file=root / "ca.pem",
        ca_bundle=bundle,
        server_file=server,
        server_key_file=server_key,
        token_key=token_key,
        token_key_pem=token_pem,
        token_key_id=hashlib.sha256(public).hexdigest()[:32],
        access_key=_access_key(root / "access-key"),
        resource_id=_resource_id(root / "resource-id"),
    )


def _console_token(path: Path) -> str:
    if not path.exists():
        _write(path, secrets.token_urlsafe(24).encode() + b"\n")
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if len(text) < 16:
        raise broken(path, "the console's token cannot be read, or is shorter than 16 characters", "remove it")
    return text


def _make_directory(root: Path) -> None:
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One node at a time makes or renews files. The lock goes with its process, so it cannot be left behind."""
    try:
        import fcntl
    except ImportError:  # no such lock here; the atomic writes still keep every file whole
        yield
        return
    handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step: readers see the old or the new content, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        _write(path, content, 0o644)


# -- CA and server certificate


def _certificate_authority(root: Path, now: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    cert_path, key_path = root / "ca.pem", root / "ca-key.pem"
    again = f"remove {cert_path.name} and {key_path.name} there to have a new CA made; programs must trust it anew"
    if not cert_path.exists():  # a key without certificate is half of a first start that was cut off
        key = ec.generate_private_key(ec.SECP256R1())
        cert = _make_ca(key, now)
        _write(key_path, _private_pem(key))
        _write(cert_path, cert.public_bytes(serialization.Encoding.PEM), 0o644)
        return cert, key
    cert = read_certificate(cert_path, again)
    loaded = read_key(key_path, again)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not _same_key(cert, loaded):
        raise broken(key_path, f"this is not the key of {cert_path.name}", again)
    if cert.not_valid_after_utc <= now + datetime.timedelta(days=RENEW_DAYS):
        raise broken(cert_path, f"the CA expires on {cert.not_valid_after_utc:%Y-%m-%d}", again)
    return cert, loaded


def _make_ca(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Offhook"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Offhook local CA {secrets.token_hex(4)}"),
        ]
    )
    usage = _key_usage(sign_certificates=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_server(
    cert_path: Path,
    key_path: Path,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: Sequence[x509.GeneralName],
    now: datetime.datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    ca_identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    cert = (
        _builder(name, ca.subject, key.public_key(), now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(key_path, _private_pem(key))
    _write(cert_path, cert.public_bytes(serialization.Encoding.PEM), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a client's clock may be behind ours
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _names(further: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    names += [name for text in further if (name := general_name(text)) is not None]
    return list(dict.fromkeys(names))


def _server_is_good(
    cert_path: Path,
    key_path: Path,
    ca: x509.Certificate,
    names: Sequence[x509.GeneralName],
    now: datetime.datetime,
) -> bool:
    """False when the certificate must be made: none yet, soon over, of another CA, or without a wanted name."""
    if not cert_path.exists() or not key_path.exists():
        return False
    again = f"remove {cert_path.name} and {key_path.name} there; they are made anew and no program notices"
    cert = read_certificate(cert_path, again)
    key = read_key(key_path, again)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not _same_key(cert, key):
        return False  # a renewal was cut off between the two files
    try:
        cert.verify_directly_issued_by(ca)
        held = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    if cert.not_valid_after_utc <= now + datetime.timedelta(days=RENEW_DAYS) or cert.not_valid_before_utc > now:
        return False
    return all(name in held for name in names)


# -- the other files


def _bundle(bundle: Path, ca: x509.Certificate, further: Sequence[Path]) -> bytes:
    """certifi's roots, then the user's own store, then our CA and further files; each certificate once."""
    sources = [Path(certifi.where()).read_bytes()]
    users = os.environ.get("SSL_CERT_FILE")
    # Under `offhook exec` the variable names a bundle of ours: taking that in would keep CAs of the past for ever.
    if users and Path(users).is_file() and Path(users).absolute() != bundle:
        sources.append(Path(users).read_bytes())
    sources.append(ca.public_bytes(serialization.Encoding.PEM))
    sources += [path.read_bytes() for path in further]
    blocks: dict[bytes, bytes] = {}
    for source in sources:
        for block in _PEM_BLOCK.findall(source):
            blocks.setdefault(b"".join(block.split()), block)
    return b"\n".join(blocks.values()).replace(b"\r\n", b"\n") + b"\n"


def _token_key(path: Path) -> tuple[rsa.RSAPrivateKey, bytes]:
    again = "remove it to have a new key made (tokens issued with the old one end)"
    if not path.exists():
        _write(path, _private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    key = read_key(path, again)
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise broken(path, "this is not an RSA key of 2048 bits or more", again)
    return key, path.read_bytes()


def _access_key(path: Path) -> str:
    again = "remove it to have a new key made (the connection string changes with it)"
    if not path.exists():
        _write(path, base64.b64encode(secrets.token_bytes(64)) + b"\n")
    try:
        text = path.read_bytes().strip()
        if len(base64.b64decode(text, validate=True)) < 16:
            raise broken(path, "the key is shorter than 16 bytes", again)
        return text.decode("ascii")
    except binascii.Error:
        raise broken(path, "this is not base64", again) from None
    except PermissionError:
        raise broken(path, "it cannot be read", "give this user the right to read it") from None


def _resource_id(path: Path) -> str:
    if not path.exists():
        _write(path, f"{uuid.uuid4()}\n".encode(), 0o644)
    try:
        return str(uuid.UUID(path.read_text("utf-8").strip()))
    except ValueError:
        raise broken(path, "this is not a GUID", "remove it to have a new one made") from None


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _same_key(cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    return cert.public_key() == key.public_key()
