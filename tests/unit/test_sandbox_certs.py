"""Certificates: what strict verifiers ask for, and what Kubernetes reads out of them."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from sandbox import certs


def _context(purpose: ssl.Purpose, directory: Path, own: str) -> ssl.SSLContext:
    context = ssl.create_default_context(purpose, cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / f"{own}.crt", directory / f"{own}.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default since Python 3.13
    return context


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> ssl.SSLObject:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=host)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return far


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    ca = certs.issue("ca")
    ca.write(tmp_path, "ca")
    certs.issue("server", ca=ca, loopback=True).write(tmp_path, "server")
    certs.issue("jane", ["staff", "system:masters"], ca).write(tmp_path, "jane")
    return tmp_path


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_both_sides_verify_strictly(directory: Path, host: str) -> None:
    client = _context(ssl.Purpose.SERVER_AUTH, directory, "jane")
    server = _context(ssl.Purpose.CLIENT_AUTH, directory, "server")
    peer = _shake_hands(client, server, host).getpeercert(binary_form=True)
    assert peer is not None
    subject = x509.load_der_x509_certificate(peer).subject
    assert [each.value for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["jane"]
    groups = [each.value for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert groups == ["staff", "system:masters"]


def test_another_host_is_refused(directory: Path) -> None:
    client = _context(ssl.Purpose.SERVER_AUTH, directory, "jane")
    server = _context(ssl.Purpose.CLIENT_AUTH, directory, "server")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"example\.org"):
        _shake_hands(client, server, "example.org")


def test_keys_are_for_the_owner_only(directory: Path) -> None:
    assert (directory / "ca.key").stat().st_mode & 0o077 == 0
