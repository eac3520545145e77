"""Runs SeaweedFS with every inner port closed to callers without its own certificate.

`launch.py --certificates=DIRECTORY PROGRAM [ARGUMENT…]` makes a certificate authority and one certificate (once),
points `WEED_*` variables at them, and becomes PROGRAM. The parts of the store then speak mutual TLS with each other,
over HTTP and gRPC alike; only the S3 port is open, and that one asks for keys.
"""

import argparse
import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

YEARS = datetime.timedelta(days=3650)
GRPC_PARTS = ("MASTER", "VOLUME", "FILER", "S3", "CLIENT")
HTTPS_PARTS = ("MASTER", "VOLUME", "FILER", "CLIENT")


def make_certificates(directory: Path) -> None:
    """Write ca.crt, node.crt and node.key (PEM) to `directory`; the authority's own key is not kept."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    node_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seaweedfs authority")])

    def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + YEARS)
        )

    authority = (
        builder(authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    node = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seaweedfs")]), node_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_bytes = node_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = {"ca.crt": authority.public_bytes(pem), "node.crt": node.public_bytes(pem), "node.key": key_bytes}
    for name, content in files.items():
        (directory / name).write_bytes(content)


def security_environment(directory: Path) -> dict[str, str]:
    """The variables that make each part of SeaweedFS demand and present the certificate in `directory`."""
    ca, cert, key = (str(directory / name) for name in ("ca.crt", "node.crt", "node.key"))
    variables = {"WEED_GRPC_CA": ca, "WEED_HTTPS_CLIENT_ENABLED": "true"}
    for part in GRPC_PARTS:
        variables |= {f"WEED_GRPC_{part}_CERT": cert, f"WEED_GRPC_{part}_KEY": key}
    for part in HTTPS_PARTS:
        variables |= {f"WEED_HTTPS_{part}_CERT": cert, f"WEED_HTTPS_{part}_KEY": key, f"WEED_HTTPS_{part}_CA": ca}
    return variables


def main() -> None:
    """Make what is missing and become the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    os.umask(0o077)
    complete = options.certificates / "complete"
    if not complete.exists():
        options.certificates.mkdir(parents=True, exist_ok=True)
        make_certificates(options.certificates)
        complete.touch()
    for argument in options.program:
        if argument.startswith("-dir="):
            Path(argument.removeprefix("-dir=")).mkdir(parents=True, exist_ok=True)
    os.environ.update(security_environment(options.certificates))
    os.execvp(options.program[0], options.program)  # noqa: S606 - becoming the program is the purpose


if __name__ == "__main__":
    main()
