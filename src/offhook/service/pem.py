"""Files in PEM form: read, and judged before they are used as certificate chain, key or trust (RFC 7468)."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from offhook.errors import ConfigError

CHAIN_FIX = "give a PEM certificate chain and the key that belongs to it, without a password"


def chain_problem(certificate: Path, key: Path) -> str:
    """What is wrong with files for `server_context`; empty when they can be used."""
    try:
        ours = read_certificate(certificate, "")
        secret = read_key(key, "")
        if getattr(secret, "public_key", lambda: None)() != ours.public_key():
            return f"{key} is not the key of {certificate}"
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except ConfigError as error:
        return str(error).rstrip("; ")
    except (OSError, ssl.SSLError) as error:
        return f"{certificate} and {key} cannot be used for TLS ({error})"
    return ""


def chain_hints(certificate: Path, host: str, now: datetime.datetime) -> list[str]:
    """What clients will not like of a certificate that can be used; `host`: the name that they know us by, if any."""
    cert, found = x509.load_pem_x509_certificate(certificate.read_bytes()), []
    if not cert.not_valid_before_utc <= now <= cert.not_valid_after_utc:
        found.append(f"is valid from {cert.not_valid_before_utc:%Y-%m-%d} to {cert.not_valid_after_utc:%Y-%m-%d} only")
    name = general_name(host)
    try:
        held = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [*found, "has no subjectAltName, without which nobody takes it"]
    wild = x509.DNSName(f"*.{host.lower().partition('.')[2]}") if isinstance(name, x509.DNSName) else name
    if name is not None and name not in held and wild not in held:
        found.append(f"does not name {host}")
    return found


def trust_problem(path: Path) -> str:
    """What is wrong with a file of certificates to trust; empty when it can be used."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return "no usable PEM certificate is in it"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def no_password() -> str:
    """Asked for where a key has a password: OpenSSL would ask the terminal, which nobody watches."""
    return ""


def general_name(host: str) -> x509.GeneralName | None:
    """A host as certificates name it (RFC 5280 §4.2.1.6); None for none, and for "every address". ConfigError."""
    if not host:
        return None
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        try:
            return x509.DNSName(host.rstrip(".").encode("idna").decode("ascii").lower())
        except UnicodeError:
            raise ConfigError(f"{host!r} is neither a host name nor an address") from None
    return None if address.is_unspecified else x509.IPAddress(address)  # 0.0.0.0 is nobody's name


def read_certificate(path: Path, fix: str) -> x509.Certificate:
    """The first certificate of a file. ConfigError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise broken(path, "this is not a PEM certificate", fix) from None


def read_key(path: Path, fix: str) -> object:
    """A private key without a password. ConfigError."""
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise broken(path, "the file is missing", fix) from None
    except PermissionError:
        raise broken(path, "it cannot be read", "give this user the right to read it") from None
    except Exception:  # the library raises many kinds for damaged keys
        raise broken(path, "this is not a PEM private key", fix) from None


def broken(path: Path, what: str, fix: str) -> ConfigError:
    """What is wrong with a file, and what to do about it."""
    return ConfigError(f"{path}: {what}; {fix}")
