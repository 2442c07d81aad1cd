"""Certificates of a local control plane: ECDSA P-256, valid for a week, and acceptable to strict verifiers.

Python 3.13 and newer refuse a chain without AuthorityKeyIdentifier, or a CA without KeyUsage; older ones do not care.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_BACK_DATED = dt.timedelta(hours=1)
_LIFETIME = dt.timedelta(days=7)


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write `name.crt` and `name.key` (PKCS8, readable by the owner alone) and return their paths."""
        crt, key = directory / f"{name}.crt", directory / f"{name}.key"
        crt.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        key.touch(mode=0o600)
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return crt, key


def issue(
    common_name: str,
    groups: Sequence[str] = (),
    ca: Identity | None = None,
    *,
    loopback: bool = False,
    lifetime: dt.timedelta = _LIFETIME,
) -> Identity:
    """Make a certificate.

    Args:
        common_name: Subject CN; Kubernetes takes it as the user's name.
        groups: Subject O, once each; Kubernetes takes them as the user's groups.
        ca: Who signs; None makes a self-signed certificate authority.
        loopback: Also valid as a server's certificate for localhost and 127.0.0.1.
        lifetime: From now on.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    signer = ca.key if ca else key
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name), *names])
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca is None,
        crl_sign=ca is None,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.certificate.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK_DATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(usage, critical=True)
    )
    if ca:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(purposes, critical=False)
    if loopback:
        here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(here), critical=False)
    return Identity(builder.sign(signer, hashes.SHA256()), key)
