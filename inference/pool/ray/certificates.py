"""Key pairs for one engine's life, and what each side trusts: the other's one certificate and nothing else.

Private keys stay in the memory of the process that made them. Names and dates say nothing here: a certificate is made for
one life and known by itself, so that it is as good as a key.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LONG = datetime.timedelta(days=3650)
_SKEW = datetime.timedelta(days=2)  # the other machine's clock may be wrong


@dataclass(frozen=True)
class Pair:
    """A private key and its self-signed certificate, PEM."""

    key: bytes
    certificate: str


def make_pair(name: str) -> Pair:
    """A fresh one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LONG)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(private, certificate.public_bytes(pem).decode())


def context(pair: Pair, peer: str, *, server: bool) -> ssl.SSLContext:
    """TLS 1.3 that shows `pair` and takes a peer that shows exactly the certificate `peer`.

    Raises: ssl.SSLError where `peer` is no certificate.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # the certificate itself is the name
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=peer)
    with _in_memory(pair.key + pair.certificate.encode()) as path:
        made.load_cert_chain(path)
    return made


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path that OpenSSL can read, and no disk ever holds."""
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
