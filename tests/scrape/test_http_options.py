"""Credentials and TLS over real sockets: who is believed, and what is shown to the server."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from scrape.fetch import ScrapeFailed, fetch
from scrape.http_options import HttpOptions, Secret, TlsOptions

RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for the name ``tested``, which is its own authority, and its key."""
    home = tmp_path_factory.mktemp("tls")
    cert, key = home / "cert.pem", home / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-days", "2", "-subj", "/CN=tested", "-addext",
               "subjectAltName=DNS:tested", "-keyout", str(key), "-out", str(cert)]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here (apt-get install openssl)")
    return cert, key


def ask(pair: tuple[Path, Path], tls: TlsOptions, *, client_cert: bool = False) -> bytes:
    """The page of a TLS server with this certificate, fetched with these options."""
    cert, key = pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if client_cert:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cert)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(RESPONSE)
        await writer.drain()
        writer.close()

    async def run() -> bytes:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        options = HttpOptions(tls=tls)
        async with server, options.client() as client:
            url = f"https://127.0.0.1:{port}/"
            return (await fetch(client, url, {}, options.extensions(), 0)).body

    return asyncio.run(run())


def test_a_known_authority_is_believed(pair: tuple[Path, Path]) -> None:
    """By the name the configuration gives, from a file or as text."""
    text = pair[0].read_text()
    for ca in (Secret(file=pair[0]), Secret(text)):
        assert ask(pair, TlsOptions(ca=ca, server_name="tested", min_version="TLS12")) == b"ok"


@pytest.mark.parametrize(
    "tls", [TlsOptions(), TlsOptions(server_name="tested"), TlsOptions(server_name="other")]
)
def test_a_stranger_is_not(pair: tuple[Path, Path], tls: TlsOptions) -> None:
    """Neither without the authority nor under another name."""
    with pytest.raises(ScrapeFailed, match="certificate verify failed"):
        ask(pair, tls)


def test_verification_can_be_switched_off(pair: tuple[Path, Path]) -> None:
    """Then everybody is believed."""
    assert ask(pair, TlsOptions(insecure_skip_verify=True, max_version="TLS12")) == b"ok"


def test_a_client_certificate_is_shown(pair: tuple[Path, Path]) -> None:
    """Where the server asks for one; without it the server hangs up."""
    cert, key = Secret(file=pair[0]), Secret(pair[1].read_text())
    tls = TlsOptions(insecure_skip_verify=True, cert=cert, key=key)

    assert ask(pair, tls, client_cert=True) == b"ok"
    with pytest.raises(ScrapeFailed):
        ask(pair, TlsOptions(insecure_skip_verify=True), client_cert=True)
