"""HTTPS, with a certificate made for the test; and logs and own metrics of a real server."""

import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.processes import Process
from server.tls import TlsError, check_certificate
from tests.harness.servers import COMPILE_S, O11Y
from tests.server.conftest import WRITE
from tests.wire import encode

PROGRAM = shutil.which("openssl")


def make_certificate(home: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A self-signed certificate for loopback and its key, below *home*."""
    if PROGRAM is None:
        pytest.skip("no openssl here (apt-get install openssl)")
    cert, key = home / f"{name}.pem", home / f"{name}.key"
    argv = [
        *(PROGRAM, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-days", "2", "-subj", "/CN=o11y", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(cert), *options),
    ]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return cert, key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "sound", "-nodes")


def test_a_sound_pair_passes(certificate: tuple[Path, Path]) -> None:
    """Nothing is raised."""
    check_certificate(*certificate)


def test_what_cannot_be_served_is_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """Missing files, other files, another's key, a key that needs a password: all by name."""
    cert, key = certificate
    _, other_key = make_certificate(tmp_path, "other", "-nodes")
    _, locked_key = make_certificate(tmp_path, "locked", "-passout", "pass:secret")
    text = tmp_path / "text"
    text.write_text("no certificate")
    missing = tmp_path / "missing"
    pairs = [(missing, key), (cert, missing), (text, key), (cert, text), (cert, other_key)]
    for pair in (*pairs, (cert, locked_key)):
        wrong = next(path for path in pair if path not in certificate)
        with pytest.raises(TlsError, match=str(wrong)):
            check_certificate(*pair)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> Iterator[Process]:
    """A server over TLS that scrapes itself and logs every request as JSON."""
    home = tmp_path_factory.mktemp("https")
    cert, key = map(str, certificate)
    argv = [
        *(str(O11Y), "serve", "--data", str(home / "data"), "--listen", "127.0.0.1:0"),
        *("--tls.cert", cert, "--tls.key", key),
        *("--self.scrape", "ops", "--log.format", "json", "--log.access"),
    ]
    with Process(argv, home / "log") as process:
        process.wait_for_output("Ready after", COMPILE_S)
        yield process


@pytest.fixture
def client(server: Process, certificate: tuple[Path, Path]) -> Iterator[httpx.Client]:
    """Asks the server and trusts its certificate."""
    url = server.wait_for_output(r"listens on (https://\S+)", 1)[1]
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    with httpx.Client(base_url=url, verify=trusted, trust_env=False) as asking:
        yield asking


@pytest.mark.server
def test_writes_and_queries_over_https(client: httpx.Client) -> None:
    """The certificate is checked, and both directions work."""
    now_ms = int(time.time() * 1000)
    pairs = [(b"__name__", b"kept")]
    body = encode.snappy(encode.series(encode.Series(pairs, [(now_ms, 5.0)])))
    assert client.post("/api/v1/write", content=body, headers=WRITE).status_code == 204
    answer = client.get("/api/v1/query", params={"query": "kept"}).json()
    assert answer["data"]["result"][0]["value"][1] == "5"


@pytest.mark.server
def test_the_start_says_https(server: Process) -> None:
    """The banner's remote_write block can be copied as it stands."""
    assert "- url: https://127.0.0.1:" in server.output
    assert "http://" not in server.output


@pytest.mark.server
def test_plain_http_is_no_way_in(client: httpx.Client) -> None:
    """Who does not speak TLS gets no answer, and the server lives on."""
    with pytest.raises(httpx.TransportError):
        httpx.get(str(client.base_url).replace("https", "http"), trust_env=False)
    assert client.get("/-/healthy").status_code == 200


@pytest.mark.server
def test_the_server_is_a_target_of_its_own(server: Process, client: httpx.Client) -> None:
    """The first scrape comes at the start, with our address as instance."""
    found: list[dict[str, str]] = []

    def scraped() -> bool:
        headers, params = {"x-org-id": "ops"}, {"query": "up"}
        answer = client.get("/api/v1/query", headers=headers, params=params).json()
        found[:] = [row["metric"] for row in answer["data"]["result"]]
        return bool(found)

    server.wait_until(scraped, 10, "up was stored")
    address = str(client.base_url).removeprefix("https://").rstrip("/")
    assert found == [{"__name__": "up", "job": "o11y", "instance": address}]


@pytest.mark.server
def test_every_request_is_an_event(server: Process, client: httpx.Client) -> None:
    """One JSON object a line."""
    client.get("/-/ready")
    server.wait_for_output('"path": "/-/ready"', 5)
    lines = [line for line in server.output.splitlines() if line.startswith('{"time"')]
    events = [json.loads(line) for line in lines]
    assert {"level": "info", "msg": "request", "path": "/-/ready", "code": 200}.items() <= next(
        event.items() for event in events if event.get("path") == "/-/ready"
    )


@pytest.mark.server
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--tls.cert", "cert.pem"), 2, "need each other"),
        (("--tls.cert", "no.pem", "--tls.key", "no.key"), 1, "cannot read no.pem"),
        (("--log.format", "yaml"), 2, "--log.format"),
        (("--self.scrape", "a/b"), 2, "--self.scrape"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], status: int, says: str, tmp_path: Path) -> None:
    """The start ends at once and names what is wrong."""
    argv = [str(O11Y), "serve", "--data", str(tmp_path), "--listen", "127.0.0.1:0"]
    done = subprocess.run([*argv, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert says in done.stderr
