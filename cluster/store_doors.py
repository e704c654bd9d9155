"""The object store's inner doors, closed: only its S3 port, which asks for a key, is for others.

SeaweedFS's master, volume server and filer talk to each other through ports of their own. As it comes, these obey every
program on the machine: a stranger reads and writes objects at the filer, and one GET to the master deletes all of them.

    python -m cluster.store_doors weed mini ...     # becomes this command, with its doors closed

(-disableHttp is added. The store's keys are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as SeaweedFS wants them.)
"""

import datetime
import hashlib
import hmac
import os
import sys
from pathlib import Path

from cluster.process import find_binary
from cluster.state import StackError, StackFolder

# Without them master and filer speak gRPC alone.
DOOR_OPTIONS = ["-disableHttp"]
# What listens for gRPC, and the client that they call each other with.
_SPEAKERS = ("MASTER", "VOLUME", "FILER", "S3", "ADMIN", "WORKER", "CLIENT")
_TICKETS = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")


def door_environment(certificate: Path, secret_key: str) -> dict[str, str]:
    """Variables that make the store's parts ask each other for a certificate (gRPC) and a signed ticket (HTTP).

    The certificate and its key are one file (0600), made at the first call; the signing keys come from the store's
    secret key.
    """
    if not certificate.exists():
        StackFolder.write_private(certificate, _self_signed())
    settings = {
        f"{ticket}_KEY": hmac.new(secret_key.encode(), ticket.encode(), hashlib.sha256).hexdigest()
        for ticket in _TICKETS
    }
    settings |= {
        f"GRPC_{speaker}_{part}": str(certificate) for speaker in _SPEAKERS for part in ("CERT", "KEY")
    }
    settings["GRPC_CA"] = str(certificate)
    return {f"WEED_{name}": value for name, value in settings.items()}


def _self_signed() -> str:
    """A certificate that vouches for itself, followed by its private key (PEM); SeaweedFS looks at no host name in it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "latentact-zoo object store")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1),
            # Nobody would renew it, and it lives as long as the state folder.
            not_valid_after=now + datetime.timedelta(days=36500),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (certificate.public_bytes(serialization.Encoding.PEM) + private).decode()


def main(command: list[str]) -> None:
    """Never returns. Raises StackError where something is missing."""
    secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY")
    if len(command) < 2 or not secret_key:
        raise StackError("a command such as `weed mini -dir=...`, and AWS_SECRET_ACCESS_KEY, are needed")
    environment = door_environment(Path.home() / ".store_certificate.pem", secret_key)
    os.execve(find_binary(command[0]), [*command, *DOOR_OPTIONS], {**os.environ, **environment})


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StackError as error:
        sys.exit(f"error: {error}")
