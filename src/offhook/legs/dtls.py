"""The keys of a browser's media: a DTLS handshake on the media path, in which we are the server (RFC 5764, RFC 8827).

The other side is who its description says if its certificate has the fingerprint that stands there (RFC 8122 §5).
Only datagrams of a path that has proved itself by checks come here, so nothing is sent to who has not asked.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from offhook.errors import SipError

log = logging.getLogger("offhook.webrtc")

LABEL: Final = b"EXTRACTOR-dtls_srtp"
PROFILES: Final = {
    "SRTP_AEAD_AES_128_GCM": ("AEAD_AES_128_GCM", 16, 12),
    "SRTP_AES128_CM_SHA1_80": ("AES_CM_128_HMAC_SHA1_80", 16, 14),
}
"""Protection profiles by OpenSSL's names, in our order: our suite, bytes of key and of salt (RFC 5764 §4.1.2, RFC 7714
§14.2)."""
MTU: Final = 1200
"""Bytes of a datagram of ours: they pass every tunnel of today."""
LARGEST: Final = 4096
"""Bytes of a datagram that is looked at."""
LIFE: Final = datetime.timedelta(days=365)
_HEAD: Final = 13  # bytes of a record's head (RFC 6347 §4.1)
_FINGERPRINT: Final = re.compile(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}")


class Identity:
    """Our certificate of this run: self-signed, known by its fingerprint alone."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "offhook")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + LIFE)
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = fingerprint_of(certificate)
        """As it stands in descriptions, after `sha-256`."""
        self.server = self._context(SSL.DTLS_SERVER_METHOD, key, certificate)
        self.client = self._context(SSL.DTLS_CLIENT_METHOD, key, certificate)

    def _context(self, method: int, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> SSL.Context:
        made = SSL.Context(method)
        made.use_certificate(certificate)
        made.use_privatekey(key)
        made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)  # by fingerprint, not chain
        made.set_tlsext_use_srtp(":".join(PROFILES).encode())
        made.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20")
        made.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        return made


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, in pairs of capital digits with colons (RFC 8122 §5)."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest().hex(":").upper()


def fingerprint(value: str) -> str:
    """The fingerprint of an a=fingerprint line, with capitals. SipError for another hash than SHA-256, or for none."""
    words = value.split()
    if len(words) != 2 or words[0].lower() != "sha-256":
        raise SipError(f"a=fingerprint is of {words[0] if words else 'no hash'}; only sha-256 is taken")
    if not _FINGERPRINT.fullmatch(found := words[1].upper()):
        raise SipError("a=fingerprint is no SHA-256: 32 pairs of hexadecimal digits with colons are expected")
    return found


@dataclass(frozen=True, slots=True)
class Keys:
    """What a handshake gives to SRTP: the suite, and for each direction key and salt in one."""

    suite: str
    ours: bytes
    theirs: bytes


class Handshake:
    """One association. `transmit` sends a datagram to the other side; `keys` are there when it is done.

    `failed` says why it never will be. Nothing here raises for what comes from the network.
    """

    def __init__(
        self, identity: Identity, theirs: str, transmit: Callable[[bytes], None], *, client: bool = False
    ) -> None:
        """`theirs`: the fingerprint that the other side's certificate must have."""
        self.keys: Keys | None = None
        self.failed = ""
        self._theirs = theirs
        self._transmit = transmit
        self._client = client
        self._connection = SSL.Connection(identity.client if client else identity.server, None)
        self._connection.set_ciphertext_mtu(MTU)
        if client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    @property
    def over(self) -> bool:
        """Whether it is decided."""
        return bool(self.keys or self.failed)

    def begin(self) -> None:
        """The client's first flight."""
        self._go_on()

    def take(self, data: bytes) -> None:
        """One datagram of the other side; repeats after the end get the last flight again (RFC 6347 §4.2.4)."""
        if self.failed or not 0 < len(data) <= LARGEST:
            return
        self._connection.bio_write(data)
        if self.keys is None:
            self._go_on()
            return
        with contextlib.suppress(SSL.Error):
            while True:  # to the end of the datagram: nothing is for us in it but alerts and repeats
                self._connection.recv(LARGEST)
        self._flush()

    def look(self) -> None:
        """Send again what was not answered in time; call it every few hundred milliseconds until it is over."""
        if self.over:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._fail(error)
            return
        self._flush()

    def _go_on(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except SSL.Error as error:
            self._flush()  # the alert
            self._fail(error)
            return
        self._flush()
        self._finish()

    def _finish(self) -> None:
        connection = self._connection
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or fingerprint_of(certificate) != self._theirs:
            self.failed = "the certificate of the other side is not the one of its description (a=fingerprint)"
            return
        profile = PROFILES.get(connection.get_selected_srtp_profile().decode())
        if profile is None:
            self.failed = f"no protection profile in common; ours are {', '.join(PROFILES)} (use_srtp)"
            return
        suite, key, salt = profile
        raw = connection.export_keying_material(LABEL, 2 * (key + salt))
        client = raw[:key] + raw[2 * key : 2 * key + salt]
        server = raw[key : 2 * key] + raw[2 * key + salt :]
        ours, theirs = (client, server) if self._client else (server, client)
        self.keys = Keys(suite, ours, theirs)

    def _fail(self, error: SSL.Error) -> None:
        reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
        said = "; ".join(str(reason[-1]) for reason in reasons) or "no answer in time"
        self.failed = f"the DTLS handshake failed: {said}"

    def _flush(self) -> None:
        try:
            waiting = self._connection.bio_read(65536)
        except SSL.WantReadError:
            return
        for datagram in datagrams(waiting):
            self._transmit(datagram)


def datagrams(records: bytes) -> Iterator[bytes]:
    """Whole records in datagrams of at most `MTU` bytes, where the records themselves are no longer."""
    begin = at = 0
    while at + _HEAD <= len(records):
        size = _HEAD + int.from_bytes(records[at + 11 : at + 13])
        if at > begin and at + size - begin > MTU:
            yield records[begin:at]
            begin = at
        at += size
    if at > begin:
        yield records[begin:at]
