"""Keys for one run's scheduler and workers, so that nobody else may talk to them.

Who reaches the port of a Dask scheduler can run code as its user, unless it asks for a key. Enters:
a folder that workers see. Leaves, for the time of a run: a key and the certificate that it signed
itself, the one that either side takes, readable by their owner alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed.security import Security

from somaflow.files import private_folder, write_bytes

_KEY, _CERTIFICATE = "key.pem", "certificate.pem"
# A clock that is set back, or a node's that is behind, must not make the certificate one of the
# future: Dask's own are valid from the second in which they were made.
_SLOWEST_CLOCK, _LONGEST_RUN = timedelta(days=30), timedelta(days=365)


def security_of(folder: Path) -> Security:
    """What scheduler, workers and client must hold; the files need not be there yet."""
    key, certificate = str(folder / _KEY), str(folder / _CERTIFICATE)
    return Security(
        require_encryption=True,
        tls_ca_file=certificate,
        **{f"tls_{role}_key": key for role in ("client", "scheduler", "worker")},
        **{f"tls_{role}_cert": certificate for role in ("client", "scheduler", "worker")},
    )


@contextmanager
def made_keys(folder: Path) -> Iterator[None]:
    """Makes a new key in the folder, and removes both at the end of the block.

    Raises:
        OutputError: if the folder cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    with private_folder(folder):
        write_bytes(folder / _KEY, _encode(key))
        write_bytes(folder / _CERTIFICATE, _sign(key).public_bytes(serialization.Encoding.PEM))
        for path in folder.iterdir():
            path.chmod(0o600)  # also where a group shares what the study makes
        yield


def _encode(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _sign(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somaflow")]), datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLOWEST_CLOCK)
        .not_valid_after(now + _LONGEST_RUN)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
