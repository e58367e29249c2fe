"""The load balancer's certificate: self-signed, made here, verified by our clients against its PEM.

No authority issues us a certificate for `*.<region>.elb.amazonaws.com`: one is made here, imported
into ACM (which takes RSA of 2048 bits for it), and trusted by file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from helpers.errors import Problem
from helpers.run import Run

FOLDER = "terraform/certificate"
DAYS = 30
CLOCKS = timedelta(hours=1)  # clocks that are slow must not call it "not yet valid"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, as files."""

    certificate: Path  # PEM of the certificate; what clients trust
    key: Path  # PEM of the private key; readable by its owner alone
    names: tuple[str, ...]  # host names it is for
    expires: datetime


def ensure(run: Run) -> Certificate:
    """The run's certificate: the one there is while it holds a day longer, else a new one."""
    folder, names = run.folder / FOLDER, (f"*.{run.profile.region}.elb.amazonaws.com",)
    if (folder / "alb.pem").is_file() and (folder / "alb-key.pem").is_file():
        existing = _read(folder)
        if existing.names == names and existing.expires > datetime.now(UTC) + timedelta(days=1):
            return existing
    return make(folder, names)


def _read(folder: Path) -> Certificate:
    path = folder / "alb.pem"
    try:
        parsed = x509.load_pem_x509_certificate(path.read_bytes())
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise Problem(
            f"The certificate {path.name} of the run cannot be read: {error}.",
            "Remove its folder terraform/certificate, and run 01 again.",
        ) from error
    values = tuple(str(name.value) for name in names)
    return Certificate(path, folder / "alb-key.pem", values, parsed.not_valid_after_utc)


def make(folder: Path, names: Sequence[str], days: float = DAYS) -> Certificate:
    """Make a certificate and its key for host names (may begin with `*.`)."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    key_file = folder / "alb-key.pem"
    key_file.touch(mode=0o600)
    layout = serialization.PrivateFormat.TraditionalOpenSSL
    pem, open_key = serialization.Encoding.PEM, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(pem, layout, open_key))
    # load balancers refuse a certificate whose common name is no domain name
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    begins, public = datetime.now(UTC).replace(microsecond=0), key.public_key()
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, key_cert_sign=True, crl_sign=False,
        content_commitment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    signed = (
        x509.CertificateBuilder(subject, subject, public, x509.random_serial_number())
        .not_valid_before(begins - CLOCKS)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names)]), False)
        # a CA for itself only: strict verifiers require a root certificate to be a CA
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(usage, True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "alb.pem").write_bytes(signed.public_bytes(pem))
    return _read(folder)
