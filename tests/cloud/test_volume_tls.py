"""Volumes for guests of other hosts: encrypted, and each host reaches those of its own guests."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from volume import VolumeCloud, volume_cloud

pytestmark = pytest.mark.skipif(not shutil.which("qemu-nbd"), reason="needs QEMU")
ADDRESS = "127.0.0.1"


class Authority:
    """Certificates as an operator makes them, in QEMU's file names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
        self._certificate = self._sign(self._name, self._key.public_key(), None)

    def give(self, name: str, end: str) -> Path:
        """A directory with the certificate of ``name``; ``end``: server or client."""
        directory = self._directory / f"{name}-{end}"
        directory.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), end)
        pem = serialization.Encoding.PEM
        (directory / "ca-cert.pem").write_bytes(self._certificate.public_bytes(pem))
        (directory / f"{end}-cert.pem").write_bytes(certificate.public_bytes(pem))
        (directory / f"{end}-key.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return directory

    def _sign(self, subject: x509.Name, key: Any, end: str | None) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=end is None, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=end is not None, content_commitment=False,
                    key_encipherment=False, data_encipherment=False, key_agreement=False,
                    key_cert_sign=end is None, crl_sign=end is None, encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )  # fmt: skip
        if end is not None:
            usage = {"server": ExtendedKeyUsageOID.SERVER_AUTH,
                     "client": ExtendedKeyUsageOID.CLIENT_AUTH}[end]  # fmt: skip
            address = x509.IPAddress(ipaddress.ip_address(ADDRESS))
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def cloud(tmp_path: Path, authority: Authority) -> Iterator[VolumeCloud]:
    with volume_cloud(
        tmp_path,
        nbd_address=ADDRESS,
        nbd_ports=range(21910, 21940),
        tls_dir=authority.give("volumes", "server"),
        tls_peer="CN={host}",
    ) as cloud:
        yield cloud


def works(info: dict[str, Any], command: str, certificates: Path | None) -> bool:
    """Whether a client with ``certificates`` can do ``command`` on the export."""
    where = f"driver=nbd,host={info['host']},port={info['port']},export={info['export']}"
    argv = ["qemu-io", "-c", command]
    if certificates is not None:
        argv += ["--object", f"tls-creds-x509,id=tls,endpoint=client,dir={certificates}"]
        where += ",tls-creds=tls"
    done = subprocess.run([*argv, "--image-opts", where], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    return done.returncode == 0 and "verification failed" not in done.stdout


def test_a_host_reaches_the_volumes_of_its_own_guests_alone(
    cloud: VolumeCloud, authority: Authority
) -> None:
    volume = cloud.create()
    info = cloud.attach(volume["id"], host="lab2")["connection_info"]
    assert info["tls"] is True
    mine, others = authority.give("lab2", "client"), authority.give("lab3", "client")
    assert works(info, "write -P 0x11 0 64k", mine)
    assert not works(info, "read 0 64k", others), "another host's certificate"
    assert not works(info, "read 0 64k", None), "without TLS"
    strangers = Authority(authority.give("x", "client")).give("lab2", "client")
    assert not works(info, "read 0 64k", strangers), "another authority"
    assert not works({**info, "export": "guess"}, "read 0 64k", mine)

    cloud.kill(volume["id"])
    cloud.turn()
    assert works(info, "read -P 0x11 0 64k", mine), "the way goes on to the next exporter"
    arguments = list(Path("/proc").glob("[0-9]*/cmdline"))
    shown = [each.read_bytes() for each in arguments if each.exists()]
    assert not [each for each in shown if b"PRIVATE KEY" in each]
