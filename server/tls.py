"""TLS: whether a certificate and its key can be used."""

import ssl
from pathlib import Path


class TlsError(Exception):
    """The text names the file and what is wrong with it."""


def check_certificate(cert: Path, key: Path) -> None:
    """Raises TlsError where the PEM files *cert* (with its chain) and *key* cannot be served."""
    for path in (cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise TlsError(f"cannot read {path}: {error.strerror}") from None
    try:
        # Without a password OpenSSL would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error) or "not PEM"
        raise TlsError(
            f"{cert} and {key} are no certificate with its unencrypted key: {reason}"
        ) from None
